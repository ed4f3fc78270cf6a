"""Kernel of the OTLP door that reads the data points that become native histograms.

Message and field numbers: opentelemetry/proto/metrics/v1/metrics.proto. As in
``wire.protobuf_helpers`` no read goes beyond the *end* that it was compared with.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel, load_u64, pointer
from wire.histogram_helpers import MAX_SCHEMA, OFFSET, put_spread, reduced, turn_round
from wire.otlp_helpers import FIXED64, LENGTH, VARINT, read_field
from wire.protobuf_helpers import OK, UNEXPECTED_END, WRONG_WIRE_TYPE, read_varint

FITS, STALE, BAD_SCALE, INDEX_RANGE, TOTAL, TOTAL_WITH_NAN, BAD_BUCKETS = range(7)
"""The verdicts: STALE marks an end, those after it refuse a point."""

MIN_SCALE = -4
CUSTOM_SCHEMA = -53

_BYTES = "Array(u1, 1, 'C', True)"
_NO_RECORDED_VALUE = 1
_ZERO_THRESHOLD = 1e-128
"""Of points that tell none, as Prometheus has it."""
_COUNT, _SUM, _SCALE, _ZERO_COUNT, _POSITIVE, _NEGATIVE, _FLAGS = range(4, 11)
_EXPLICIT_COUNTS, _EXPLICIT_BOUNDS = 6, 7
_THRESHOLD = 14


@helper
def _side(
    data: Any, at: Any, end: Any, shift: Any, positions: Any, bucket_counts: Any, begin: Any,
) -> Any:  # fmt: skip
    """(where the buckets end, observations, index out of range or 0, status) of a Buckets message.

    Puts them down from *begin* on.
    """
    offset = np.int64(0)
    search = at
    while search < end:
        number, wire_type, value, search, status = read_field(data, search, end)
        if status != OK:
            return begin, np.int64(0), np.int64(0), status
        if number == 1:
            if wire_type != VARINT:
                return begin, np.int64(0), np.int64(0), WRONG_WIRE_TYPE
            offset = ((value & 0xFFFFFFFF) >> 1) ^ -(value & 1)
    used = begin
    index = offset + 1
    last = np.int64(0)
    total = np.int64(0)
    beyond = np.int64(0)
    while at < end:
        number, wire_type, value, at, status = read_field(data, at, end)
        if number != 2:
            continue
        if wire_type == FIXED64 or wire_type > LENGTH:
            return used, total, beyond, WRONG_WIRE_TYPE
        once = wire_type == VARINT
        reading = value
        while once or reading < at:
            count = value
            if not once:
                count, reading, status = read_varint(data, reading, at)
                if status != OK:
                    return used, total, beyond, status
            once = False
            reading = at if wire_type == VARINT else reading
            here = reduced(index, shift) if shift > 0 else index
            if count != 0 and (here <= -OFFSET or here >= OFFSET):
                beyond = here
            elif beyond == 0:
                total += count
                used, last = put_spread(
                    positions, bucket_counts, begin, used, last, here, np.float64(np.uint64(count))
                )
            index += 1
    return used, total, beyond, OK


@helper
def _explicit(
    data: Any, counts: Any, counts_end: Any, limits: Any, limits_end: Any, count: Any,
    positions: Any, bucket_counts: Any, begin: Any, bounds: Any, bound_bits: Any, bounded: Any,
) -> Any:  # fmt: skip
    """(where the buckets end, where the bounds end, observations, verdict) of explicit buckets.

    The counts and bounds are arrays of fixed64. Without counts there is one bucket, of all.
    """
    buckets = (counts_end - counts) // 8
    used = begin
    last = np.int64(0)
    if buckets == 0:
        used, last = put_spread(
            positions, bucket_counts, begin, used, last, np.int64(0), np.float64(np.uint64(count))
        )
        return used, bounded, count, FITS
    if (limits_end - limits) // 8 + 1 != buckets:
        return used, bounded, np.int64(0), BAD_BUCKETS
    end = bounded
    total = np.int64(0)
    for k in range(buckets):
        one = np.int64(load_u64(data, counts + 8 * k))
        total += one
        # A last bound of infinity is that of the last bucket, which every histogram has.
        index = end - bounded
        if k < buckets - 1:
            bound_bits[end] = load_u64(data, limits + 8 * k)
            if np.isnan(bounds[end]) or (end > bounded and bounds[end] <= bounds[end - 1]):
                return used, bounded, total, BAD_BUCKETS
            if bounds[end] == np.inf:
                if k < buckets - 2:
                    return used, bounded, total, BAD_BUCKETS
            else:
                end += 1
        used, last = put_spread(
            positions, bucket_counts, begin, used, last, index, np.float64(np.uint64(one))
        )
    return used, end, total, FITS


@kernel(
    f"UniTuple(i8, 5)({_BYTES}, i8[::1], i8[::1], b1[::1], i4[::1], f8[:, ::1], u8[:, ::1],"
    " i8[::1], u1[::1], i8[:, ::1], i8[::1], i4[::1], f8[::1], i8[::1], f8[::1], u8[::1])"
)
def read_native(
    message: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    is_custom: NDArray[np.bool_],
    schemas: NDArray[np.int32],
    numbers: NDArray[np.float64],
    number_bits: NDArray[np.uint64],
    ids: NDArray[np.int64],
    verdicts: NDArray[np.uint8],
    details: NDArray[np.int64],
    offsets: NDArray[np.int64],
    positions: NDArray[np.int32],
    bucket_counts: NDArray[np.float64],
    bound_offsets: NDArray[np.int64],
    bounds: NDArray[np.float64],
    bound_bits: NDArray[np.uint64],
) -> tuple[int, int, int, int, int]:
    """Reads the points [starts[h], ends[h]); (status, position, kept, buckets, bounds).

    Where *is_custom* says so a point is one with explicit buckets, its arrays packed and whole;
    otherwise an exponential one. Fills ``ids[h]`` (-1 where it is not kept), ``verdicts[h]`` and
    for them ``details[h]`` (two numbers); the other arrays are columns of the kept histograms, the
    rows of *numbers* counts, sums, zero thresholds and zero counts. *positions* and
    *bucket_counts* have room for as many buckets as the points have bytes, *bounds* for an eighth.
    """
    data = pointer(message)
    kept: Any = np.int64(0)
    used: Any = np.int64(0)
    bounded: Any = np.int64(0)
    at: Any = np.int64(0)
    offsets[0] = 0
    bound_offsets[0] = 0
    spans = np.zeros((2, 2), dtype=np.int64)
    for h in range(len(starts)):
        at = starts[h]
        end = ends[h]
        custom = is_custom[h]
        ids[h] = -1
        count = np.int64(0)
        sum_bits = np.uint64(0)
        scale = np.int64(0)
        zero_count = np.int64(0)
        flags = np.int64(0)
        numbers[2, kept] = 0.0
        spans[:] = 0
        while at < end:
            number, wire_type, value, at, status = read_field(data, at, end)
            if status != OK:
                return status, at, kept, used, bounded
            wanted = wire_type
            if number in (_COUNT, _SUM) or (number == _ZERO_COUNT and not custom):
                wanted = FIXED64
                if wire_type == FIXED64:
                    word = load_u64(data, value)
                    if number == _COUNT:
                        count = np.int64(word)
                    elif number == _SUM:
                        sum_bits = word
                    else:
                        zero_count = np.int64(word)
            elif number == _FLAGS:
                wanted = VARINT
                flags = value
            elif custom:
                if number in (_EXPLICIT_COUNTS, _EXPLICIT_BOUNDS):
                    wanted = LENGTH
                    spans[number - _EXPLICIT_COUNTS, 0] = value
                    spans[number - _EXPLICIT_COUNTS, 1] = at
            elif number == _SCALE:
                wanted = VARINT
                scale = ((value & 0xFFFFFFFF) >> 1) ^ -(value & 1)
            elif number in (_POSITIVE, _NEGATIVE):
                wanted = LENGTH
                spans[number - _POSITIVE, 0] = value
                spans[number - _POSITIVE, 1] = at
            elif number == _THRESHOLD:
                wanted = FIXED64
                if wire_type == FIXED64:
                    number_bits[2, kept] = load_u64(data, value)
            if wire_type != wanted:
                return WRONG_WIRE_TYPE, at, kept, used, bounded
        if flags & _NO_RECORDED_VALUE:
            verdicts[h] = STALE
            continue

        verdict: Any = np.int64(FITS)
        first: Any = np.int64(0)
        total: Any = np.int64(0)
        stop = used
        bounds_stop = bounded
        if custom:
            if (spans[0, 1] - spans[0, 0]) % 8 != 0 or (spans[1, 1] - spans[1, 0]) % 8 != 0:
                return UNEXPECTED_END, at, kept, used, bounded
            stop, bounds_stop, total, verdict = _explicit(
                data, spans[0, 0], spans[0, 1], spans[1, 0], spans[1, 1], count, positions,
                bucket_counts, used, bounds, bound_bits, bounded,
            )  # fmt: skip
        elif scale < MIN_SCALE:
            verdict = np.int64(BAD_SCALE)
            first = scale
        else:
            shift = min(max(np.int64(0), scale - MAX_SCHEMA), np.int64(62))
            stop, below, first, status = _side(
                data, spans[1, 0], spans[1, 1], shift, positions, bucket_counts, used
            )
            if status != OK:
                return status, at, kept, used, bounded
            turn_round(positions, bucket_counts, used, stop)
            stop, above, beyond, status = _side(
                data, spans[0, 0], spans[0, 1], shift, positions, bucket_counts, stop
            )
            if status != OK:
                return status, at, kept, used, bounded
            first = beyond if first == 0 else first
            verdict = np.int64(INDEX_RANGE if first != 0 else FITS)
            total = below + above + zero_count
        number_bits[1, kept] = sum_bits
        if verdict == FITS and total != count:
            first = total
            if not np.isnan(numbers[1, kept]):
                verdict = np.int64(TOTAL)
            elif np.uint64(total) > np.uint64(count):
                verdict = np.int64(TOTAL_WITH_NAN)
        verdicts[h] = verdict
        if verdict != FITS:
            details[h, 0] = first
            details[h, 1] = count
            continue
        ids[h] = kept
        schemas[kept] = CUSTOM_SCHEMA if custom else min(scale, np.int64(MAX_SCHEMA))
        numbers[0, kept] = np.float64(np.uint64(count))
        numbers[3, kept] = np.float64(np.uint64(zero_count))
        if not custom and numbers[2, kept] == 0.0:
            numbers[2, kept] = _ZERO_THRESHOLD
        kept += 1
        used = stop
        bounded = bounds_stop
        offsets[kept] = used
        bound_offsets[kept] = bounded
    return OK, at, kept, used, bounded
