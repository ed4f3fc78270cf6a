"""Recent: a source of which only what is not older than some instant is seen."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.matcher import Matcher
from series.ports import Context, Hints, Selection, Source
from server.access.tenants import NOBODY


@dataclass(frozen=True, slots=True)
class Recent:
    """A Source without what is before ``earliest_ms``; ``cut`` is called where a query of samples
    reaches further back."""

    source: Source
    earliest_ms: int
    cut: Callable[[], None]

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> Selection:
        if hints.start_ms >= self.earliest_ms:
            return self.source.resolve(matchers, hints)
        if hints.values:
            self.cut()
        if hints.end_ms < self.earliest_ms:
            return NOBODY.resolve(matchers, hints)
        hints = replace(hints, start_ms=self.earliest_ms)
        return _RecentSelection(self.source.resolve(matchers, hints), self.earliest_ms)

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        if end_ms < self.earliest_ms:
            return []
        return self.source.label_names(matchers, max(start_ms, self.earliest_ms), end_ms)

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        if end_ms < self.earliest_ms:
            return []
        return self.source.label_values(name, matchers, max(start_ms, self.earliest_ms), end_ms)


@dataclass(frozen=True, slots=True)
class _RecentSelection:
    selection: Selection
    earliest_ms: int

    @property
    def frame(self) -> LabelFrame:
        return self.selection.frame

    @property
    def generation(self) -> int:
        return self.selection.generation

    def estimated_samples(self) -> int:
        return self.selection.estimated_samples()

    def read(self, rows: slice, start_ms: int, end_ms: int, context: Context) -> SeriesBatch:
        start_ms = max(start_ms, self.earliest_ms)
        batch = self.selection.read(rows, start_ms, max(start_ms, end_ms), context)
        return without_earlier(batch, self.earliest_ms)


def without_earlier(batch: SeriesBatch, earliest_ms: int) -> SeriesBatch:
    """All rows of *batch* with only the samples from *earliest_ms* on.

    Where there are earlier ones, each row gets times of its own.
    """
    if not len(batch.times_ms) or int(batch.times_ms.min()) >= earliest_ms:
        return batch
    shift = np.repeat(batch.time_starts - batch.offsets[:-1], np.diff(batch.offsets))
    times_ms = batch.times_ms[np.arange(batch.sample_count) + shift]
    kept = times_ms >= earliest_ms
    offsets = np.concatenate(([0], np.cumsum(kept)))[batch.offsets]
    return replace(
        batch,
        values=batch.values[kept],
        times_ms=times_ms[kept],
        offsets=offsets,
        time_starts=offsets[:-1].copy(),
        histogram_ids=None if batch.histogram_ids is None else batch.histogram_ids[kept],
        starts_ms=None if batch.starts_ms is None else batch.starts_ms[kept],
    )
