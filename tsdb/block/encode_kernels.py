"""Kernels that encode: segments of samples to frame bodies.

The layout of a frame body stands in ``docs/format.md``; in short::

    count   u32 of segments, u32 zero
    heads   32 bytes a segment (see _HEAD)
    odd     10 bytes (position u16, bits u64) for each sample that its segment's scheme can't hold
    planes  byte 0 of the residuals of all segments, then byte 1 of those that are wider, ...
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel

_BYTES = "Array(u1, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"
_FLOAT64 = "Array(f8, 1, 'C', True)"

# A head: scheme u8, exponent u8, width u8, zero u8, count u16, odd u16, base, low, factor u64.
_HEAD = 32
_ODD = 10
_PREAMBLE = 8

CONSTANT, RAW, PLAIN, DELTA, COUNTED = 0, 1, 2, 3, 4
"""Schemes: every value is ``base``; bits; ``base + r * factor``; running sum of that; the tickets
(see ``tsdb/sample/entries.py``) from the bits ``base`` on."""
HAS_STALE, IS_CONSTANT = 1, 2
"""Flags of a segment."""

_FIRST_TICKET = np.int64(0x7FFF << 48)
_STALE_BITS = np.uint64(0x7FF0000000000002)
_POWERS = np.array([10.0**e for e in range(23)])
_MAX_EXPONENT = 15


@helper
def _store(out: Any, at: Any, number: Any, size: Any) -> None:
    for i in range(size):
        out[at + i] = np.uint8((np.uint64(number) >> np.uint64(8 * i)) & np.uint64(255))


@helper
def _as_scaled(value: Any, exponent: Any) -> Any:
    """(exact, n): whether ``n / 10**exponent`` is *value*, bit for bit, and n."""
    if value == 0.0 and np.copysign(1.0, value) < 0.0:
        return False, 0
    if exponent == 0:
        if not abs(value) < 4611686018427387904.0:
            return False, 0
        whole = np.int64(value)
        return np.float64(whole) == value, whole
    scaled = value * _POWERS[exponent]
    if not abs(scaled) < 9007199254740992.0:
        return False, 0
    whole = np.int64(np.rint(scaled))
    return np.float64(whole) / _POWERS[exponent] == value, whole


@helper
def _scale(values: Any, start: Any, count: Any, whole: Any, odd: Any) -> Any:
    """(exponent, odd count): values as ``whole / 10**exponent``, the positions that are odd.

    The exponent is -1 where too many are odd. An odd position repeats its predecessor in *whole*.
    """
    most = count // 32 + 2
    exponent = 0
    while True:
        odd_count = 0
        previous = np.int64(0)
        higher = exponent
        for i in range(count):
            value = values[start + i]
            exact, number = _as_scaled(value, exponent)
            if not exact and value != 0.0 and np.isfinite(value):
                higher = exponent + 1
                while higher <= _MAX_EXPONENT and not exact:
                    exact, number = _as_scaled(value, higher)
                    if not exact:
                        higher += 1
                if exact:
                    break
                higher = exponent
            if not exact:
                if odd_count == most:
                    return -1, 0
                odd[odd_count] = i
                odd_count += 1
                number = previous
            whole[i] = number
            previous = number
        if higher == exponent:
            break
        exponent = higher
    if odd_count == count:
        return -1, 0
    good = 0
    while good < odd_count and odd[good] == good:
        good += 1
    for i in range(good):
        whole[i] = whole[good]
    return exponent, odd_count


@helper
def _spread(numbers: Any, count: Any) -> Any:
    """(bits plain, bits as deltas) of some of the numbers, estimated against their mean."""
    step = max(1, count // 64)
    mean = 0.0
    seen = 0
    for i in range(0, count, step):
        mean += float(numbers[i])
        seen += 1
    mean /= seen
    slope = (float(numbers[count - 1]) - float(numbers[0])) / max(1, count - 1)
    plain = 0.0
    delta = 0.0
    for i in range(step, count, step):
        plain += np.log2(1.0 + abs(float(numbers[i]) - mean))
        delta += np.log2(1.0 + abs(float(numbers[i] - numbers[i - 1]) - slope))
    return plain, delta


@helper
def _common_factor(numbers: Any, count: Any) -> Any:
    """The greatest number that divides every difference to the first; 1 where all are equal."""
    factor = np.int64(0)
    for i in range(1, count):
        a = abs(numbers[i] - numbers[0])
        while a != 0:
            factor, a = a, factor % a
        if factor == 1:
            break
    return max(factor, np.int64(1))


@helper
def _residuals(numbers: Any, count: Any, scheme: Any, factor: Any, residuals: Any, at: Any) -> Any:
    """Fills ``residuals[at : at + count]``; returns (base, low, width in bytes).

    Sums and differences wrap around 2**64, so any numbers survive.
    """
    base = numbers[0]
    low = np.int64(0)
    residuals[at] = np.uint64(0)
    if scheme == PLAIN:
        for i in range(count):
            base = min(base, numbers[i])
        for i in range(count):
            residuals[at + i] = np.uint64((numbers[i] - base) // factor)
    elif count > 1:
        low = (numbers[1] - numbers[0]) // factor
        for i in range(1, count):
            low = min(low, (numbers[i] - numbers[i - 1]) // factor)
        for i in range(1, count):
            residuals[at + i] = np.uint64((numbers[i] - numbers[i - 1]) // factor - low)
    everything = np.uint64(0)
    for i in range(count):
        everything |= residuals[at + i]
    width = 0
    while everything != 0:
        everything >>= np.uint64(8)
        width += 1
    return base, low, width


@helper
def _are_counted(bits: Any, start: Any, count: Any) -> Any:
    """Whether these are tickets of consecutive entries."""
    if np.int64(bits[start]) < _FIRST_TICKET:
        return False
    i = 0
    while i < count and bits[start + i] == bits[start] + np.uint64(i):
        i += 1
    return i == count


@helper
def _write_planes(out: Any, at: Any, residuals: Any, counts: Any, bounds: Any) -> Any:
    heads = _PREAMBLE
    for plane in range(8):
        bounds[plane] = at
        shift = np.uint64(8 * plane)
        source = 0
        for s in range(len(counts)):
            count = counts[s]
            if out[heads + _HEAD * s + 2] > plane:
                for i in range(count):
                    out[at + i] = np.uint8((residuals[source + i] >> shift) & np.uint64(255))
                at += count
            source += count
    bounds[8] = at
    return at


@helper
def _write_head(
    out: Any,
    at: Any,
    scheme: Any,
    exponent: Any,
    width: Any,
    count: Any,
    odd: Any,
    base: Any,
    low: Any,
    factor: Any,
) -> None:
    out[at] = scheme
    out[at + 1] = exponent
    out[at + 2] = width
    out[at + 3] = 0
    _store(out, at + 4, count, 2)
    _store(out, at + 6, odd, 2)
    _store(out, at + 8, base, 8)
    _store(out, at + 16, low, 8)
    _store(out, at + 24, factor, 8)


@kernel(f"i8({_FLOAT64}, {_INT64}, {_INT64}, u1[::1], i8[::1], u1[::1])")
def encode_values(values: Any, starts: Any, counts: Any, out: Any, bounds: Any, flags: Any) -> int:
    """Writes the frame body of the segments ``values[starts[s] : starts[s] + counts[s]]``.

    ``counts`` are 1 to 65535. ``out`` must have room for ``8 + sum(52 + 9 * counts)`` bytes.
    ``bounds`` int64[9] is told where the planes begin and the last one ends, ``flags``
    uint8[segments] what the segments are. Returns the size of the body.
    """
    segments = len(starts)
    residuals = np.empty(counts.sum(), np.uint64)
    whole = np.empty(max(counts.max(), 1), np.int64)
    odd = np.empty(len(whole), np.int64)
    bits = values.view(np.uint64)
    _store(out, 0, segments, 4)
    _store(out, 4, 0, 4)
    at = _PREAMBLE + _HEAD * segments
    done = np.int64(0)
    for s in range(segments):
        start, count = starts[s], counts[s]
        head = _PREAMBLE + _HEAD * s
        first = bits[start]
        same = True
        flag = 0
        for i in range(count):
            same = same and bits[start + i] == first
            if bits[start + i] == _STALE_BITS:
                flag |= HAS_STALE
        scheme, exponent, width, odd_count = CONSTANT, 0, 0, 0
        base, low, factor = np.int64(first), np.int64(0), np.int64(1)
        if same:
            flag |= IS_CONSTANT
        else:
            exponent, odd_count = _scale(values, start, count, whole, odd)
            if exponent < 0 and _are_counted(bits, start, count):
                scheme, exponent = COUNTED, 0
            elif exponent < 0:
                scheme, exponent, width, base = RAW, 0, 8, np.int64(0)
                for i in range(count):
                    residuals[done + i] = bits[start + i]
            else:
                plain, delta = _spread(whole, count)
                scheme = PLAIN if plain < delta else DELTA
                factor = _common_factor(whole, count)
                base, low, width = _residuals(whole, count, scheme, factor, residuals, done)
        _write_head(out, head, scheme, exponent, width, count, odd_count, base, low, factor)
        for k in range(odd_count):
            _store(out, at, odd[k], 2)
            _store(out, at + 2, bits[start + odd[k]], 8)
            at += _ODD
        flags[s] = flag
        done += count
    return int(_write_planes(out, at, residuals, counts, bounds))


@kernel(f"i8({_INT64}, {_INT64}, {_INT64}, u1[::1], i8[::1])")
def encode_times(times: Any, starts: Any, counts: Any, out: Any, bounds: Any) -> int:
    """As ``encode_values``, of int64 numbers; any numbers survive."""
    segments = len(starts)
    residuals = np.empty(counts.sum(), np.uint64)
    _store(out, 0, segments, 4)
    _store(out, 4, 0, 4)
    done = np.int64(0)
    for s in range(segments):
        start, count = starts[s], counts[s]
        numbers = times[start : start + count]
        base, low, width = _residuals(numbers, count, DELTA, np.int64(1), residuals, done)
        _write_head(out, _PREAMBLE + _HEAD * s, DELTA, 0, width, count, 0, base, low, 1)
        done += count
    return int(_write_planes(out, _PREAMBLE + _HEAD * segments, residuals, counts, bounds))
