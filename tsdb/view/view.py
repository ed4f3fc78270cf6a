"""View: parts frozen for one reader, as one Source.

A series of the View is the series of equal fingerprint in each part; where two parts hold a
sample of it at one instant, the part of lower rank wins, so every sample is read once.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.frame import KEPT_ROWS, LabelFrame
from series.matcher import Matcher
from series.ports import Context, Hints, SeriesExemplars
from tsdb.block import kernels as block_kernels
from tsdb.block.block import Block
from tsdb.block.disk_reads import Watched
from tsdb.damage import Lost
from tsdb.lru import Lru
from tsdb.sample.exemplars import ExemplarRing
from tsdb.view.join import Piece, join
from tsdb.view.part import Part, PartLost, PartRows, ReadAnew
from tsdb.view.part_list import PartList

T = TypeVar("T")

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SeriesMap:
    """Where the S series of a selection stand in P parts.

    ``refs`` int64[P, S]: the ref of each series, -1 where a part does not have it. The series
    ascend by their labels. ``samples`` remembers how many a part on disk, by its place among the
    parts, has of them, and ``rows`` which of a few it has.
    """

    frame: LabelFrame
    refs: Rows
    samples: dict[int, int] = field(default_factory=dict)
    rows: dict[int, tuple[Rows, Rows]] = field(default_factory=dict)

    def samples_of(self, at: int, part: Part) -> int:
        """How many samples *part*, the *at*-th, has of the series."""
        samples = self.samples.get(at)
        if samples is None:
            refs = self.refs[at]
            samples = part.samples_of(refs[refs >= 0])
            if part.on_disk:
                self.samples[at] = samples
        return samples

    def rows_of(self, at: int) -> tuple[Rows, Rows]:
        """The rows that the *at*-th part has, and what they are there."""
        rows = self.rows.get(at)
        if rows is None:
            rows = _present(self.refs[at])
            if self.frame.size <= KEPT_ROWS:
                self.rows[at] = rows
        return rows

    @property
    def size_bytes(self) -> int:
        columns = self.frame.columns
        codes = sum(column.codes.nbytes for column in columns.values())
        texts = rows = 0
        if self.frame.size <= KEPT_ROWS:
            rows = 2 * self.refs.nbytes
            texts = self.frame.size * sum(
                _MADE_OF_LABEL * (len(name) + len(max(column.values, key=len)))
                for name, column in columns.items()
            )
        return self.refs.nbytes + rows + codes + texts + _MAP_BYTES


SeriesMapCache = Lru[Hashable, SeriesMap | tuple[str, ...]]
"""The maps of recent selections, and label names and values, by what was asked and the tokens of
the parts."""
_MAP_BYTES = 2048
"""About what a map takes besides its arrays, with the matchers that it was asked for by."""
_MADE_OF_LABEL = 4
"""How many times the bytes of a label are in what is made of a small frame."""
_TEXT_BYTES = 80
"""About what a text takes."""
SERIES_MAP_BYTES = 16 << 20


class PartsSelection:
    """A Selection over some parts."""

    def __init__(self, parts: PartList, series: SeriesMap, hints: Hints, generation: int) -> None:
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
        count = 0
        for at, part in enumerate(self._parts.parts):
            try:
                samples = self._series.samples_of(at, part)
            except PartLost:
                continue
            count += part.estimated_samples(samples, start_ms, end_ms)
        return count

    def read(self, rows: slice, start_ms: int, end_ms: int, context: Context) -> SeriesBatch:
        with Watched(context):
            while True:
                try:
                    return self._read(rows, start_ms, end_ms, context)
                except ReadAnew:
                    continue

    def _read(self, rows: slice, start_ms: int, end_ms: int, context: Context) -> SeriesBatch:
        refs = self._series.refs[:, rows]
        is_whole = refs.shape[1] == self._series.frame.size
        asked = list(enumerate(self._parts.parts))
        if start_ms > self._hints.start_ms or end_ms < self._hints.end_ms:
            asked = list(compress(asked, self._parts.overlapping(start_ms, end_ms)))
        newest, values = self._hints.newest, self._hints.values
        pieces = []
        for at, part in asked:
            present, found = self._series.rows_of(at) if is_whole else _present(refs[at])
            if len(present):
                context.check()
                planned = None
                try:
                    # What is joined is decoded to its place in the whole.
                    if len(asked) > 1 and values and isinstance(part, Block):
                        planned = part.plan(found, start_ms, end_ms, newest=newest)
                    batch = planned or part.read(
                        found, start_ms, end_ms, newest=newest, values=values
                    )
                except PartLost as lost:
                    context.damaged(str(lost))
                    continue
                pieces.append(Piece(batch, present, part.rank))
                for text in part.damage(found):
                    context.damaged(text)
        return join(pieces, refs.shape[1])


def unheard(text: str) -> None:
    """Takes a text that nobody wants to hear."""
    del text


class View:
    """A frozen Source over *parts*; a PartList of them spares putting them in order.

    ``generation`` grows whenever a selector might match other series than in an earlier View of
    the same database; ``cache`` belongs to the database and outlives its Views. Exemplars are those
    that *ring* holds when they are asked for. *damaged* hears of what is *lost*, and of parts that
    turn out to be, in the times that are asked for; what it raises ends the reading.
    """

    def __init__(
        self,
        parts: PartList | Sequence[Part],
        cache: SeriesMapCache,
        generation: int = 0,
        ring: ExemplarRing | None = None,
        lost: Sequence[Lost] = (),
        damaged: Callable[[str], object] = unheard,
    ) -> None:
        self._parts = parts if isinstance(parts, PartList) else PartList.of(parts)
        self._cache = cache
        self._generation = generation
        self._ring = ring or ExemplarRing(0)
        self._lost = lost
        self._damaged = damaged

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> PartsSelection:
        def resolved(parts: PartList) -> PartsSelection:
            key = matchers, parts.tokens
            series = self._cache.get(key)
            if not isinstance(series, SeriesMap):
                found = (
                    _ask(part, lambda one: one.select(matchers, hints.check))
                    for part in parts.parts
                )
                series = _map_series(list(found))
                self._cache.put(key, series, series.size_bytes)
            return PartsSelection(parts, series, hints, self._generation)

        return self._asked(resolved, hints.start_ms, hints.end_ms)

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        def ask(part: Part) -> Sequence[str]:
            return part.label_names(matchers)

        return self._texts(("names", matchers), ask, start_ms, end_ms)

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        def ask(part: Part) -> Sequence[str]:
            return part.label_values(name, matchers)

        return self._texts(("values", name, matchers), ask, start_ms, end_ms)

    def _texts(
        self, asked: Hashable, ask: Callable[[Part], Sequence[str]], start_ms: int, end_ms: int
    ) -> list[str]:
        """What *ask* says of the parts in that time, each text once, sorted; kept as *asked*."""

        def texts_of(parts: PartList) -> list[str]:
            key = asked, parts.tokens
            kept = self._cache.get(key)
            if isinstance(kept, tuple):
                return [*kept]
            texts = sorted({text for part in parts.parts for text in _ask(part, ask)})
            size_bytes = _TEXT_BYTES * (1 + len(texts)) + sum(map(len, texts))
            self._cache.put(key, (*texts,), size_bytes)
            return texts

        return self._asked(texts_of, start_ms, end_ms)

    def has_labels_in_memory(self, start_ms: int, end_ms: int) -> bool:
        """Whether nobody has to wait for the disk who asks for series or labels in that time."""
        parts = self._parts.within(start_ms, end_ms).parts
        return all(part.has_labels_in_memory for part in parts)

    def exemplars(
        self, matcher_sets: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int
    ) -> list[SeriesExemplars]:
        """See ``series.ports.ExemplarSource``."""
        return self._ring.select(matcher_sets, start_ms, end_ms)

    def _asked(self, ask: Callable[[PartList], T], start_ms: int, end_ms: int) -> T:
        """What *ask* says of the parts in that time, without those that are lost."""
        for one in self._lost:
            if one.min_time_ms <= end_ms and one.max_time_ms >= start_ms:
                self._damaged(one.text)
        parts = self._parts.within(start_ms, end_ms)
        while True:
            try:
                return ask(parts)
            except PartLost as lost:
                self._damaged(str(lost))
                parts = parts.without(lost.part)


def _ask(part: Part, ask: Callable[[Part], T]) -> T:
    """What *ask* says of *part*; where that is lost PartLost names it, not what it is made of."""
    try:
        return ask(part)
    except PartLost as lost:
        raise PartLost(part, str(lost)) from None


def _present(refs: Rows) -> tuple[Rows, Rows]:
    """The rows that a part has, and what they are there."""
    if len(refs) == 1:
        return (_ONLY_ROW, refs) if refs[0] >= 0 else (_NO_ROW, refs[:0])
    present = refs >= 0
    if present.all():
        return np.arange(len(refs)), refs
    return present.nonzero()[0], refs[present]


_ONLY_ROW, _NO_ROW = np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64)


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
