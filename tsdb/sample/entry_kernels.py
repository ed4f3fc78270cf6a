"""Kernels of the entries in blocks: between entries one after the other and columns.

A *run* is n consecutive entries of one row whose histograms have the same buckets. It is written
as columns of n float64 each, end to end: value and start of floats; start, count, sum, zero
threshold, zero count and the buckets of histograms. Entry i of a run whose columns begin at *base*
has element c at ``base + c * n + i``.
"""

from typing import Any

from series.jit import kernel

FLOAT_COLUMNS, HISTOGRAM_COLUMNS = 2, 5
"""Columns of a run of floats; those of one of histograms besides the buckets'."""

_BYTES = "Array(u1, 1, 'C', True)"
_INT32 = "Array(i4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"
_FLOAT64 = "Array(f8, 1, 'C', True)"


@kernel(f"void({_INT32}, {_BYTES}, {_INT64}, {_INT32}, {_INT64}, {_INT64}, b1[::1])")
def find_changes(
    schemas: Any,
    hints: Any,
    offsets: Any,
    positions: Any,
    bound_offsets: Any,
    bounds: Any,
    changed: Any,
) -> None:
    """Sets ``changed[h]`` where histogram h has not the schema, hint, bucket positions and custom
    bounds of the one before it. The arguments are columns of ``Histograms``, *bounds* as bits.
    """
    for h in range(len(schemas)):
        start, end = offsets[h], offsets[h + 1]
        bound, bound_end = bound_offsets[h], bound_offsets[h + 1]
        same = h > 0 and schemas[h] == schemas[h - 1] and hints[h] == hints[h - 1]
        same = same and end - start == start - offsets[h - 1]
        same = same and bound_end - bound == bound - bound_offsets[h - 1]
        if same:
            width = end - start
            while start < end and positions[start] == positions[start - width]:
                start += 1
            bound_width = bound_end - bound
            while bound < bound_end and bounds[bound] == bounds[bound - bound_width]:
                bound += 1
            same = start == end and bound == bound_end
        changed[h] = not same


@kernel(
    f"i8({_INT64}, {_INT64}, {_INT64}, {_FLOAT64}, {_INT64}, {_FLOAT64}, {_FLOAT64}, {_FLOAT64},"
    f" {_FLOAT64}, {_INT64}, {_FLOAT64}, f8[::1])"
)
def to_columns(
    firsts: Any,
    lengths: Any,
    histograms: Any,
    values: Any,
    starts_ms: Any,
    counts: Any,
    sums: Any,
    zero_thresholds: Any,
    zero_counts: Any,
    offsets: Any,
    bucket_counts: Any,
    out: Any,
) -> int:
    """Writes runs as columns, end to end; returns how many numbers that are.

    Run r is the ``lengths[r]`` entries from ``firsts[r]`` on; its first histogram has the number
    ``histograms[r]``, -1 in runs of floats. The other arguments are columns of the entries and of
    their histograms, in the order of the entries.
    """
    base = 0
    for r in range(len(firsts)):
        n = lengths[r]
        width = FLOAT_COLUMNS
        for i in range(n):
            entry, h, at = firsts[r] + i, histograms[r] + i, base + i
            if histograms[r] < 0:
                out[at] = values[entry]
                out[at + n] = starts_ms[entry]
                continue
            out[at] = starts_ms[entry]
            out[at + n] = counts[h]
            out[at + 2 * n] = sums[h]
            out[at + 3 * n] = zero_thresholds[h]
            out[at + 4 * n] = zero_counts[h]
            at += HISTOGRAM_COLUMNS * n
            for bucket in range(offsets[h], offsets[h + 1]):
                out[at] = bucket_counts[bucket]
                at += n
        if histograms[r] >= 0:
            width = HISTOGRAM_COLUMNS + offsets[histograms[r] + 1] - offsets[histograms[r]]
        base += width * n
    return int(base)


@kernel(
    f"void({_FLOAT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, f8[::1], i8[::1], f8[::1], f8[::1],"
    " f8[::1], f8[::1], f8[::1])"
)
def from_columns(
    columns: Any,
    places: Any,
    steps: Any,
    histogram_ids: Any,
    offsets: Any,
    values: Any,
    starts_ms: Any,
    counts: Any,
    sums: Any,
    zero_thresholds: Any,
    zero_counts: Any,
    bucket_counts: Any,
) -> None:
    """Fills entries, and their histograms, from columns.

    Entry e has its numbers in *columns* from ``places[e]`` on, ``steps[e]`` apart. It is a float
    where ``histogram_ids[e]`` is -1; else the histogram whose buckets belong at ``offsets``.
    """
    for e in range(len(places)):
        at, step, h = places[e], steps[e], histogram_ids[e]
        if h < 0:
            values[e] = columns[at]
            starts_ms[e] = int(columns[at + step])
            continue
        values[e] = 0.0
        starts_ms[e] = int(columns[at])
        counts[h] = columns[at + step]
        sums[h] = columns[at + 2 * step]
        zero_thresholds[h] = columns[at + 3 * step]
        zero_counts[h] = columns[at + 4 * step]
        at += HISTOGRAM_COLUMNS * step
        for bucket in range(offsets[h], offsets[h + 1]):
            bucket_counts[bucket] = columns[at]
            at += step
