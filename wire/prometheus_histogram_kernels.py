"""Kernels of Prometheus' chunks of native histograms, of whole and of floating counts.

Source: tsdb/chunkenc/{histogram,float_histogram,histogram_meta}.go of Prometheus. All histograms
of a chunk share one *layout*: schema, zero threshold, buckets and custom bounds.
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel
from wire.bit_helpers import read_bits, read_varbit_int, read_varbit_uint, read_xored

MALFORMED = 4  # prometheus_chunk_kernels.MALFORMED
_HISTOGRAM = 2  # prometheus_chunk_kernels.HISTOGRAM
_CUSTOM = -53  # series.histogram.CUSTOM_SCHEMA
_OFFSET = 1 << 29  # series.histogram.OFFSET
_STALE = 0x7FF0000000000002
_MAX_BUCKETS = 1 << 20
"""The most buckets or bounds of a layout, far beyond what a histogram has."""
_HEAD_BITS = 24

_BYTES = "Array(u1, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@helper
def _spans(data: Any, at: Any, end: Any, positions: Any, to: Any) -> Any:
    """(buckets of one side, position): their indices go to ``positions[to:]`` where there is room.

    The count is -1 where it cannot be.
    """
    spans, at = read_varbit_uint(data, at, end)
    if spans > np.uint64(_MAX_BUCKETS):
        return np.int64(-1), at
    count = np.int64(0)
    index = np.int64(0)
    for number in range(np.int64(spans)):
        length, at = read_varbit_uint(data, at, end)
        offset, at = read_varbit_int(data, at, end)
        index += offset
        if number > 0 and offset < 0:
            return np.int64(-1), at
        if at > end or length > np.uint64(_MAX_BUCKETS) or abs(index) > _OFFSET // 2:
            return np.int64(-1), at
        if count + np.int64(length) > _MAX_BUCKETS:
            return np.int64(-1), at
        for k in range(np.int64(length)):
            if to + count + k < len(positions):
                positions[to + count + k] = index + k
        count += np.int64(length)
        index += np.int64(length)
    return count, at


@helper
def _layout(data: Any, begin: Any, end: Any, positions: Any, bounds: Any) -> Any:
    """(schema, zero threshold, positive, negative, bounds, position) of the chunk at byte *begin*.

    The indices of both sides' buckets go to *positions*, the bounds to *bounds*, where there is
    room. The number of positive buckets is -1 where the layout cannot be.
    """
    at = begin * 8 + _HEAD_BITS
    threshold = 0.0
    byte, at = read_bits(data, at, end, 8)
    if byte == np.uint64(255):
        raw, at = read_bits(data, at, end, 64)
        threshold = np.array([raw]).view(np.float64)[0]
    elif byte != np.uint64(0):
        threshold = 2.0 ** (np.float64(byte) - 244.0)
    schema, at = read_varbit_int(data, at, end)
    positive, at = _spans(data, at, end, positions, 0)
    negative = np.int64(0)
    if positive >= 0:
        negative, at = _spans(data, at, end, positions, positive)
    count = np.uint64(0)
    if schema == _CUSTOM:
        count, at = read_varbit_uint(data, at, end)
    known = -4 <= schema <= 8 or schema == _CUSTOM
    if not known or negative < 0 or count > np.uint64(_MAX_BUCKETS) or at > end:
        return np.int64(0), 0.0, np.int64(-1), np.int64(0), np.int64(0), at
    for k in range(np.int64(count)):
        scaled, at = read_varbit_uint(data, at, end)
        bound = (np.float64(scaled) - 1.0) / 1000.0
        if scaled == np.uint64(0):
            raw, at = read_bits(data, at, end, 64)
            bound = np.array([raw]).view(np.float64)[0]
        if k < len(bounds):
            bounds[k] = bound
        if at > end:
            return np.int64(0), 0.0, np.int64(-1), np.int64(0), np.int64(0), at
    return schema, threshold, positive, negative, np.int64(count), at


@kernel(f"void({_BYTES}, {_INT64}, {_INT64}, {_INT64}, i8[::1], i8[::1], u1[::1])")
def measure(
    data: Any, chosen: Any, begins: Any, ends: Any, buckets: Any, bounds: Any, found: Any
) -> None:
    """How many buckets and bounds a histogram of each chunk *chosen* has; or it is MALFORMED."""
    no_positions = np.empty(0, np.int64)
    no_bounds = np.empty(0, np.float64)
    for k in chosen:
        _, _, positive, negative, count, at = _layout(
            data, begins[k], ends[k] * 8, no_positions, no_bounds
        )
        # Every sample has a bit for each bucket at least.
        if positive < 0 or positive + negative > ends[k] * 8 - at:
            found[k] = MALFORMED
            continue
        buckets[k], bounds[k] = positive + negative, count


@helper
def _read_whole(data: Any, at: Any, end: Any, first: Any, state: Any, deltas: Any) -> Any:
    """The next of one side's deltas between buckets, in whole numbers; the position."""
    for k in range(len(state)):
        change, at = read_varbit_int(data, at, end)
        if first:
            state[k] = change
        else:
            deltas[k] += change
            state[k] += deltas[k]
    return at


