"""The scan of a remote-write 2.0 body: two passes from protobuf bytes to columns and keys.

Labels come as references into a table of symbols, so the canonical keys are put together here, in
an arena of their own. The rules for reading are those of ``wire/protobuf_helpers.py``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel, load_u64, pointer
from wire.protobuf_helpers import (
    OK,
    UNEXPECTED_END,
    WRONG_WIRE_TYPE,
    is_ascii,
    is_utf8,
    read_length,
    read_tag,
    read_varint,
    rising,
    skip_field,
)

NO_ROOM = 6
"""Not an error of the body: the output arrays are too short."""
TOO_LARGE = 7

CANONICAL = 0
"""The row's key stands in the arena."""
IRREGULAR = 1
"""The labels must be read again with care: bad references, unsorted, empty, not UTF-8, nameless."""

NAME, TYPE, HELP, UNIT = range(4)
"""The columns of ``described``: references to symbols, and the number of the type."""

_METRIC_NAME = int.from_bytes(b"__name__", "little")


@kernel("UniTuple(i8, 4)(u1[::1], i8[:, ::1], b1[::1])")
def scan_symbols(
    message: NDArray[np.uint8], symbols: NDArray[np.int64], usable: NDArray[np.bool_]
) -> tuple[int, int, int, int]:
    """Finds the symbols of the Request in *message*: (status, position, symbols, series).

    ``symbols[k] = (start, end)``; ``usable[k]`` where symbol k can stand in a label: it is UTF-8
    and not empty.
    """
    data = pointer(message)
    end: Any = np.int64(len(message))
    at: Any = np.int64(0)
    count: Any = np.int64(0)
    series: Any = np.int64(0)
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return status, at, count, series
        if number != 4:
            if number == 5:
                series += 1
            at, status = skip_field(data, at, end, wire_type)
            if status != OK:
                return status, at, count, series
            continue
        if wire_type != 2:
            return WRONG_WIRE_TYPE, at, count, series
        size, at, status = read_length(data, at, end)
        if status != OK:
            return status, at, count, series
        if count >= len(symbols):
            return NO_ROOM, at, count, series
        symbols[count, 0] = at
        symbols[count, 1] = at + size
        usable[count] = size > 0 and (is_ascii(data, at, at + size) or is_utf8(data, at, at + size))
        count += 1
        at += size
    return OK, at, count, series


@helper
def _sample(data: Any, at: Any, end: Any) -> Any:
    """(value bits, time, start time, status) of the Sample message [at, end)."""
    bits = np.uint64(0)
    time_ms = np.int64(0)
    start_ms = np.int64(0)
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return bits, time_ms, start_ms, status
        if number == 1:
            if wire_type != 1:
                return bits, time_ms, start_ms, WRONG_WIRE_TYPE
            if end - at < 8:
                return bits, time_ms, start_ms, UNEXPECTED_END
            bits = load_u64(data, at)
            at += 8
        elif number == 2 or number == 3:
            if wire_type != 0:
                return bits, time_ms, start_ms, WRONG_WIRE_TYPE
            number_ms, at, status = read_varint(data, at, end)
            if number == 2:
                time_ms = number_ms
            else:
                start_ms = number_ms
        else:
            at, status = skip_field(data, at, end, wire_type)
        if status != OK:
            return bits, time_ms, start_ms, status
    return bits, time_ms, start_ms, OK


@helper
def _varint_size(number: Any) -> Any:
    size = np.int64(1)
    while number >= 128:
        number >>= 7
        size += 1
    return size


@helper
def _put_text(keys: Any, at: Any, tag: Any, data: Any, start: Any, end: Any) -> Any:
    """Writes tag, length and the bytes [start, end) at *at*; returns the position behind them."""
    keys[at] = np.uint8(tag)
    at = _put_varint(keys, at + 1, end - start)
    for source in range(start, end):
        keys[at] = data[source]
        at += 1
    return at


@helper
def _put_varint(keys: Any, at: Any, number: Any) -> Any:
    while number >= 128:
        keys[at] = np.uint8(number & 127 | 128)
        number >>= 7
        at += 1
    keys[at] = np.uint8(number)
    return at + 1


