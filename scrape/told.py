"""Told: what a target says of its metrics, and for a while what it said of those that are gone."""

from collections.abc import Mapping

from series.metadata import Metadata

KEPT_SCRAPES = 10
"""So many scrapes the metadata of a metric outlives it; iterDone in scrape/scrape.go of Prometheus
3.14."""


class Told:
    """``page``: the metadata of the last page that was read, by metric family name."""

    def __init__(self) -> None:
        self.page: Mapping[str, Metadata] = {}
        self._gone: dict[str, tuple[Metadata, int]] = {}
        """With the number of the last scrape that had it."""
        self._scrapes = 0

    def hear(self, page: Mapping[str, Metadata]) -> None:
        """The next scrape brought *page*."""
        gone = self._gone
        if page != self.page:
            left = self.page.keys() - page.keys()
            gone = gone | {name: (self.page[name], self._scrapes) for name in left}
        self._scrapes += 1
        if gone:
            oldest = self._scrapes - KEPT_SCRAPES
            # Another thread may be reading the one before, which is therefore never changed.
            self._gone = {
                name: one for name, one in gone.items() if one[1] >= oldest and name not in page
            }
        self.page = page

    def all(self) -> dict[str, Metadata]:
        """What is remembered, by metric family name."""
        return {name: one for name, (one, _) in self._gone.items()} | dict(self.page)