@kernel(
    f"i8({_BYTES}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, u1[::1], {_INT64}, {_INT64},"
    " i8[::1], u8[::1], i8[::1], u1[::1], i4[::1], u1[::1], f8[::1], f8[::1], f8[::1], f8[::1],"
    " i8[::1], i4[::1], f8[::1], i8[::1], f8[::1])"
)
def read(
    data: Any,
    chosen: Any,
    begins: Any,
    ends: Any,
    counts: Any,
    places: Any,
    encodings: Any,
    bucket_counts: Any,
    bound_counts: Any,
    times: Any,
    bits: Any,
    ids: Any,
    found: Any,
    schemas: Any,
    hints: Any,
    totals: Any,
    sums: Any,
    zero_thresholds: Any,
    zero_counts: Any,
    offsets: Any,
    positions: Any,
    buckets: Any,
    bound_offsets: Any,
    bounds: Any,
) -> int:
    """Reads the chunks *chosen* to their ``places``: times, and ids of histograms.

    From ``schemas`` on come the columns of Histograms, with room for every sample; returns how
    many histograms there are. A stale marker is a float. *found* becomes MALFORMED where a chunk
    ends before its samples do; what was read of it stays without meaning.
    """
    made = np.int64(0)
    offsets[0] = bound_offsets[0] = 0
    for k in chosen:
        size = bucket_counts[k]
        indices = np.empty(size, np.int64)
        own_bounds = np.empty(bound_counts[k], np.float64)
        end = ends[k] * 8
        schema, threshold, positive, negative, _, at = _layout(
            data, begins[k], end, indices, own_bounds
        )
        flag = data[begins[k] + 2] >> 6
        is_whole = encodings[k] == _HISTOGRAM
        whole, deltas = np.zeros(size, np.int64), np.zeros(size, np.int64)
        floats = np.zeros(size + 3, np.uint64)  # buckets, count, zero count, sum
        leading, trailing = np.zeros(size + 3, np.int64), np.zeros(size + 3, np.int64)
        time = delta = count = count_delta = zeros = zeros_delta = np.int64(0)
        for i in range(counts[k]):
            first = i == 0
            change, at = read_varbit_int(data, at, end)
            if first:
                time = change
            else:
                delta += change
                time += delta
            if is_whole and first:
                raw, at = read_varbit_uint(data, at, end)
                count = np.int64(raw)
                raw, at = read_varbit_uint(data, at, end)
                zeros = np.int64(raw)
            elif is_whole:
                change, at = read_varbit_int(data, at, end)
                count_delta += change
                count += count_delta
                change, at = read_varbit_int(data, at, end)
                zeros_delta += change
                zeros += zeros_delta
            for j in range(size + 2 if is_whole else size, size + 3):
                if first:
                    floats[j], at = read_bits(data, at, end, 64)
                else:
                    floats[j], at, leading[j], trailing[j] = read_xored(
                        data, at, end, floats[j], leading[j], trailing[j]
                    )
                    if at < 0:
                        break
            if at < 0 or at > end:
                found[k] = MALFORMED
                break
            place = places[k] + i
            times[place] = time
            ids[place] = -1
            bits[place] = floats[size + 2]
            if floats[size + 2] == np.uint64(_STALE) and not first:
                continue
            if is_whole:
                at = _read_whole(data, at, end, first, whole[:positive], deltas[:positive])
                at = _read_whole(data, at, end, first, whole[positive:], deltas[positive:])
            else:
                for j in range(size):
                    if first:
                        floats[j], at = read_bits(data, at, end, 64)
                    else:
                        floats[j], at, leading[j], trailing[j] = read_xored(
                            data, at, end, floats[j], leading[j], trailing[j]
                        )
                        if at < 0:
                            break
            if at < 0 or at > end:
                found[k] = MALFORMED
                break
            if floats[size + 2] == np.uint64(_STALE):
                continue
            ids[place] = made
            schemas[made] = schema
            hints[made] = 3 if flag == 3 else 2 if i > 0 else 1 if flag == 2 else 0
            as_floats = floats.view(np.float64)
            totals[made] = np.float64(np.uint64(count)) if is_whole else as_floats[size]
            zero_counts[made] = np.float64(np.uint64(zeros)) if is_whole else as_floats[size + 1]
            sums[made] = as_floats[size + 2]
            zero_thresholds[made] = threshold
            to = offsets[made]
            # Negative buckets first, the outermost before the others.
            total = np.int64(0)
            for j in range(positive, size):
                total += whole[j]
                reversed_to = to + size - 1 - j
                positions[reversed_to] = -(_OFFSET + indices[j])
                buckets[reversed_to] = np.float64(total) if is_whole else as_floats[j]
            total = np.int64(0)
            for j in range(positive):
                total += whole[j]
                positions[to + negative + j] = _OFFSET + indices[j]
                buckets[to + negative + j] = np.float64(total) if is_whole else as_floats[j]
            offsets[made + 1] = to + size
            low = bound_offsets[made]
            for j in range(len(own_bounds)):
                bounds[low + j] = own_bounds[j]
            bound_offsets[made + 1] = low + len(own_bounds)
            made += 1
    return int(made)