@helper
def _key(
    data: Any,
    at: Any,
    end: Any,
    symbols: Any,
    usable: Any,
    count: Any,
    keys: Any,
    key: Any,
    room: Any,
) -> Any:
    """Writes the key of the references [at, end): (its end, its name's reference, size, status).

    The end is -1 where the labels are irregular. Beyond *room* nothing is written. The size counts
    what was compared and copied, also for an irregular key.
    """
    name_ref = np.int64(-1)
    begin = key
    before = np.int64(0)
    before_end = np.int64(0)
    regular = True
    while at < end:
        first, at, status = read_varint(data, at, end)
        if status != OK:
            return np.int64(-1), name_ref, key - begin, status
        if at >= end:
            regular = False
            break
        second, at, status = read_varint(data, at, end)
        if status != OK:
            return np.int64(-1), name_ref, key - begin, status
        first &= 0xFFFFFFFF
        second &= 0xFFFFFFFF
        if first >= count or second >= count or not (usable[first] and usable[second]):
            regular = False
            continue
        if not regular:
            continue
        name = symbols[first, 0]
        name_end = symbols[first, 1]
        value = symbols[second, 0]
        value_end = symbols[second, 1]
        if not rising(data, before, before_end, name, name_end):
            regular = False
            continue
        before = name
        before_end = name_end
        if name_end - name == 8 and load_u64(data, name) == np.uint64(_METRIC_NAME):
            name_ref = second
        names = name_end - name
        values = value_end - value
        size = 2 + _varint_size(names) + names + _varint_size(values) + values
        after = key + 1 + _varint_size(size) + size
        if after <= room:
            keys[key] = np.uint8(0x0A)
            key = _put_varint(keys, key + 1, size)
            key = _put_text(keys, key, 0x0A, data, name, name_end)
            key = _put_text(keys, key, 0x12, data, value, value_end)
        key = after
    if not regular or name_ref < 0:
        return np.int64(-1), name_ref, key - begin, OK
    return key, name_ref, key - begin, OK


@helper
def _metadata(data: Any, at: Any, end: Any) -> Any:
    """(type, help reference, unit reference, status) of the Metadata message [at, end)."""
    kind = np.int64(0)
    help_ref = np.int64(0)
    unit_ref = np.int64(0)
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return kind, help_ref, unit_ref, status
        if number == 1 or number == 3 or number == 4:
            if wire_type != 0:
                return kind, help_ref, unit_ref, WRONG_WIRE_TYPE
            value, at, status = read_varint(data, at, end)
            value &= 0xFFFFFFFF
            if number == 1:
                kind = value
            elif number == 3:
                help_ref = value
            else:
                unit_ref = value
        else:
            at, status = skip_field(data, at, end, wire_type)
        if status != OK:
            return kind, help_ref, unit_ref, status
    return kind, help_ref, unit_ref, OK


