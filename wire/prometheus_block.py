"""A block of Prometheus as batches: index, chunks, tombstones and meta.json.

Source: tsdb/docs/format of Prometheus. What a damaged chunk held is left out and named.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import Labels
from wire.errors import Malformed
from wire.exposition_page import Scraped
from wire.prometheus_chunk_kernels import SOUND
from wire.prometheus_chunks import TROUBLES, ChunkColumns, check_segment, read_chunks
from wire.prometheus_index import BlockIndex, read_index
from wire.protobuf import varint

DAMAGED_CHUNK = "damaged-chunk"
"""The reason of a chunk that cannot be read; chunks are counted, not samples."""
MALFORMED_SERIES = "malformed-series"
"""The reason of a series whose labels cannot be; series are counted, not samples."""

_TOMBSTONES_MAGIC = 0x0130BA30
_TOMBSTONES_VERSION = 1
BATCH_CHUNKS = 2048
"""About so many chunks, of some 120 samples each, come as one batch."""

Bytes = NDArray[np.uint8]
Stones = dict[int, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class BlockMeta:
    """What meta.json tells: the id, and the times of the block, the last one excluded."""

    ulid: str
    min_time_ms: int
    max_time_ms: int
    series: int
    samples: int


def read_meta(content: bytes) -> BlockMeta:
    """The meta.json *content*; Malformed where it is none that can be read."""
    try:
        told = json.loads(content)
        stats = told.get("stats", {})
        meta = BlockMeta(
            str(told["ulid"]),
            int(told["minTime"]),
            int(told["maxTime"]),
            int(stats.get("numSeries", 0)),
            int(stats.get("numSamples", 0)),
        )
        version = told["version"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Malformed("meta.json is not that of a Prometheus block") from None
    if version != 1:
        raise Malformed(f"meta.json has version {version!r}, only 1 is read")
    return meta


def read_tombstones(content: bytes) -> Stones:
    """What is deleted: series ref -> [first, last] times (ms), both included; Malformed."""
    if len(content) < 9 or int.from_bytes(content[:4], "big") != _TOMBSTONES_MAGIC:
        raise Malformed("not a tombstones file of a Prometheus block")
    if content[4] != _TOMBSTONES_VERSION:
        raise Malformed(f"tombstones of version {content[4]} are unknown")
    if google_crc32c.value(content[5:-4]) != int.from_bytes(content[-4:], "big"):
        raise Malformed("the tombstones are damaged: checksum mismatch")
    stones: Stones = {}
    body, at = content[:-4], 5
    while at < len(body):
        ref, at = varint(body, at)
        first, at = varint(body, at)
        last, at = varint(body, at)
        stones.setdefault(ref, []).append((_signed(first), _signed(last)))
    return stones


def _signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


class BlockReader:
    """The samples of one block."""

    def __init__(self, index: Bytes, segments: Sequence[Bytes], tombstones: bytes | None) -> None:
        """The files as uint8 arrays, which stay in use; Malformed where one cannot be read."""
        self.index: BlockIndex = read_index(index)
        for data in segments:
            check_segment(data)
        self._segments = segments
        self._stones = read_tombstones(tombstones) if tombstones is not None else {}

    def batches(self) -> Iterator[Scraped]:
        """All samples that are not deleted, series after series in the order of their labels.

        A series may go on in the next batch where it has very many samples. Times within a row
        rise, but where chunks overlap.
        """
        index = self.index
        starts = np.concatenate(([0], index.chunk_ends))
        row = 0
        while row < index.series_count:
            first_chunk = int(starts[row])
            end = int(np.searchsorted(index.chunk_ends, first_chunk + BATCH_CHUNKS, side="right"))
            end = max(end, row + 1)
            for first in range(first_chunk, int(index.chunk_ends[end - 1]), 2 * BATCH_CHUNKS):
                last = min(first + 2 * BATCH_CHUNKS, int(index.chunk_ends[end - 1]))
                yield self._batch(slice(row, end), slice(first, last))
            row = end

    def _batch(self, rows: slice, chunks: slice) -> Scraped:
        index = self.index
        columns = read_chunks(self._segments, index.chunk_refs[chunks])
        page = Scraped(_NOTHING, np.zeros(0, dtype=np.bool_))
        chunk_ends = np.clip(index.chunk_ends[rows] - chunks.start, 0, len(columns.counts))
        self._tell_damage(page, rows, chunks, columns, chunk_ends)
        offsets = np.concatenate(([0], np.cumsum(columns.counts)))
        offsets = np.concatenate(([0], offsets[chunk_ends]))
        keep = self._kept(rows, columns, offsets)
        if keep is not None:
            columns = _taken(columns, keep)
            offsets = np.concatenate(([0], np.cumsum(keep)))[offsets]
        ends = index.key_ends[rows]
        key_starts = np.concatenate((index.key_ends[rows.start - 1 : rows.start], ends[:-1]))
        if rows.start == 0:
            key_starts = np.concatenate(([0], ends[:-1]))
        batch = SeriesBatch(
            values=columns.bits.view(np.float64),
            times_ms=columns.times_ms,
            offsets=offsets,
            time_starts=offsets[:-1].copy(),
            keys=index.keys,
            key_starts=key_starts,
            key_ends=ends,
            histogram_ids=columns.ids,
            histograms=columns.histograms,
        )
        sound = index.sound[rows]
        for bad in np.flatnonzero(~sound).tolist():
            page.refuse(
                MALFORMED_SERIES,
                f"the labels of series {int(index.refs[rows][bad])} are not UTF-8, sorted and "
                "within the table of symbols",
                Labels(),
                0,
            )
        # A row without samples would be a series without any.
        page.batch = batch.take(sound & (np.diff(offsets) > 0))
        page.explicit = np.ones(page.batch.series_count, dtype=np.bool_)
        return page

    def _tell_damage(
        self,
        page: Scraped,
        rows: slice,
        chunks: slice,
        columns: ChunkColumns,
        chunk_ends: NDArray[np.int64],
    ) -> None:
        index = self.index
        for at in np.flatnonzero(columns.found != SOUND).tolist():
            row = rows.start + int(np.searchsorted(chunk_ends, at, side="right"))
            ref = int(index.chunk_refs[chunks][at])
            begin = int(index.key_ends[row - 1]) if row else 0
            key = index.keys[begin : index.key_ends[row]].tobytes()
            labels = Labels.from_key(key) if index.sound[row] else Labels()
            page.refuse(
                DAMAGED_CHUNK,
                f"chunk at offset {ref & 0xFFFFFFFF} of chunks/{(ref >> 32) + 1:06d} is damaged: "
                f"{TROUBLES[int(columns.found[at])]}",
                labels,
                int(index.min_times_ms[chunks][at]),
            )

    def _kept(
        self, rows: slice, columns: ChunkColumns, offsets: NDArray[np.int64]
    ) -> NDArray[np.bool_] | None:
        """bool[N], which samples no tombstone covers; None where there are no tombstones."""
        if not self._stones:
            return None
        keep = np.ones(len(columns.times_ms), dtype=np.bool_)
        for at, ref in enumerate(self.index.refs[rows].tolist()):
            part = slice(int(offsets[at]), int(offsets[at + 1]))
            times_ms = columns.times_ms[part]
            for first_ms, last_ms in self._stones.get(ref, ()):
                keep[part] &= (times_ms < first_ms) | (times_ms > last_ms)
        return keep


_NONE = np.zeros(0, dtype=np.int64)
_NOTHING = SeriesBatch(np.zeros(0), _NONE, np.zeros(1, dtype=np.int64), _NONE)


def _taken(columns: ChunkColumns, keep: NDArray[np.bool_]) -> ChunkColumns:
    return ChunkColumns(
        columns.found,
        columns.counts,
        columns.times_ms[keep],
        columns.bits[keep],
        None if columns.ids is None else columns.ids[keep],
        columns.histograms,
    )
