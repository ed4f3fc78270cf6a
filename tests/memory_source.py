"""A Source over a dict, for tests: Labels -> [(time in ms, value), ...]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.labels import Labels
from series.matcher import Matcher
from series.ports import Context, Hints

Samples = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class MemorySelection:
    """Rows in ascending order of labels; rows with equal times share one times column."""

    series: list[tuple[Labels, Samples]]
    frame: LabelFrame
    generation: int = 0

    def estimated_samples(self) -> int:
        return sum(len(samples) for _, samples in self.series)

    def read(self, rows: slice, start_ms: int, end_ms: int, context: Context) -> SeriesBatch:
        context.check()
        values: list[float] = []
        times: list[int] = []
        offsets, time_starts = [0], []
        starts_of: dict[tuple[int, ...], int] = {}
        for _, samples in self.series[rows]:
            inside = [(time, value) for time, value in samples if start_ms <= time <= end_ms]
            column = tuple(time for time, _ in inside)
            if column not in starts_of:
                starts_of[column] = len(times)
                times += column
            time_starts.append(starts_of[column])
            values += [value for _, value in inside]
            offsets.append(len(values))
        return SeriesBatch(
            values=np.array(values, dtype=np.float64),
            times_ms=np.array(times, dtype=np.int64),
            offsets=np.array(offsets, dtype=np.int64),
            time_starts=np.array(time_starts, dtype=np.int64),
        )


@dataclass(frozen=True)
class MemorySource:
    """Each series' samples must rise strictly in time; stale markers are values like any other."""

    series: Mapping[Labels, Samples]

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> MemorySelection:
        found = [
            (labels, samples)
            for labels, samples in sorted(self.series.items())
            if all(matcher.matches(labels.get(matcher.name)) for matcher in matchers)
            and any(hints.start_ms <= time <= hints.end_ms for time, _ in samples)
        ]
        return MemorySelection(found, LabelFrame.from_labels([labels for labels, _ in found]))

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        found = self.resolve(matchers, Hints(start_ms, end_ms)).series
        return sorted({name for labels, _ in found for name, _ in labels})

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        found = self.resolve(matchers, Hints(start_ms, end_ms)).series
        return sorted({labels.get(name) for labels, _ in found} - {""})