@kernel(
    "UniTuple(i8, 7)(u1[::1], i8[:, ::1], b1[::1], i8, i8[:, ::1], u1[::1], i8[:, ::1], i8[::1],"
    " u8[::1], i8[::1], i8[:, ::1], i8[::1], u1[::1], i8)"
)
def scan(
    message: NDArray[np.uint8],
    symbols: NDArray[np.int64],
    usable: NDArray[np.bool_],
    symbol_count: int,
    spans: NDArray[np.int64],
    shapes: NDArray[np.uint8],
    others: NDArray[np.int64],
    offsets: NDArray[np.int64],
    value_bits: NDArray[np.uint64],
    times_ms: NDArray[np.int64],
    described: NDArray[np.int64],
    told_of: NDArray[np.int64],
    keys: NDArray[np.uint8],
    max_key_bytes: int,
) -> tuple[int, int, int, int, int, int, int]:
    """Reads the series of the Request in *message*.

    Returns (status, position, series, samples, rows described, start times, key bytes). Fills, a
    row a TimeSeries: ``spans[r] = (message start, message end, key start, key end)``,
    ``shapes[r]``, ``others[r] = (histograms, exemplars)``, ``offsets[r : r + 2]``; a row a sample:
    ``value_bits``, ``times_ms``; a row a change of what canonical series tell of a name:
    ``described`` (*told_of*, as long as the symbols, is scratch). Where key bytes exceed *keys* or
    samples exceed *times_ms*, status is NO_ROOM; the other rows must fit. Labels of more than
    *max_key_bytes* in all are TOO_LARGE.
    """
    data = pointer(message)
    arena = pointer(keys)
    length: Any = np.int64(len(message))
    room: Any = np.int64(len(keys))
    at: Any = np.int64(0)
    series: Any = np.int64(0)
    samples: Any = np.int64(0)
    told: Any = np.int64(0)
    starts: Any = np.int64(0)
    work: Any = np.int64(0)
    key: Any = np.int64(0)
    offsets[0] = 0
    told_of[:] = -1
    while at < length:
        number, wire_type, at, status = read_tag(data, at, length)
        if status == OK and number != 5:
            at, status = skip_field(data, at, length, wire_type)
            if status == OK:
                continue
        if status == OK and wire_type != 2:
            status = WRONG_WIRE_TYPE
        if status != OK:
            return status, at, series, samples, told, starts, key
        size, at, status = read_length(data, at, length)
        if status != OK:
            return status, at, series, samples, told, starts, key
        end = at + size
        spans[series, 0] = at
        spans[series, 1] = end
        spans[series, 2] = key
        key_end = np.int64(-1)
        name_ref = np.int64(-1)
        labels_seen = False
        histograms = np.int64(0)
        exemplars = np.int64(0)
        tells = False
        kind = np.int64(0)
        help_ref = np.int64(0)
        unit_ref = np.int64(0)
        while at < end:
            number, wire_type, at, status = read_tag(data, at, end)
            if status != OK:
                return status, at, series, samples, told, starts, key
            if number > 5 or (number == 1 and wire_type == 0):
                # Unpacked references are allowed; whoever sends them is read with care.
                labels_seen = labels_seen or number == 1
                key_end = np.int64(-1) if number == 1 else key_end
                at, status = skip_field(data, at, end, wire_type)
                if status != OK:
                    return status, at, series, samples, told, starts, key
                continue
            if wire_type != 2:
                return WRONG_WIRE_TYPE, at, series, samples, told, starts, key
            size, at, status = read_length(data, at, end)
            if status != OK:
                return status, at, series, samples, told, starts, key
            stop = at + size
            if number == 2:
                if samples >= len(times_ms):
                    return NO_ROOM, at, series, samples, told, starts, key
                bits, time_ms, start_ms, status = _sample(data, at, stop)
                value_bits[samples] = bits
                times_ms[samples] = time_ms
                starts += start_ms != 0
                samples += 1
            elif number == 1:
                if labels_seen:
                    key_end = np.int64(-1)
                else:
                    key_end, name_ref, size, status = _key(
                        data, at, stop, symbols, usable, symbol_count, arena, key, room
                    )
                    work += size
                    if work > max_key_bytes:
                        return TOO_LARGE, at, series, samples, told, starts, key
                labels_seen = True
            elif number == 3:
                histograms += 1
            elif number == 4:
                exemplars += 1
            else:
                tells = True
                kind, help_ref, unit_ref, status = _metadata(data, at, stop)
            if status != OK:
                return status, at, series, samples, told, starts, key
            at = stop
        if key_end >= 0:
            shapes[series] = CANONICAL
            spans[series, 3] = key_end
            key = key_end
            if tells and (kind != 0 or help_ref != 0 or unit_ref != 0):
                last = told_of[name_ref]
                if (
                    last < 0
                    or described[last, TYPE] != kind
                    or described[last, HELP] != help_ref
                    or described[last, UNIT] != unit_ref
                ):
                    described[told, NAME] = name_ref
                    described[told, TYPE] = kind
                    described[told, HELP] = help_ref
                    described[told, UNIT] = unit_ref
                    told_of[name_ref] = told
                    told += 1
        else:
            shapes[series] = IRREGULAR
            spans[series, 3] = spans[series, 2]
        others[series, 0] = histograms
        others[series, 1] = exemplars
        series += 1
        offsets[series] = samples
    if key > room:
        return NO_ROOM, at, series, samples, told, starts, key
    return OK, at, series, samples, told, starts, key
