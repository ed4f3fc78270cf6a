"""A Source over a dict, for tests: Labels -> [(time in ms, value), ...]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch, build_batch
from series.frame import LabelFrame
from series.histogram import Histogram
from series.labels import Labels
from series.matcher import Matcher
from series.ports import Context, Hints

Samples = Sequence[tuple[int, float]] | Sequence[tuple[int, float | Histogram]]
Starts = Mapping[int, int]
"""The times of samples -> their start times; those of others are unknown."""


@dataclass(frozen=True)
class MemorySelection:
    """Rows in ascending order of labels; rows with equal times share one times column."""

    series: list[tuple[Labels, Samples]]
    frame: LabelFrame
    starts: Mapping[Labels, Starts] = field(default_factory=dict)
    generation: int = 0

    def estimated_samples(self) -> int:
        return sum(len(samples) for _, samples in self.series)

    def read(self, rows: slice, start_ms: int, end_ms: int, context: Context) -> SeriesBatch:
        context.check()
        inside = [
            (labels, [(time, value) for time, value in samples if start_ms <= time <= end_ms])
            for labels, samples in self.series[rows]
        ]
        columns = [tuple(time for time, _ in samples) for _, samples in inside]
        batch = build_batch(
            (labels, times, [value for _, value in samples])
            for (labels, samples), times in zip(inside, columns, strict=True)
        )
        first = {times: batch.time_starts[row] for row, times in reversed([*enumerate(columns)])}
        return replace(
            batch,
            time_starts=np.array([first[times] for times in columns], dtype=np.int64),
            keys=np.zeros(0, dtype=np.uint8),
            key_starts=np.zeros(0, dtype=np.int64),
            key_ends=np.zeros(0, dtype=np.int64),
            starts_ms=self._starts_ms([labels for labels, _ in inside], columns),
        )

    def _starts_ms(
        self, series: list[Labels], columns: list[tuple[int, ...]]
    ) -> NDArray[np.int64] | None:
        known = [self.starts.get(labels, {}) for labels in series]
        if not any(known):
            return None
        starts = [
            starts.get(time, 0)
            for starts, times in zip(known, columns, strict=True)
            for time in times
        ]
        return np.array(starts, dtype=np.int64)


@dataclass(frozen=True)
class MemorySource:
    """Each series' samples must rise strictly in time; stale markers are values like any other."""

    series: Mapping[Labels, Samples]
    starts: Mapping[Labels, Starts] = field(default_factory=dict)

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> MemorySelection:
        found = [
            (labels, samples)
            for labels, samples in sorted(self.series.items())
            if all(matcher.matches(labels.get(matcher.name)) for matcher in matchers)
            and any(hints.start_ms <= time <= hints.end_ms for time, _ in samples)
        ]
        frame = LabelFrame.from_labels([labels for labels, _ in found])
        return MemorySelection(found, frame, self.starts)

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        found = self.resolve(matchers, Hints(start_ms, end_ms)).series
        return sorted({name for labels, _ in found for name, _ in labels})

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        found = self.resolve(matchers, Hints(start_ms, end_ms)).series
        return sorted({labels.get(name) for labels, _ in found} - {""})
