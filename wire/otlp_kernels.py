"""Kernel of the OTLP door that reads data points.

Message and field numbers: opentelemetry/proto/metrics/v1/metrics.proto. As in
``wire.protobuf_helpers`` no read goes beyond the *end* that it was compared with.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.batch import STALE_NAN_BITS
from series.jit import helper, kernel, load_u64, pointer
from wire.otlp_helpers import FIXED64, read_field
from wire.protobuf_helpers import OK, UNEXPECTED_END, WRONG_WIRE_TYPE, read_tag, skip_field

NUMBER, HISTOGRAM, SUMMARY, NATIVE = 0, 1, 2, 3
"""Kinds of data points; NATIVE are exponential ones."""
CONVERTED = 8
"""A kind only on the way in: a histogram that becomes a NATIVE one."""

GOOD = 0
IRREGULAR = 1
"""The point must be written in the usual order first: attributes apart, arrays not packed."""
NO_VALUE = 2
BAD_BUCKETS = 3
INVALID_NATIVE = 4

NO_ROOM = 100
"""A status: there are more values than so many bytes usually hold."""

HAS_SUM = 4
"""Added to the kind in a point's shape."""
TIME_MS, ATTRIBUTES, ATTRIBUTES_END, VALUES_END, BOUNDS_END, SHAPE, START_MS = range(7)
"""Rows of what ``read_points`` tells of points."""

_BYTES = "Array(u1, 1, 'C', True)"
_STALE_NAN = np.uint64(STALE_NAN_BITS)
_NO_RECORDED_VALUE = 1
_NS = np.uint64(1_000_000)


@helper
def _quantile(data: Any, at: Any, end: Any) -> Any:
    """(quantile bits, value bits, status) of a ValueAtQuantile message."""
    quantile = np.uint64(0)
    value = np.uint64(0)
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return quantile, value, status
        if number <= 2:
            if wire_type != 1:
                return quantile, value, WRONG_WIRE_TYPE
            if end - at < 8:
                return quantile, value, UNEXPECTED_END
            word = load_u64(data, at)
            at += 8
            if number == 1:
                quantile = word
            else:
                value = word
        else:
            at, status = skip_field(data, at, end, wire_type)
            if status != OK:
                return quantile, value, status
    return quantile, value, OK


