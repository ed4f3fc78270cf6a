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
        if page != self.page:
            for name in self.page.keys() - page.keys():
                self._gone[name] = self.page[name], self._scrapes
            for name in self._gone.keys() & page.keys():
                del self._gone[name]
            self.page = page
        self._scrapes += 1
        if self._gone:
            oldest = self._scrapes - KEPT_SCRAPES
            self._gone = {name: one for name, one in self._gone.items() if one[1] >= oldest}

    def all(self) -> dict[str, Metadata]:
        """What is remembered, by metric family name."""
        return {name: one for name, (one, _) in self._gone.items()} | dict(self.page)
