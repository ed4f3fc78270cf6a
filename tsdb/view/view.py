"""View: parts frozen for one reader, as one Source.

A series of the View is the series of equal fingerprint in each part; where two parts hold a
sample of it at one instant, the part of lower sequence wins, so every sample is read once.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.matcher import Matcher
from series.ports import Context, Hints, NotInMemory, SeriesExemplars
from tsdb.block import kernels as block_kernels
from tsdb.lru import Lru
from tsdb.sample.exemplars import ExemplarRing
from tsdb.view.join import Piece, join
from tsdb.view.part import Part, PartRows

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SeriesMap:
    """Where the S series of a selection stand in P parts.

    ``refs`` int64[P, S]: the ref of each series, -1 where a part does not have it. The series
    ascend by their labels.
    """

    frame: LabelFrame
    refs: Rows

    @property
    def size_bytes(self) -> int:
        codes = sum(column.codes.nbytes for column in self.frame.columns.values())
        return self.refs.nbytes + codes


SeriesMapCache = Lru[Hashable, SeriesMap]
"""The maps of recent selections by (matchers, tokens of the parts)."""
SERIES_MAP_BYTES = 16 << 20


class PartsSelection:
    """A Selection over some parts."""

    def __init__(
        self, parts: tuple[Part, ...], series: SeriesMap, hints: Hints, generation: int
    ) -> None:
        self._parts = parts
        self._series = series
        self._hints = hints
        self._generation = generation

    @property
    def frame(self) -> LabelFrame:
        return self._series.frame

    @property
    def generation(self) -> int:
        return self._generation

    def estimated_samples(self) -> int:
        start_ms, end_ms = self._hints.start_ms, self._hints.end_ms
        return sum(
            part.estimated_samples(refs[refs >= 0], start_ms, end_ms)
            for part, refs in zip(self._parts, self._series.refs, strict=True)
        )

    def read(self, rows: slice, start_ms: int, end_ms: int, context: Context) -> SeriesBatch:
        refs = self._series.refs[:, rows]
        pieces = []
        for part, part_refs in zip(self._parts, refs, strict=True):
            if not _overlaps(part, start_ms, end_ms):
                continue
            present = np.flatnonzero(part_refs >= 0)
            if len(present):
                context.check()
                if part.on_disk:
                    if context.memory_only:
                        raise NotInMemory
                    context.touched_disk = True
                found = part_refs[present]
                batch = part.read(found, start_ms, end_ms)
                pieces.append(Piece(batch, present, part.sequence))
                for text in part.damage(found):
                    context.warn(text)
        return join(pieces, refs.shape[1])


class View:
    """A frozen Source over *parts*, in any order.

    ``generation`` grows whenever a selector might match other series than in an earlier View of
    the same database; ``cache`` belongs to the database and outlives its Views. Exemplars are those
    that *ring* holds when they are asked for.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        cache: SeriesMapCache,
        generation: int = 0,
        ring: ExemplarRing | None = None,
    ) -> None:
        self._parts = tuple(sorted(parts, key=lambda part: (part.min_time_ms, part.sequence)))
        self._cache = cache
        self._generation = generation
        self._ring = ring or ExemplarRing(0)

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> PartsSelection:
        parts = self._overlapping(hints.start_ms, hints.end_ms)
        key = (matchers, tuple(part.token for part in parts))
        series = self._cache.get(key)
        if series is None:
            series = _map_series([part.select(matchers, hints.check) for part in parts])
            self._cache.put(key, series, series.size_bytes)
        return PartsSelection(parts, series, hints, self._generation)

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        parts = self._overlapping(start_ms, end_ms)
        return sorted({name for part in parts for name in part.label_names(matchers)})

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        parts = self._overlapping(start_ms, end_ms)
        return sorted({value for part in parts for value in part.label_values(name, matchers)})

    def exemplars(
        self, matcher_sets: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int
    ) -> list[SeriesExemplars]:
        """See ``series.ports.ExemplarSource``."""
        return self._ring.select(matcher_sets, start_ms, end_ms)

    def _overlapping(self, start_ms: int, end_ms: int) -> tuple[Part, ...]:
        return tuple(part for part in self._parts if _overlaps(part, start_ms, end_ms))


def _overlaps(part: Part, start_ms: int, end_ms: int) -> bool:
    return part.min_time_ms <= part.max_time_ms and (
        part.min_time_ms <= end_ms and part.max_time_ms >= start_ms
    )


def _map_series(found: list[PartRows]) -> SeriesMap:
    """Unifies the series of all parts and puts them into the order of their labels."""
    if not found:
        return SeriesMap(LabelFrame.empty_labels(0), np.zeros((0, 0), dtype=np.int64))
    if len(found) == 1:
        frame, refs = found[0].frame, found[0].refs.reshape(1, -1)
        return _ordered(frame, refs, found[0].in_label_order)
    fingerprints = np.concatenate([rows.fingerprints for rows in found])
    count = len(fingerprints)
    ids = np.empty(count, dtype=np.int64)
    firsts = np.empty(count, dtype=np.int64)
    series = block_kernels.number_stretches(
        np.ascontiguousarray(fingerprints).view(np.int64).reshape(-1),
        np.arange(count) * 2,
        np.full(count, 2),
        ids,
        firsts,
    )
    refs = np.full((len(found), series), -1, dtype=np.int64)
    frames = []
    sources = 0
    start = 0
    for part, rows in enumerate(found):
        end = start + len(rows.refs)
        refs[part, ids[start:end]] = rows.refs
        own = firsts[:series]
        own = own[(own >= start) & (own < end)] - start
        if len(own):
            frames.append(rows.frame.take(own))
            sources += 1 if rows.in_label_order else 2
        start = end
    frame = LabelFrame.concat(frames) if frames else LabelFrame.empty_labels(0)
    return _ordered(frame, refs, sources <= 1)


def _ordered(frame: LabelFrame, refs: Rows, in_label_order: bool) -> SeriesMap:
    if in_label_order:
        return SeriesMap(frame, refs)
    order = frame.sort_order()
    return SeriesMap(frame.take(order), np.ascontiguousarray(refs[:, order]))
