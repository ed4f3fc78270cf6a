"""Native histograms of protobuf messages, decoded into columns and judged.

The judgements are Prometheus' (model/histogram: Validate). A message is read three times: for
everything but the counts of buckets, then for the counts of the negative ones and of the positive
ones, so that these can be put where they belong at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel, pointer
from wire.histogram_helpers import (
    MAX_SCHEMA,
    OFFSET,
    STALE_NAN_BITS,
    put_bucket,
    reduced,
    turn_round,
)
from wire.histogram_message_helpers import (
    COUNT_FLOAT,
    COUNT_INT,
    CUSTOM,
    HINT,
    NEGATIVE,
    NEGATIVE_COUNTS,
    NEGATIVE_DELTAS,
    NEGATIVE_SPANS,
    POSITIVE,
    POSITIVE_COUNTS,
    POSITIVE_DELTAS,
    POSITIVE_SPANS,
    ROLE_COUNT,
    SCHEMA,
    START,
    SUM,
    TIME,
    ZERO_COUNT_FLOAT,
    ZERO_COUNT_INT,
    ZERO_THRESHOLD,
    read_counts,
    read_message,
)
from wire.protobuf_helpers import OK

FITS = 0
STALE = 1
BAD_SCHEMA = 2
SPAN_OFFSET = 3
SPAN_LENGTHS = 4
BUCKET_COUNT = 5
TOTAL = 6
TOTAL_WITH_NAN = 7
BOUND_NAN = 8
BOUND_ORDER = 9
BOUND_INFINITE = 10
BOUNDS_FEW = 11
CUSTOM_ZERO_COUNT = 12
CUSTOM_ZERO_THRESHOLD = 13
CUSTOM_NEGATIVE_SPANS = 14
CUSTOM_NEGATIVE_BUCKETS = 15
BOUNDS_UNWANTED = 16
ZERO_COUNT = 17
OBSERVATION_COUNT = 18
INDEX_RANGE = 19
FLOAT_BUCKET_COUNT = 20
"""The verdicts: STALE marks an end, those after it refuse a histogram."""

_EXPONENTIAL_MIN, _REDUCIBLE_MAX, _CUSTOM_SCHEMA = -4, 52, -53


@helper
def _judge_spans(spans: Any, span_count: Any, buckets: Any, is_custom: Any) -> Any:
    """(verdict, two details, length with gaps) of the spans of one side."""
    needed = np.int64(0)
    covered = np.int64(0)
    for n in range(span_count):
        if spans[n, 0] < 0 and (n > 0 or is_custom):
            return SPAN_OFFSET, np.int64(n + 1), spans[n, 0], covered
        needed += spans[n, 1]
        covered += spans[n, 0] + spans[n, 1]
    if needed != buckets:
        return SPAN_LENGTHS, needed, buckets, covered
    return FITS, needed, buckets, covered


@helper
def _judge_bounds(bounds: Any, bits: Any, begin: Any, end: Any) -> Any:
    """(verdict, two details) of custom bounds; *bits* is another view of them."""
    for at in range(begin, end):
        if np.isnan(bounds[at]):
            return BOUND_NAN, np.int64(0), np.int64(0)
        if at > begin and bounds[at] <= bounds[at - 1]:
            return BOUND_ORDER, np.int64(bits[at - 1]), np.int64(bits[at])
    if end > begin and bounds[end - 1] == np.inf:
        return BOUND_INFINITE, np.int64(0), np.int64(0)
    return FITS, np.int64(0), np.int64(0)


@helper
def _place(
    spans: Any, span_count: Any, shift: Any, positions: Any, bucket_counts: Any, begin: Any
) -> Any:
    """(where the buckets of one side end, index out of range or 0).

    Their counts stand at *begin* and after; they are joined where *shift* lowers the resolution.
    """
    used = begin
    source = begin
    index = np.int64(0)
    for n in range(span_count):
        index += spans[n, 0]
        for _ in range(spans[n, 1]):
            here = reduced(index, shift) if shift > 0 else index
            if here <= -OFFSET or here >= OFFSET:
                return used, here
            used = put_bucket(
                positions, bucket_counts, begin, used, OFFSET + here, bucket_counts[source]
            )
            source += 1
            index += 1
    return used, np.int64(0)


@kernel(
    "UniTuple(i8, 5)(u1[::1], i8[:, ::1], i8[::1], b1, i8, i4[::1], u1[::1], u8[:, ::1], i8[::1],"
    " i8[::1], i8[::1], u1[::1], i8[:, ::1], i8[::1], i4[::1], f8[::1], i8[::1], f8[::1])"
)
def decode(
    message: NDArray[np.uint8],
    messages: NDArray[np.int64],
    roles: NDArray[np.int64],
    by_value: bool,
    longest: int,
    schemas: NDArray[np.int32],
    hints: NDArray[np.uint8],
    number_bits: NDArray[np.uint64],
    times_ms: NDArray[np.int64],
    starts_ms: NDArray[np.int64],
    ids: NDArray[np.int64],
    verdicts: NDArray[np.uint8],
    details: NDArray[np.int64],
    offsets: NDArray[np.int64],
    positions: NDArray[np.int32],
    bucket_counts: NDArray[np.float64],
    bound_offsets: NDArray[np.int64],
    bounds: NDArray[np.float64],
) -> tuple[int, int, int, int, int]:
    """Reads the Histogram messages ``message[messages[h, 0] : messages[h, 1]]``.

    Returns (status, position, kept, buckets, bounds); where status is not OK, *position* is where
    the message that cannot be read begins, and the rest means nothing. *roles* int64[n] gives the
    role of each field number; with *by_value* a histogram is one of floats where its float counts
    are positive, else where the float count was sent last. No message is longer than *longest*.

    Fills for each message: ``times_ms``, ``starts_ms``, ``ids[h]`` (-1 where it is not kept),
    ``verdicts[h]``, and for verdicts ``details[h]`` (side, two numbers or bits of floats). The
    other arrays are the columns of the kept ones; the rows of *number_bits* are counts, sums, zero
    thresholds and zero counts. *positions* and *bucket_counts* have room for as many buckets as
    all messages have bytes, *bounds* for an eighth of that.
    """
    data = pointer(message)
    ints = np.zeros(ROLE_COUNT, dtype=np.int64)
    bits = np.zeros(ROLE_COUNT, dtype=np.uint64)
    floats = bits.view(np.float64)
    out = number_bits.view(np.float64)
    spans = np.empty((2, longest // 2 + 1, 2), dtype=np.int64)
    count_bits = bucket_counts.view(np.uint64)
    bound_bits = bounds.view(np.uint64)
    kept: Any = np.int64(0)
    used: Any = np.int64(0)
    bounded: Any = np.int64(0)
    at: Any = np.int64(0)
    offsets[0] = 0
    bound_offsets[0] = 0
    for h in range(len(messages)):
        at = messages[h, 0]
        end = messages[h, 1]
        ints[:] = 0
        bits[:] = 0
        ids[h] = -1
        verdict: Any = np.int64(FITS)
        side: Any = np.int64(POSITIVE)
        first: Any = np.int64(0)
        second: Any = np.int64(0)
        bounds_end, status = read_message(
            data, at, end, roles, by_value, ints, bits, spans, bound_bits, bounded
        )
        if status != OK:
            return status, at, kept, used, bounded
        times_ms[h] = ints[TIME]
        starts_ms[h] = ints[START]
        if by_value:
            ints[0] = np.int64(floats[COUNT_FLOAT] > 0 or floats[ZERO_COUNT_FLOAT] > 0)
        is_float = ints[0] == 1
        negatives, negative_sum, negative_bad, negative_value, status = read_counts(
            data, at, end, roles, NEGATIVE_COUNTS if is_float else NEGATIVE_DELTAS, is_float,
            bucket_counts, count_bits, used,
        )  # fmt: skip
        if status != OK:
            return status, at, kept, used, bounded
        middle = used + negatives
        positives, positive_sum, positive_bad, positive_value, status = read_counts(
            data, at, end, roles, POSITIVE_COUNTS if is_float else POSITIVE_DELTAS, is_float,
            bucket_counts, count_bits, middle,
        )  # fmt: skip
        if status != OK:
            return status, at, kept, used, bounded
        if bits[SUM] == np.uint64(STALE_NAN_BITS):
            verdicts[h] = STALE
            continue

        schema = ints[SCHEMA]
        shift = max(np.int64(0), schema - MAX_SCHEMA)
        is_custom = schema == _CUSTOM_SCHEMA
        positive_spans = ints[POSITIVE_SPANS]
        negative_spans = ints[NEGATIVE_SPANS]
        zero_count = floats[ZERO_COUNT_FLOAT]
        if not is_float:
            zero_count = np.float64(np.uint64(ints[ZERO_COUNT_INT]))
        if is_custom:
            side = np.int64(CUSTOM)
            verdict, first, second = _judge_bounds(bounds, bound_bits, bounded, bounds_end)
            if verdict == FITS:
                verdict, first, second, covered = _judge_spans(
                    spans[POSITIVE], positive_spans, positives, True
                )
                if verdict == FITS and bounds_end - bounded + 1 < covered:
                    verdict = np.int64(BOUNDS_FEW)
                    first = bounds_end - bounded
                    second = covered
            if verdict == FITS:
                if zero_count != 0:
                    verdict = np.int64(CUSTOM_ZERO_COUNT)
                elif floats[ZERO_THRESHOLD] != 0:
                    verdict = np.int64(CUSTOM_ZERO_THRESHOLD)
                elif negative_spans > 0:
                    verdict = np.int64(CUSTOM_NEGATIVE_SPANS)
                elif negatives > 0:
                    verdict = np.int64(CUSTOM_NEGATIVE_BUCKETS)
        elif _EXPONENTIAL_MIN <= schema <= _REDUCIBLE_MAX:
            verdict, first, second, covered = _judge_spans(
                spans[POSITIVE], positive_spans, positives, False
            )
            if verdict == FITS:
                side = np.int64(NEGATIVE)
                verdict, first, second, covered = _judge_spans(
                    spans[NEGATIVE], negative_spans, negatives, False
                )
            if verdict == FITS and negative_bad > 0:
                verdict = np.int64(FLOAT_BUCKET_COUNT if is_float else BUCKET_COUNT)
                first = negative_bad
                second = negative_value
            elif verdict == FITS and is_float and zero_count < 0:
                verdict = np.int64(ZERO_COUNT)
                first = np.int64(bits[ZERO_COUNT_FLOAT])
            elif verdict == FITS and bounds_end > bounded:
                verdict = np.int64(BOUNDS_UNWANTED)
        else:
            verdict = np.int64(BAD_SCHEMA)
            first = schema
        if verdict == FITS:
            side = np.int64(POSITIVE)
            if is_float and floats[COUNT_FLOAT] < 0:
                verdict = np.int64(OBSERVATION_COUNT)
                first = np.int64(bits[COUNT_FLOAT])
            elif positive_bad > 0:
                verdict = np.int64(FLOAT_BUCKET_COUNT if is_float else BUCKET_COUNT)
                first = positive_bad
                second = positive_value
            elif not is_float:
                first = negative_sum + positive_sum + ints[ZERO_COUNT_INT]
                second = ints[COUNT_INT]
                if np.isnan(floats[SUM]):
                    if np.uint64(first) > np.uint64(second):
                        verdict = np.int64(TOTAL_WITH_NAN)
                elif first != second:
                    verdict = np.int64(TOTAL)
        if verdict == FITS:
            side = np.int64(NEGATIVE)
            stop, first = _place(
                spans[NEGATIVE], negative_spans, shift, positions, bucket_counts, used
            )
            turn_round(positions, bucket_counts, used, stop)
            # Joined negative buckets leave a gap before the positive ones.
            for n in range(positives if stop < middle else 0):
                bucket_counts[stop + n] = bucket_counts[middle + n]
            if first == 0:
                side = np.int64(POSITIVE)
                stop, first = _place(
                    spans[POSITIVE], positive_spans, shift, positions, bucket_counts, stop
                )
            if first != 0:
                verdict = np.int64(INDEX_RANGE)
        verdicts[h] = verdict
        if verdict != FITS:
            details[h, 0] = side
            details[h, 1] = first
            details[h, 2] = second
            continue
        ids[h] = kept
        schemas[kept] = schema if schema < MAX_SCHEMA else np.int64(MAX_SCHEMA)
        hints[kept] = ints[HINT] if 0 <= ints[HINT] <= 3 else 0
        number_bits[1, kept] = bits[SUM]
        number_bits[2, kept] = bits[ZERO_THRESHOLD]
        out[0, kept] = floats[COUNT_FLOAT] if is_float else np.float64(np.uint64(ints[COUNT_INT]))
        out[3, kept] = zero_count
        kept += 1
        used = stop
        bounded = bounds_end
        offsets[kept] = used
        bound_offsets[kept] = bounded
    return OK, at, kept, used, bounded
