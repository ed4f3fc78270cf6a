"""The way from a request to a tenant's store: one function, and what it gives for nobody."""

from collections.abc import Callable, Sequence

import numpy as np

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.labels import METRIC_NAME
from series.matcher import Matcher
from series.metadata import Metadata
from series.ports import Context, Hints, Selection, SeriesExemplars, Source
from server.access.auth import Principal
from tsdb.db import Db
from tsdb.store import Store
from tsdb.view.view import unheard

ALWAYS_MS = 2**62
"""Beyond all times, on both sides."""
_SUFFIXES = ("_bucket", "_count", "_sum", "_total", "_info", "_created")
"""What series put behind the name of their metric family."""


def tenant_db(store: Store, principal: Principal, *, create: bool) -> Db | None:
    """The database of *principal*'s tenant.

    Nothing else in the server opens one. With *create* (a write that holds something) an unknown
    tenant comes into being; without, it is None.
    """
    return store.tenant_for_write(principal.tenant) if create else store.tenant(principal.tenant)


def view(store: Store, principal: Principal, damaged: Callable[[str], object] = unheard) -> Source:
    """What *principal* may read, frozen now; empty for an unknown tenant.

    *damaged* hears of what damage has taken in the times that are asked for.
    """
    db = tenant_db(store, principal, create=False)
    if db is None:
        return NOBODY
    whole = db.view(damaged)
    return _Scoped(whole, principal.matchers) if principal.matchers else whole


def exemplars(
    store: Store,
    principal: Principal,
    selectors: Sequence[tuple[Matcher, ...]],
    start_ms: int,
    end_ms: int,
) -> list[SeriesExemplars]:
    """The exemplars of the series that *principal* may read and any of *selectors* matches."""
    db = tenant_db(store, principal, create=False)
    if db is None:
        return []
    scoped = [(*matchers, *principal.matchers) for matchers in selectors]
    return db.view().exemplars(scoped, start_ms, end_ms)


def metadata(store: Store, principal: Principal) -> dict[str, Metadata]:
    """The metric metadata that *principal* may read."""
    db = tenant_db(store, principal, create=False)
    if db is None:
        return {}
    if not principal.matchers:
        return db.metadata()
    source = view(store, principal)
    names = set(source.label_values(METRIC_NAME, (), -ALWAYS_MS, ALWAYS_MS))
    return {
        name: one
        for name, one in db.metadata().items()
        if name in names or any(name + suffix in names for suffix in _SUFFIXES)
    }


class _Scoped:
    """A Source of which only the series that *matchers* match are seen."""

    def __init__(self, source: Source, matchers: tuple[Matcher, ...]) -> None:
        self._source = source
        self._matchers = matchers

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> Selection:
        return self._source.resolve((*matchers, *self._matchers), hints)

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        return self._source.label_names((*matchers, *self._matchers), start_ms, end_ms)

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        return self._source.label_values(name, (*matchers, *self._matchers), start_ms, end_ms)


class _EmptySelection:
    frame = LabelFrame.empty_labels(0)
    generation = 0

    def estimated_samples(self) -> int:
        return 0

    def read(self, rows: slice, start_ms: int, end_ms: int, context: Context) -> SeriesBatch:
        del rows, start_ms, end_ms, context
        none = np.zeros(0, dtype=np.int64)
        return SeriesBatch(np.zeros(0), none, np.zeros(1, dtype=np.int64), none)


class _EmptySource:
    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> Selection:
        del matchers, hints
        return _EmptySelection()

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        del matchers, start_ms, end_ms
        return []

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        del name, matchers, start_ms, end_ms
        return []


NOBODY: Source = _EmptySource()
"""A tenant without data."""
