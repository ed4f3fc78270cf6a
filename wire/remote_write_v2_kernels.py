"""The scan of a remote-write 2.0 body: two passes from protobuf bytes to columns and keys.

Labels come as references into a table of symbols, so the canonical keys are put together here, in
an arena of their own. The rules for reading are those of ``wire/protobuf_helpers.py``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import kernel, load_u64, pointer
from wire.protobuf_helpers import (
    OK,
    UNEXPECTED_END,
    WRONG_WIRE_TYPE,
    is_ascii,
    is_utf8,
    read_length,
    read_tag,
    read_varint,
    skip_field,
)
from wire.remote_write_v2_helpers import put_key, read_metadata, read_sample

NO_ROOM = 6
"""Not an error of the body: the output arrays are too short."""
TOO_LARGE = 7

CANONICAL = 0
"""The row's key stands in the arena."""
IRREGULAR = 1
"""The labels must be read again with care: bad references, unsorted, empty, not UTF-8, nameless."""

NAME, TYPE, HELP, UNIT = range(4)
"""The columns of ``described``: references to symbols, and the number of the type."""


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


@kernel(
    "UniTuple(i8, 9)(u1[::1], i8[:, ::1], b1[::1], i8, i8[:, ::1], u1[::1], i8[::1], u8[::1],"
    " i8[::1], i8[::1], i8[:, ::1], i8[:, ::1], i8[:, ::1], i8[::1], u1[::1], i8)"
)
def scan(
    message: NDArray[np.uint8],
    symbols: NDArray[np.int64],
    usable: NDArray[np.bool_],
    symbol_count: int,
    spans: NDArray[np.int64],
    shapes: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    value_bits: NDArray[np.uint64],
    times_ms: NDArray[np.int64],
    starts_ms: NDArray[np.int64],
    histogram_spans: NDArray[np.int64],
    exemplar_spans: NDArray[np.int64],
    described: NDArray[np.int64],
    told_of: NDArray[np.int64],
    keys: NDArray[np.uint8],
    max_key_bytes: int,
) -> tuple[int, int, int, int, int, int, int, int, int]:
    """Reads the series of the Request in *message*.

    Returns (status, position, series, samples, start times, histograms, exemplars, rows described,
    key bytes). Fills, a row a TimeSeries: ``spans[r] = (message start, message end, key start, key
    end)``, ``shapes[r]``, ``offsets[r : r + 2]``; a row a float sample: ``value_bits``,
    ``times_ms`` and, where start times are not 0, ``starts_ms``; ``histogram_spans[h] = (row,
    start, end)``, ``exemplar_spans`` alike (what is beyond their lengths is only counted); a row a
    change of what canonical series tell of a name: ``described`` (*told_of*, as long as the
    symbols, is scratch). Where key bytes exceed *keys* or samples exceed *times_ms*, status is
    NO_ROOM; the other rows must fit. Labels of more than *max_key_bytes* in all are TOO_LARGE.
    """
    data = pointer(message)
    arena = pointer(keys)
    length: Any = np.int64(len(message))
    room: Any = np.int64(len(keys))
    at: Any = np.int64(0)
    series: Any = np.int64(0)
    samples: Any = np.int64(0)
    starts: Any = np.int64(0)
    histograms: Any = np.int64(0)
    exemplars: Any = np.int64(0)
    told: Any = np.int64(0)
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
            return status, at, series, samples, starts, histograms, exemplars, told, key
        size, at, status = read_length(data, at, length)
        if status != OK:
            return status, at, series, samples, starts, histograms, exemplars, told, key
        end = at + size
        spans[series, 0] = at
        spans[series, 1] = end
        spans[series, 2] = key
        key_end = np.int64(-1)
        name_ref = np.int64(-1)
        labels_seen = False
        tells = False
        kind = np.int64(0)
        help_ref = np.int64(0)
        unit_ref = np.int64(0)
        while at < end:
            number, wire_type, at, status = read_tag(data, at, end)
            if status != OK:
                return status, at, series, samples, starts, histograms, exemplars, told, key
            if number > 5 or (number == 1 and wire_type == 0):
                # Unpacked references are allowed; whoever sends them is read with care.
                labels_seen = labels_seen or number == 1
                key_end = np.int64(-1) if number == 1 else key_end
                at, status = skip_field(data, at, end, wire_type)
                if status != OK:
                    return status, at, series, samples, starts, histograms, exemplars, told, key
                continue
            if wire_type != 2:
                return (
                    WRONG_WIRE_TYPE,
                    at,
                    series,
                    samples,
                    starts,
                    histograms,
                    exemplars,
                    told,
                    key,
                )
            size, at, status = read_length(data, at, end)
            if status != OK:
                return status, at, series, samples, starts, histograms, exemplars, told, key
            stop = at + size
            if number == 2:
                if samples >= len(times_ms):
                    return NO_ROOM, at, series, samples, starts, histograms, exemplars, told, key
                bits, time_ms, start_ms, status = read_sample(data, at, stop)
                value_bits[samples] = bits
                times_ms[samples] = time_ms
                if start_ms != 0 or starts != 0:
                    for before in range(samples if starts == 0 else 0):
                        starts_ms[before] = 0
                    starts_ms[samples] = start_ms
                    starts += start_ms != 0
                samples += 1
            elif number == 1:
                if labels_seen:
                    key_end = np.int64(-1)
                else:
                    key_end, name_ref, size, status = put_key(
                        data, at, stop, symbols, usable, symbol_count, arena, key, room
                    )
                    work += size
                    if work > max_key_bytes:
                        return (
                            TOO_LARGE,
                            at,
                            series,
                            samples,
                            starts,
                            histograms,
                            exemplars,
                            told,
                            key,
                        )
                labels_seen = True
            elif number == 3:
                if histograms < len(histogram_spans):
                    histogram_spans[histograms, 0] = series
                    histogram_spans[histograms, 1] = at
                    histogram_spans[histograms, 2] = stop
                histograms += 1
            elif number == 4:
                if exemplars < len(exemplar_spans):
                    exemplar_spans[exemplars, 0] = series
                    exemplar_spans[exemplars, 1] = at
                    exemplar_spans[exemplars, 2] = stop
                exemplars += 1
            else:
                tells = True
                kind, help_ref, unit_ref, status = read_metadata(data, at, stop)
            if status != OK:
                return status, at, series, samples, starts, histograms, exemplars, told, key
            at = stop
        if key_end >= 0 and name_ref >= 0:
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
        series += 1
        offsets[series] = samples
    if key > room:
        return NO_ROOM, at, series, samples, starts, histograms, exemplars, told, key
    return OK, at, series, samples, starts, histograms, exemplars, told, key