@kernel(
    f"UniTuple(i8, 3)({_BYTES}, i8[::1], i8[::1], u1[::1],"
    " i8[:, ::1], u1[::1], f8[::1], u8[::1], f8[::1], u8[::1], i8[:, ::1])"
)
def read_points(
    message: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    points: NDArray[np.int64],
    verdicts: NDArray[np.uint8],
    values: NDArray[np.float64],
    value_bits: NDArray[np.uint64],
    bounds: NDArray[np.float64],
    bound_bits: NDArray[np.uint64],
    exemplar_spans: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Reads the data points [starts[p], ends[p]); (status, position, exemplars seen).

    ``points[:, p]`` gets what is named above, ``verdicts[p]`` GOOD or why the point is not. A good
    point appends to *values*: a number its value; a histogram the cumulative counts of its bounded
    buckets, of the last one, the sum if it has one, and the count; a summary the values of its
    quantiles, the sum and the count; a native histogram 0; stale markers in their place where no
    value was recorded. A histogram's bounds and a summary's quantiles go to *bounds*. ``..._bits``
    are the same memory. ``exemplar_spans[e] = (point, start, end)``, as far as there is room.
    """
    data = pointer(message)
    value_at: Any = np.int64(0)
    bound_at: Any = np.int64(0)
    exemplars: Any = np.int64(0)
    for point in range(len(starts)):
        at = starts[point]
        end = ends[point]
        if value_at + (end - at) // 8 + 3 > len(values) or bound_at + (end - at) // 8 > len(bounds):
            return NO_ROOM, at, exemplars
        kind = kinds[point]
        converted = kind == CONVERTED
        if converted:
            kind = np.uint8(HISTOGRAM)
        attributes_field, flags_field, exemplars_field = 7, 8, 5
        if kind == HISTOGRAM:
            attributes_field, flags_field, exemplars_field = 9, 10, 8
        elif kind == SUMMARY:
            exemplars_field = -1
        elif kind == NATIVE:
            attributes_field, flags_field, exemplars_field = 1, 10, 11
        verdict = GOOD
        attributes = at
        attributes_end = at
        time_ns = np.uint64(0)
        start_ns = np.uint64(0)
        flags = np.int64(0)
        first = np.uint64(0)
        has_first = False
        total = np.uint64(0)
        has_sum = False
        counts: Any = np.int64(0)
        counts_end: Any = np.int64(0)
        limits: Any = np.int64(0)
        limits_end: Any = np.int64(0)
        new_values = value_at
        new_bounds = bound_at
        while at < end:
            tag_at = at
            number, wire_type, start, at, status = read_field(data, at, end)
            if status != OK:
                return status, tag_at, exemplars
            word = np.uint64(0)
            if wire_type == FIXED64:
                word = load_u64(data, start)
            wanted = wire_type
            if number == attributes_field:
                wanted = 2
                if attributes_end == attributes:
                    attributes = tag_at
                elif attributes_end != tag_at:
                    verdict = IRREGULAR
                attributes_end = at
            elif number == exemplars_field:
                wanted = 2
                if exemplars < len(exemplar_spans):
                    exemplar_spans[exemplars, 0] = point
                    exemplar_spans[exemplars, 1] = start
                    exemplar_spans[exemplars, 2] = at
                exemplars += 1
            elif number == flags_field:
                wanted = 0
                flags = start
            elif number == 3:
                wanted = 1
                time_ns = word
            elif number == 2:
                wanted = 1
                start_ns = word
            elif kind == NATIVE:
                continue
            elif number == 4:
                wanted = 1
                has_first = True
                first = word
            elif number == 5:
                wanted = 1
                has_sum = True
                total = word
            elif number == 6:
                if kind == NUMBER:
                    wanted = 1
                    has_first = True
                    values[value_at] = np.float64(np.int64(word))
                    first = value_bits[value_at]
                elif kind == SUMMARY:
                    wanted = 2
                    if wire_type == 2:
                        quantile, value, status = _quantile(data, start, at)
                        if new_values + 3 > len(values) or new_bounds >= len(bounds):
                            status = NO_ROOM
                        if status != OK:
                            return status, start, exemplars
                        bound_bits[new_bounds] = quantile
                        value_bits[new_values] = value
                        new_bounds += 1
                        new_values += 1
                elif wire_type == 1 or counts_end != 0:
                    verdict = IRREGULAR
                else:
                    wanted = 2
                    counts = start
                    counts_end = at
            elif number == 7 and kind == HISTOGRAM:
                if wire_type == 1 or limits_end != 0:
                    verdict = IRREGULAR
                else:
                    wanted = 2
                    limits = start
                    limits_end = at
            if wire_type != wanted:
                return WRONG_WIRE_TYPE, tag_at, exemplars

        shape = np.int64(NATIVE if converted else kind)
        if verdict == IRREGULAR:
            pass
        elif shape == NATIVE:
            values[new_values] = 0.0
            new_values += 1
        elif kind == NUMBER:
            if not has_first and not flags & _NO_RECORDED_VALUE:
                verdict = NO_VALUE
            value_bits[new_values] = first
            new_values += 1
        elif kind == SUMMARY:
            value_bits[new_values] = total
            values[new_values + 1] = np.float64(first)
            new_values += 2
            shape += HAS_SUM
        else:
            if (counts_end - counts) % 8 != 0 or (limits_end - limits) % 8 != 0:
                return UNEXPECTED_END, counts, exemplars
            buckets = (counts_end - counts) // 8
            bounded = (limits_end - limits) // 8
            if buckets == 0:
                bounded = 0
            elif buckets != bounded + 1:
                verdict = BAD_BUCKETS
                bounded = 0
            cumulative = np.uint64(0)
            for k in range(bounded):
                bound_bits[new_bounds] = load_u64(data, limits + 8 * k)
                bound = bounds[new_bounds]
                if bound == np.inf and k == bounded - 1:
                    break  # the last bucket, which every histogram has
                if bound != bound or (k > 0 and not bounds[new_bounds - 1] < bound):
                    verdict = BAD_BUCKETS
                cumulative += load_u64(data, counts + 8 * k)
                values[new_values] = np.float64(cumulative)
                new_bounds += 1
                new_values += 1
            values[new_values] = np.float64(first)
            new_values += 1
            if has_sum:
                value_bits[new_values] = total
                new_values += 1
                shape += HAS_SUM
            values[new_values] = np.float64(first)
            new_values += 1

        if verdict == GOOD:
            if flags & _NO_RECORDED_VALUE:
                for k in range(value_at, new_values):
                    value_bits[k] = _STALE_NAN
            value_at = new_values
            bound_at = new_bounds
        verdicts[point] = verdict
        points[TIME_MS, point] = np.int64(time_ns // _NS)
        points[ATTRIBUTES, point] = attributes
        points[ATTRIBUTES_END, point] = attributes_end
        points[VALUES_END, point] = value_at
        points[BOUNDS_END, point] = bound_at
        points[SHAPE, point] = shape
        points[START_MS, point] = np.int64(start_ns // _NS)
    return OK, 0, exemplars
