"""Chunks of Prometheus' blocks as columns: floats and native histograms.

Source: tsdb/docs/format/chunks.md of Prometheus.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from series.histogram import Histograms
from wire import prometheus_chunk_kernels as kernels
from wire import prometheus_histogram_kernels as histogram_kernels
from wire.errors import Malformed
from wire.prometheus_chunk_kernels import (
    FLOAT_HISTOGRAM,
    HISTOGRAM,
    MALFORMED,
    MISMATCH,
    OUTSIDE,
    SOUND,
    UNKNOWN,
    XOR,
)
from wire.prometheus_index import crc32c_table

MAGIC = bytes.fromhex("85bd40dd")
VERSION = 1
_MAX_ROOM = 1 << 26
"""The most buckets or custom bounds that one chunk may come to."""

_SAMPLES_A_BYTE = 4
"""No sample takes less than a bit for its time and one for its value."""

TROUBLES = {
    OUTSIDE: "it does not lie within its file",
    MISMATCH: "checksum mismatch",
    UNKNOWN: "its encoding is unknown",
    MALFORMED: "it ends before its samples do, or its layout cannot be",
}
"""What is wrong with a chunk that is not SOUND."""

Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ChunkColumns:
    """The samples of n chunks, one chunk after the other.

    - ``found``: uint8[n], SOUND or a key of TROUBLES; such a chunk has no samples.
    - ``counts``: int64[n], samples of each.
    - ``times_ms``, ``bits``: int64[N], uint64[N]; ``ids``: int64[N] which of ``histograms`` a
      sample is, -1 for a float; None where all are floats.
    """

    found: Bytes
    counts: Int64s
    times_ms: Int64s
    bits: NDArray[np.uint64]
    ids: Int64s | None
    histograms: Histograms | None


def check_segment(data: Bytes) -> None:
    """Malformed where *data* (uint8[n]) does not begin a segment of chunks that can be read."""
    head = data[:5].tobytes()
    if head[:4] != MAGIC:
        raise Malformed("not a file of chunks of a Prometheus block")
    if head[4:] != bytes([VERSION]):
        raise Malformed(f"chunks of format version {head[4:].hex()} are unknown")


def read_chunks(segments: Sequence[Bytes], refs: NDArray[np.uint64]) -> ChunkColumns:
    """The chunks that *refs* (uint64[n]) name, in that order."""
    numbers = (refs >> np.uint64(32)).astype(np.int64)
    offsets = (refs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    count = len(refs)
    begins, ends, counts = np.zeros((3, count), dtype=np.int64)
    encodings = np.zeros(count, dtype=np.uint8)
    found = np.full(count, OUTSIDE, dtype=np.uint8)
    of_segment = [np.flatnonzero(numbers == number) for number in range(len(segments))]
    for data, chosen in zip(segments, of_segment, strict=True):
        count_here = len(chosen)
        own_begins, own_ends, sizes = np.zeros((3, count_here), dtype=np.int64)
        own, states = np.zeros((2, count_here), dtype=np.uint8)
        kernels.find_chunks(
            data, offsets[chosen], crc32c_table(), own_begins, own_ends, own, sizes, states
        )
        begins[chosen], ends[chosen] = own_begins, own_ends
        encodings[chosen], counts[chosen], found[chosen] = own, sizes, states
    found[(found == SOUND) & (counts > _SAMPLES_A_BYTE * (ends - begins))] = MALFORMED
    counts[found != SOUND] = 0
    places = np.cumsum(counts) - counts
    total = int(counts.sum())
    times_ms, bits = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.uint64)
    ids = np.full(total, -1, dtype=np.int64)
    pools: list[Histograms] = []
    for data, chosen in zip(segments, of_segment, strict=True):
        sound = chosen[found[chosen] == SOUND]
        floats = sound[encodings[sound] == XOR]
        kernels.read_xor(data, floats, begins, ends, counts, places, times_ms, bits, found)
        others = sound[np.isin(encodings[sound], (HISTOGRAM, FLOAT_HISTOGRAM))]
        if len(others):
            own_ids = np.full(total, -1, dtype=np.int64)
            pool = _histograms(
                data, others, begins, ends, counts, places, encodings, times_ms, bits, own_ids,
                found,
            )  # fmt: skip
            known = sum(one.size for one in pools)
            ids[own_ids >= 0] = own_ids[own_ids >= 0] + known
            pools.append(pool)
    histograms = Histograms.concat(pools) if pools else None
    columns_read = ChunkColumns(found, counts, times_ms, bits, ids if pools else None, histograms)
    return _without_malformed(columns_read) if (found == MALFORMED).any() else columns_read


def _histograms(
    data: Bytes,
    chosen: Int64s,
    begins: Int64s,
    ends: Int64s,
    counts: Int64s,
    places: Int64s,
    encodings: Bytes,
    times_ms: Int64s,
    bits: NDArray[np.uint64],
    ids: Int64s,
    found: Bytes,
) -> Histograms:
    """Reads the chunks *chosen* of histograms and returns these."""
    buckets, bounds = np.zeros((2, len(counts)), dtype=np.int64)
    histogram_kernels.measure(data, chosen, begins, ends, buckets, bounds, found)
    # A sample that is not a stale marker takes a bit for each bucket at least.
    bucket_room = np.minimum(counts * buckets, 8 * (ends - begins))
    bound_room = counts * bounds
    found[chosen[(bucket_room > _MAX_ROOM)[chosen] | (bound_room > _MAX_ROOM)[chosen]]] = MALFORMED
    chosen = chosen[found[chosen] == SOUND]
    size = int(counts[chosen].sum())
    room, bound_size = int(bucket_room[chosen].sum()), int(bound_room[chosen].sum())
    totals, sums, zero_thresholds, zero_counts = np.empty((4, size))
    whole = Histograms(
        np.empty(size, dtype=np.int32), np.empty(size, dtype=np.uint8),
        totals, sums, zero_thresholds, zero_counts,
        np.zeros(size + 1, dtype=np.int64), np.empty(room, dtype=np.int32), np.empty(room),
        np.zeros(size + 1, dtype=np.int64), np.empty(bound_size),
    )  # fmt: skip
    made = histogram_kernels.read(
        data, chosen, begins, ends, counts, places, encodings, buckets, bounds, times_ms, bits,
        ids, found, *whole.columns,
    )  # fmt: skip
    return Histograms(
        whole.schemas[:made], whole.hints[:made], totals[:made], sums[:made],
        zero_thresholds[:made], zero_counts[:made],
        whole.offsets[: made + 1], whole.positions[: whole.offsets[made]],
        whole.bucket_counts[: whole.offsets[made]],
        whole.bound_offsets[: made + 1], whole.bounds[: whole.bound_offsets[made]],
    )  # fmt: skip


def _without_malformed(columns: ChunkColumns) -> ChunkColumns:
    kept = np.repeat(columns.found == SOUND, columns.counts)
    return ChunkColumns(
        columns.found,
        np.where(columns.found == SOUND, columns.counts, 0),
        columns.times_ms[kept],
        columns.bits[kept],
        None if columns.ids is None else columns.ids[kept],
        columns.histograms,
    )