@kernel(
    "UniTuple(i8, 3)(u1[::1], i8[:, ::1], b1[::1], i8, i8[:, ::1], u8[::1], i8[::1], u1[::1],"
    " u1[::1], i8[::1], i8)"
)
def scan_exemplars(
    message: NDArray[np.uint8],
    symbols: NDArray[np.int64],
    usable: NDArray[np.bool_],
    symbol_count: int,
    spans: NDArray[np.int64],
    value_bits: NDArray[np.uint64],
    times_ms: NDArray[np.int64],
    shapes: NDArray[np.uint8],
    keys: NDArray[np.uint8],
    key_ends: NDArray[np.int64],
    max_key_bytes: int,
) -> tuple[int, int, int]:
    """Reads the Exemplar messages of *spans*, as ``scan`` leaves them: (status, position, key
    bytes).

    Fills a row each: ``value_bits``, ``times_ms``, ``shapes[e]``, ``key_ends[e]``; the keys of
    canonical ones stand in *keys* end to end, those of the others are empty. Where key bytes exceed
    *keys*, status is NO_ROOM. Labels of more than *max_key_bytes* in all are TOO_LARGE.
    """
    data = pointer(message)
    arena = pointer(keys)
    room: Any = np.int64(len(keys))
    key: Any = np.int64(0)
    work: Any = np.int64(0)
    at: Any = np.int64(0)
    for e in range(len(spans)):
        at = spans[e, 1]
        end = spans[e, 2]
        value_bits[e] = 0
        times_ms[e] = 0
        key_end = key
        labels_seen = False
        while at < end:
            number, wire_type, at, status = read_tag(data, at, end)
            unpacked = number == 1 and wire_type == 0
            if status == OK and number <= 3 and wire_type != (2, 1, 0)[number - 1] and not unpacked:
                status = WRONG_WIRE_TYPE
            if status != OK:
                return status, at, key
            if number == 1 and not unpacked:
                size, at, status = read_length(data, at, end)
                if status == OK:
                    key_end, _, copied, status = put_key(
                        data, at, at + size, symbols, usable, symbol_count, arena, key, room
                    )
                    at += size
                    work += copied
                    if work > max_key_bytes:
                        return TOO_LARGE, at, key
                key_end = np.int64(-1) if labels_seen else key_end
                labels_seen = True
            elif number == 2:
                status = OK if end - at >= 8 else UNEXPECTED_END
                if status == OK:
                    value_bits[e] = load_u64(data, at)
                    at += 8
            elif number == 3:
                times_ms[e], at, status = read_varint(data, at, end)
            else:
                key_end = np.int64(-1) if unpacked else key_end
                labels_seen = labels_seen or unpacked
                at, status = skip_field(data, at, end, wire_type)
            if status != OK:
                return status, at, key
        shapes[e] = CANONICAL if key_end >= 0 else IRREGULAR
        if key_end >= 0:
            key = key_end
        key_ends[e] = key
    return (NO_ROOM if key > room else OK), at, key
