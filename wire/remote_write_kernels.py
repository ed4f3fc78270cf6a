"""The scan of a remote-write 1.0 body: one pass from protobuf bytes to columns.

Kernels run without bounds checks, so every read is guarded here: a *position* is only ever
advanced to at most its *end*, every message's end lies within its parent's, the outermost end is
the length of the array, and each load of n bytes at a position is preceded by a comparison with
that end. Numbers are int64 throughout; a varint of 64 bits may come out negative, which no length
accepts.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.fingerprint_helpers import fingerprint, slot_of
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
from wire.remote_write_helpers import (
    PLAIN_SAMPLE_BYTES,
    begins_with,
    is_plain_sample,
    one_sample,
    plain_time,
)

NO_ROOM = 6
"""Not an error of the body: the output arrays are too short."""

CANONICAL = 0
"""The label bytes of the row are a canonical key."""
IRREGULAR = 1
"""The labels must be read again with care: unsorted, split, empty, not UTF-8 or nameless."""

_METRIC_NAME = int.from_bytes(b"__name__", "little")


@helper
def _text(data: Any, at: Any, end: Any, tag: Any) -> Any:
    """(start, end) of a non-empty text behind the one-byte *tag*, lengths minimal; else (-1, -1).

    What it refuses may still be valid protobuf.
    """
    if at >= end or data[at] != tag:
        return np.int64(-1), np.int64(-1)
    first = at + 1
    size, start, status = read_length(data, first, end)
    minimal = start == first + 1 or (start > first and data[start - 1] != 0)
    if status != OK or size == 0 or not minimal:
        return np.int64(-1), np.int64(-1)
    return start, start + size


@helper
def _canonical_label(data: Any, at: Any, end: Any, name: Any, name_end: Any) -> Any:
    """(start, end) of the name of the Label message [at, end), or (-1, -1).

    It must be exactly a name and a value, both non-empty and UTF-8, the name after the previous
    one [name, name_end).
    """
    start, stop = _text(data, at, end, 0x0A)
    if start < 0:
        return start, stop
    value, value_end = _text(data, stop, end, 0x12)
    if value < 0 or value_end != end or not rising(data, name, name_end, start, stop):
        return np.int64(-1), np.int64(-1)
    if not is_ascii(data, start, end) and not (
        is_utf8(data, start, stop) and is_utf8(data, value, value_end)
    ):
        return np.int64(-1), np.int64(-1)
    return start, stop


@kernel(
    "UniTuple(i8, 9)(u1[::1], i8, u1[::1], i8[::1], u8[::1], u8[:, ::1], i8[:, ::1], u1[::1],"
    " i4[::1], i8[::1], u8[::1], i8[::1], i8[:, ::1], i8[:, ::1], i8[:, ::1])"
)
def scan(
    message: NDArray[np.uint8],
    known: int,
    known_keys: NDArray[np.uint8],
    known_starts: NDArray[np.int64],
    seed: NDArray[np.uint64],
    slots: NDArray[np.uint64],
    spans: NDArray[np.int64],
    shapes: NDArray[np.uint8],
    ids: NDArray[np.int32],
    offsets: NDArray[np.int64],
    value_bits: NDArray[np.uint64],
    times_ms: NDArray[np.int64],
    histogram_spans: NDArray[np.int64],
    exemplar_spans: NDArray[np.int64],
    metadata: NDArray[np.int64],
) -> tuple[int, int, int, int, int, int, int, int, int]:
    """Reads the WriteRequest in *message*: (status, position, series, samples, histograms,
    exemplars, metadata messages, series that are IRREGULAR or without a sample, unknown series).

    Of the first *known* series of a ``series.known.Known`` the canonical keys are at hand: what
    begins with such bytes is not judged again. The one to look at first is that behind the row
    before, since senders keep their order.

    Fills, a row a TimeSeries: ``spans[:, r] = (message start, message end, key start, key end)``,
    ``shapes[r]`` CANONICAL or IRREGULAR, ``ids[r]`` the number of a known series or -1,
    ``offsets[r : r + 2]``; and ``value_bits``, ``times_ms``
    (a float sample each), ``histogram_spans[h] = (row, start, end)``, ``exemplar_spans`` alike
    (what is beyond their lengths is only counted) and ``metadata[m] = (start, end)``. *offsets* is
    one longer than the others of its kind. Where status is not OK, *position* is the byte at which
    the reading stopped and the rest means nothing.
    """
    data = pointer(message)
    keys = pointer(known_keys)
    expected: Any = np.int64(0)
    series: Any = np.int64(0)
    samples: Any = np.int64(0)
    histograms: Any = np.int64(0)
    exemplars: Any = np.int64(0)
    described: Any = np.int64(0)
    odd: Any = np.int64(0)
    new: Any = np.int64(0)
    at: Any = np.int64(0)
    length: Any = np.int64(len(message))
    offsets[0] = 0
    while at < length:
        number, wire_type, at, status = read_tag(data, at, length)
        if status != OK:
            return status, at, series, samples, histograms, exemplars, described, odd, new
        if number != 1 and number != 3:
            at, status = skip_field(data, at, length, wire_type)
            if status != OK:
                return status, at, series, samples, histograms, exemplars, described, odd, new
            continue
        if wire_type != 2:
            return WRONG_WIRE_TYPE, at, series, samples, histograms, exemplars, described, odd, new
        size, at, status = read_length(data, at, length)
        if status != OK:
            return status, at, series, samples, histograms, exemplars, described, odd, new
        end = at + size
        if number == 3:
            if described >= len(metadata):
                return NO_ROOM, at, series, samples, histograms, exemplars, described, odd, new
            metadata[described, 0] = at
            metadata[described, 1] = end
            described += 1
            at = end
            continue

        if series >= len(shapes):
            return NO_ROOM, at, series, samples, histograms, exemplars, described, odd, new
        start = at
        key = at
        key_end = at
        name = at
        name_end = at
        named = False
        canonical = True
        number_known: Any = np.int64(-1)
        if expected < known:
            size = known_starts[expected + 1] - known_starts[expected]
            if begins_with(data, at, end, keys, known_starts[expected], size) and (
                at + size == end or data[at + size] != 0x0A
            ):
                number_known = expected
                named = True
                at += size
                key_end = at
        while at < end:
            if samples < len(times_ms) and is_plain_sample(data, at, end):
                value_bits[samples] = load_u64(data, at + 3)
                times_ms[samples] = plain_time(data, at)
                samples += 1
                at += PLAIN_SAMPLE_BYTES
                continue
            field_at = at
            number, wire_type, at, status = read_tag(data, at, end)
            if status != OK:
                return status, at, series, samples, histograms, exemplars, described, odd, new
            if number > 4:
                at, status = skip_field(data, at, end, wire_type)
                if status != OK:
                    return status, at, series, samples, histograms, exemplars, described, odd, new
                continue
            if wire_type != 2:
                return (
                    WRONG_WIRE_TYPE,
                    at,
                    series,
                    samples,
                    histograms,
                    exemplars,
                    described,
                    odd,
                    new,
                )
            length_at = at
            size, at, status = read_length(data, at, end)
            if status != OK:
                return status, at, series, samples, histograms, exemplars, described, odd, new
            stop = at + size
            if number == 2:
                if samples >= len(times_ms):
                    return NO_ROOM, at, series, samples, histograms, exemplars, described, odd, new
                bits, time_ms, status = one_sample(data, at, stop)
                if status != OK:
                    return status, at, series, samples, histograms, exemplars, described, odd, new
                value_bits[samples] = bits
                times_ms[samples] = time_ms
                samples += 1
            elif number == 4:
                if histograms < len(histogram_spans):
                    histogram_spans[histograms, 0] = series
                    histogram_spans[histograms, 1] = at
                    histogram_spans[histograms, 2] = stop
                histograms += 1
            elif number == 3:
                if exemplars < len(exemplar_spans):
                    exemplar_spans[exemplars, 0] = series
                    exemplar_spans[exemplars, 1] = at
                    exemplar_spans[exemplars, 2] = stop
                exemplars += 1
            elif number == 1 and canonical:
                if key_end == key:
                    key = field_at
                    key_end = field_at
                # Minimal tag and length, right behind the label before it.
                plain = length_at == field_at + 1 and (at == length_at + 1 or data[at - 1] != 0)
                start_name, stop_name = _canonical_label(data, at, stop, name, name_end)
                if plain and field_at == key_end and start_name >= 0:
                    name = start_name
                    name_end = stop_name
                    key_end = stop
                    if name_end - name == 8 and load_u64(data, name) == np.uint64(_METRIC_NAME):
                        named = True
                else:
                    canonical = False
            at = stop
        spans[0, series] = start
        spans[1, series] = end
        spans[2, series] = key
        spans[3, series] = key_end
        shapes[series] = CANONICAL if canonical and named else IRREGULAR
        if shapes[series] == IRREGULAR:
            number_known = -1
        elif known > 0 and number_known < 0:
            first, second = fingerprint(data, key, key_end, seed)
            number_known = np.int64(slots[slot_of(first, second, slots), 2]) - 1
            if number_known >= known:
                number_known = -1
        if number_known >= 0:
            expected = number_known + 1
        else:
            new += 1
        ids[series] = number_known
        odd += shapes[series] == IRREGULAR or samples == offsets[series]
        series += 1
        offsets[series] = samples
    return OK, at, series, samples, histograms, exemplars, described, odd, new


@kernel("UniTuple(i8, 3)(u1[::1], i8[:, ::1], u8[::1], i8[::1], u1[::1], u1[::1], i8[::1])")
def scan_exemplars(
    message: NDArray[np.uint8],
    spans: NDArray[np.int64],
    value_bits: NDArray[np.uint64],
    times_ms: NDArray[np.int64],
    shapes: NDArray[np.uint8],
    keys: NDArray[np.uint8],
    key_ends: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Reads the Exemplar messages of *spans*, as ``scan`` leaves them: (status, position, key
    bytes).

    Fills a row each: ``value_bits``, ``times_ms``, ``shapes[e]``, ``key_ends[e]``; the keys of
    canonical ones stand in *keys* end to end, those of the others are empty. *keys* has room for
    all messages.
    """
    data = pointer(message)
    key: Any = np.int64(0)
    at: Any = np.int64(0)
    for e in range(len(spans)):
        at = spans[e, 1]
        end = spans[e, 2]
        key_start = key
        name = at
        name_end = at
        canonical = True
        value_bits[e] = 0
        times_ms[e] = 0
        while at < end:
            field_at = at
            number, wire_type, at, status = read_tag(data, at, end)
            if status == OK and number <= 3 and wire_type != (2, 1, 0)[number - 1]:
                status = WRONG_WIRE_TYPE
            if status != OK:
                return status, at, key
            if number == 1:
                length_at = at
                size, at, status = read_length(data, at, end)
                if status == OK and canonical:
                    stop = at + size
                    plain = length_at == field_at + 1 and (at == length_at + 1 or data[at - 1] != 0)
                    name, name_end = _canonical_label(data, at, stop, name, name_end)
                    canonical = plain and name >= 0
                    for source in range(field_at, stop if canonical else field_at):
                        keys[key] = data[source]
                        key += 1
                at += size if status == OK else 0
            elif number == 2:
                status = OK if end - at >= 8 else UNEXPECTED_END
                if status == OK:
                    value_bits[e] = load_u64(data, at)
                    at += 8
            elif number == 3:
                times_ms[e], at, status = read_varint(data, at, end)
            else:
                at, status = skip_field(data, at, end, wire_type)
            if status != OK:
                return status, at, key
        shapes[e] = CANONICAL if canonical else IRREGULAR
        if not canonical:
            key = key_start
        key_ends[e] = key
    return OK, at, key
