"""Kernels of the OTLP door for exemplars: their messages to columns, and the series they belong to.

Message and field numbers: opentelemetry/proto/metrics/v1/metrics.proto. As in
``wire.protobuf_helpers`` no read goes beyond the *end* that it was compared with.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel, load_u64, pointer
from wire.otlp_helpers import FIXED64, LENGTH, read_field
from wire.protobuf_helpers import OK, WRONG_WIRE_TYPE

CANONICAL = 0
"""The exemplar has a value, and no labels but its trace and span."""
CAREFUL = 1
"""Its labels must be read with care."""

KEY_BYTES = 80
"""What the key of a canonical exemplar has at most."""

_BYTES = "Array(u1, 1, 'C', True)"
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8).copy()
_SPAN_LABEL = np.frombuffer(b"\x0a\x1b\x0a\x07span_id\x12\x10", dtype=np.uint8).copy()
_TRACE_LABEL = np.frombuffer(b"\x0a\x2c\x0a\x08trace_id\x12\x20", dtype=np.uint8).copy()
"""The labels of a key (see ``series.labels``) up to the digits of an id of 8 and 16 bytes."""

_NS = np.uint64(1_000_000)
_HISTOGRAM, _KINDS = 1, 4


@helper
def _put_id(keys: Any, at: Any, label: Any, data: Any, start: Any, end: Any) -> Any:
    """Writes a label whose value is the id [start, end) in hexadecimal; nothing for zeros."""
    empty = True
    for source in range(start, end):
        empty = empty and data[source] == 0
    if empty:
        return at
    for k in range(len(label)):
        keys[at] = label[k]
        at += 1
    for source in range(start, end):
        keys[at] = _HEX[data[source] >> 4]
        keys[at + 1] = _HEX[data[source] & 15]
        at += 2
    return at


@kernel(
    f"UniTuple(i8, 2)({_BYTES}, i8[:, ::1], u8[::1], f8[::1], i8[::1], u1[::1], u1[::1], i8[::1])"
)
def read_exemplars(
    message: NDArray[np.uint8],
    spans: NDArray[np.int64],
    value_bits: NDArray[np.uint64],
    values: NDArray[np.float64],
    times_ms: NDArray[np.int64],
    shapes: NDArray[np.uint8],
    keys: NDArray[np.uint8],
    key_ends: NDArray[np.int64],
) -> tuple[int, int]:
    """Reads the Exemplar messages ``spans[e] = (point, start, end)``: (status, position).

    Fills a row each: *values* (of which *value_bits* is another view), *times_ms*, *shapes* and
    *key_ends*; the keys of canonical ones stand end to end in *keys*, which has room for KEY_BYTES
    each.
    """
    data = pointer(message)
    key: Any = np.int64(0)
    at: Any = np.int64(0)
    for e in range(len(spans)):
        at = spans[e, 1]
        end = spans[e, 2]
        shape = CAREFUL
        plain = True
        value_bits[e] = 0
        time_ns = np.uint64(0)
        span = at
        span_end = at
        trace = at
        trace_end = at
        while at < end:
            tag_at = at
            number, wire_type, value, at, status = read_field(data, at, end)
            if status != OK:
                return status, tag_at
            wanted = wire_type
            if number == 2 or number == 3 or number == 6:
                wanted = FIXED64
                if wire_type == FIXED64:
                    word = load_u64(data, value)
                    if number == 2:
                        time_ns = word
                    elif number == 3:
                        value_bits[e] = word
                        shape = CANONICAL
                    else:
                        values[e] = np.float64(np.int64(word))
                        shape = CANONICAL
            elif 4 <= number <= 7 and number != 6:
                wanted = LENGTH
                if number == 4:
                    span = value
                    span_end = at
                elif number == 5:
                    trace = value
                    trace_end = at
                else:
                    plain = False
            if wire_type != wanted:
                return WRONG_WIRE_TYPE, tag_at
        spans_fit = span_end - span == 0 or span_end - span == 8
        traces_fit = trace_end - trace == 0 or trace_end - trace == 16
        if not (plain and spans_fit and traces_fit):
            shape = CAREFUL
        if shape == CANONICAL:
            key = _put_id(keys, key, _SPAN_LABEL, data, span, span_end)
            key = _put_id(keys, key, _TRACE_LABEL, data, trace, trace_end)
        times_ms[e] = np.int64(time_ns // _NS)
        shapes[e] = shape
        key_ends[e] = key
    return OK, at


@kernel("void(i8[::1], f8[::1], i8[::1], i8[::1], f8[::1], i8[::1])")
def find_rows(
    points: NDArray[np.int64],
    values: NDArray[np.float64],
    shapes: NDArray[np.int64],
    bound_ends: NDArray[np.int64],
    bounds: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> None:
    """Moves ``rows[e]``, the first row of an exemplar's point, to the bucket that its value is in.

    Only of classic histograms, whose rows begin with the buckets; -1 stays. Shapes, bounds and
    their ends are those of ``otlp_kernels.read_points``.
    """
    for e in range(len(points)):
        point = points[e]
        if rows[e] < 0 or shapes[point] % _KINDS != _HISTOGRAM:
            continue
        low: Any = bound_ends[point - 1] if point > 0 else np.int64(0)
        first = low
        high: Any = bound_ends[point]
        while low < high:
            middle = (low + high) >> 1
            if bounds[middle] < values[e]:
                low = middle + 1
            else:
                high = middle
        rows[e] += low - first
