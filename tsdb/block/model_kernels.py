"""Kernels that encode, part one: samples to the *steps* of segments.

A segment's samples become integers, the integers *steps* (themselves, or their differences), and
of the steps all is taken away that can be told in a few bytes: a common factor, the steps of the
segment before in the frame, a straight line. What is left goes on to ``pack_kernels``. The schemes
and what they mean stand in ``docs/format.md``.
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel
from tsdb.decimal_helpers import are_short, scale
from tsdb.sum_helpers import total_of

_INT64 = "Array(i8, 1, 'C', True)"
_FLOAT64 = "Array(f8, 1, 'C', True)"

CONSTANT, COUNTED, PLAIN, DELTA = 0, 1, 2, 3
"""Schemes: every value is ``base``; the tickets (see ``tsdb/sample/entries.py``) from ``base`` on;
``base + factor * step``; the running sum of that."""
HAS_STALE, IS_CONSTANT = 1, 2
"""Flags of a segment."""
BITS = 255
"""The exponent of segments whose integers are the bits of the values."""

SCHEME, EXPONENT, SHIFT, TABLE, COUNT, ODD, ESCAPES, LEANS, BASE, LOW, SLOPE, FACTOR = range(12)
HEAD_FIELDS = 12
"""Columns of the heads, int64[segments, 12]. Shift, table, escapes and low are for
``pack_kernels`` to fill in."""

_FIRST_TICKET = np.int64(0x7FFF << 48)
_STALE_BITS = np.uint64(0x7FF0000000000002)
_ONE = np.uint64(1)
_MAX_SPAN = 9e18
"""Differences of numbers that lie farther apart might wrap around, and factors do not survive."""
_SLOPE_BITS = np.int64(10)
_MAX_SLOPE = float(1 << 43)
_FAR = 8.0
"""Steps that lie more mean distances away from the line do not count for it."""
_GAIN = 48.0
"""So many bits a slope, and leaning on the segment before, must gain a segment: a slope takes two
or three bytes, and what is measured on some samples may be chance."""


@helper
def _common_factor(numbers: Any) -> Any:
    """(odd part, power of two) of the greatest number that divides all differences to the first.

    1 and 0 where all are equal.
    """
    ones = np.int64(0)
    for i in range(len(numbers)):
        ones |= numbers[i] - numbers[0]
    if ones == 0:
        return np.int64(1), np.int64(0)
    twos = np.int64(0)
    while (ones >> twos) & 1 == 0:
        twos += 1
    factor = np.int64(0)
    for i in range(len(numbers)):
        a = abs(numbers[i] - numbers[0]) >> twos
        while a != 0:
            factor, a = a, factor % a
        if factor == 1:
            break
    return factor, twos


@helper
def _divide(steps: Any, odd_part: Any, twos: Any) -> None:
    """Divides *steps*, all of which are multiples, by ``odd_part << twos``.

    An odd number has an inverse modulo 2^64; each turn doubles the bits of it that are right.
    """
    inverse = odd_part
    for _ in range(5):
        inverse *= 2 - odd_part * inverse
    for i in range(len(steps)):
        steps[i] = (steps[i] >> twos) * inverse


@helper
def _sample_steps(numbers: Any, order: Any, others: Any, factor: Any, out: Any) -> Any:
    """Every second step, or every one of a few, as float64; returns (how many, their stride).

    *order* 0: the steps are the numbers, 1: their differences. *others*, steps of the segment
    before, are taken away, where there are any.
    """
    stride = np.uint64(2 if len(numbers) > 64 else 1)
    found = (np.uint64(len(numbers)) + stride - _ONE - _ONE) // stride
    if order and stride > 1:
        for k in range(found):
            out[k] = float(numbers[k + k + _ONE] - numbers[k + k])
    elif order:
        for k in range(found):
            out[k] = float(numbers[k + _ONE] - numbers[k])
    else:
        first = numbers[0]
        for k in range(found):
            out[k] = float(numbers[k * stride + _ONE] - first)
    if len(others) > 0:
        for k in range(found):
            out[k] -= float(others[k * stride + _ONE] * factor)
    return np.int64(found), np.int64(stride)


@helper
def _line(steps: Any, first: Any, second: Any) -> Any:
    """(mean, level, slope) of steps and of the line through them, without those far away.

    *first* and *second* are scratch.
    """
    count = len(steps)
    if count < 3:
        return 0.0, 0.0, 0.0
    for i in range(count):
        first[i] = steps[i]
        second[i] = steps[i] * float(i)
    sum_y, sum_xy = total_of(first, count), total_of(second, count)
    seen = float(count)
    middle = 0.5 * (seen - 1.0)
    slope = (sum_xy - middle * sum_y) / (seen * (seen * seen - 1.0) / 12.0)
    mean = sum_y / seen
    level = mean - slope * middle
    for i in range(count):
        first[i] = second[i] = abs(steps[i] - level - slope * float(i))
    radius = _FAR * total_of(first, count) / seen + 1.0
    far = 0
    for i in range(count):
        far += second[i] > radius
    if far == 0:
        return mean, level, slope
    return _line_of_near(steps, mean, level, slope, radius)


@helper
def _line_of_near(steps: Any, mean: Any, level: Any, slope: Any, radius: Any) -> Any:
    """As ``_line``, without the steps more than *radius* away from the line so far."""
    for _ in range(2):
        seen = sum_x = sum_y = sum_xx = sum_xy = 0.0
        x = 0.0
        for i in range(len(steps)):
            y = steps[i]
            if abs(y - level - slope * x) <= radius:
                seen += 1.0
                sum_x += x
                sum_y += y
                sum_xx += x * x
                sum_xy += x * y
            x += 1.0
        if seen < 3.0:
            break
        across = sum_xx - sum_x * sum_x / seen
        slope = (sum_xy - sum_x * sum_y / seen) / across if across > 0.0 else 0.0
        mean = sum_y / seen
        level = (sum_y - slope * sum_x) / seen
        total = farthest = 0.0
        for i in range(len(steps)):
            distance = abs(steps[i] - level - slope * i)
            total += min(distance, radius)
            farthest = max(farthest, distance)
        radius = _FAR * total / len(steps) + 1.0
        if farthest <= radius:
            break
    return mean, level, slope


@helper
def _mean_bits(steps: Any, level: Any, slope: Any, scratch: Any) -> Any:
    """The mean of log2(1 + distance to the line), read off the floats' own bits."""
    for i in range(len(steps)):
        scratch[i] = 1.0 + abs(steps[i] - level - slope * float(i))
    words = scratch.view(np.uint64)
    total = np.uint64(0)
    for i in range(len(steps)):
        total += words[i] >> np.uint64(20)
    return float(total) / (1 << 32) / max(1, len(steps)) - 1023.0


@helper
def _estimate(numbers: Any, order: Any, others: Any, factor: Any, scratch: Any) -> Any:
    """(about how many bits a step takes, the slope by which it does so)."""
    first, second = scratch[1], scratch[2]
    found, stride = _sample_steps(numbers, order, others, factor, scratch[0])
    own = scratch[0, :found]
    mean, level, slope = _line(own, first, second)
    flat = _mean_bits(own, mean, 0.0, first)
    if order or len(others) > 0:
        flat = min(flat, _mean_bits(own, 0.0, 0.0, first))
    sloped = _mean_bits(own, level, slope, first)
    if (flat - sloped) * len(numbers) > _GAIN and abs(slope) < _MAX_SLOPE:
        return sloped, slope / stride
    return flat, 0.0


@helper
def _repeat(numbers: Any) -> Any:
    """Whether a quarter of the numbers is one of the four before: zstd finds that."""
    found = 0
    for i in range(4, len(numbers)):
        number = numbers[i]
        if (
            number == numbers[i - 1]
            or number == numbers[i - 2]
            or number == numbers[i - 3]
            or number == numbers[i - 4]
        ):
            found += 1
    return 4 * found > len(numbers)


@helper
def _are_alike(head: Any, exponent: Any, factor: Any) -> Any:
    """Whether the steps of the segment *head* mean the same as those of one with this factor."""
    return head[SCHEME] >= PLAIN and head[EXPONENT] == exponent and head[FACTOR] == factor


@helper
def _model(
    numbers: Any, heads: Any, s: Any, steps: Any, codes: Any, before: Any, scratch: Any
) -> None:
    """Chooses scheme, factor, leaning and slope of segment *s*; fills its steps and codes.

    *before* are the steps of the segment before; none stand before the first.
    """
    count = len(numbers)
    lowest = highest = numbers[0]
    for i in range(count):
        lowest = min(lowest, numbers[i])
        highest = max(highest, numbers[i])
    fits = float(highest) - float(lowest) < _MAX_SPAN
    odd_part, twos = _common_factor(numbers) if fits else (np.int64(1), np.int64(0))
    factor = odd_part << twos
    nothing = before[:0]
    best, slope = _estimate(numbers, 0, nothing, factor, scratch)
    bits, other = _estimate(numbers, 1, nothing, factor, scratch)
    order = leans = 0
    if heads[s, EXPONENT] == BITS and _repeat(numbers):
        slope = 0.0
    else:
        if bits < best:
            best, slope, order = bits, other, 1
        if len(before) == count and _are_alike(heads[s - 1], heads[s, EXPONENT], factor):
            same = heads[s - 1, SCHEME] - PLAIN
            bits, other = _estimate(numbers, same, before, factor, scratch)
            if (best - bits) * count > _GAIN:
                slope, order, leans = other, same, 1
    line = np.int64(np.rint(slope / factor * (1 << _SLOPE_BITS)))
    heads[s, SCHEME] = PLAIN + order
    heads[s, LEANS] = leans
    heads[s, BASE] = numbers[0]
    heads[s, FACTOR] = factor
    heads[s, SLOPE] = line
    steps[0] = 0
    if order:
        for i in range(np.uint64(count - 1)):
            steps[i + _ONE] = numbers[i + _ONE] - numbers[i]
    else:
        for i in range(count):
            steps[i] = numbers[i] - numbers[0]
    if factor > 1:
        _divide(steps, odd_part, twos)
    for i in range(count):
        codes[i] = steps[i] - ((line * i) >> _SLOPE_BITS)
    if leans:
        for i in range(count):
            codes[i] -= before[i]
    if order and count > 1:
        codes[0] = codes[1]


@helper
def _are_counted(bits: Any) -> Any:
    """Whether these are tickets of consecutive entries."""
    if np.int64(bits[0]) < _FIRST_TICKET:
        return False
    i = 0
    while i < len(bits) and bits[i] == bits[0] + np.uint64(i):
        i += 1
    return i == len(bits)


@kernel(f"i8({_FLOAT64}, {_INT64}, {_INT64}, i8[:, ::1], i8[::1], i8[::1], u1[::1])")
def model_values(
    values: Any, starts: Any, counts: Any, heads: Any, codes: Any, odds: Any, flags: Any
) -> int:
    """Models the segments ``values[starts[s] : starts[s] + counts[s]]``.

    ``counts`` are 1 to 65535. Fills ``heads`` (int64[segments, 12]), ``codes`` (as many as there
    are values, one segment behind the other), ``odds`` (position and bits of samples that their
    segment's scheme cannot hold; room for twice the values) and ``flags`` (uint8[segments]).
    Returns how many samples are odd.
    """
    steps = np.empty(len(codes), np.int64)
    before = steps[:0]
    scratch = np.empty((3, max(counts.max(), 1)))
    whole = np.empty(max(counts.max(), 1), np.int64)
    odd = np.empty(len(whole), np.int64)
    words = values.view(np.uint64)
    done = np.int64(0)
    odd_total = 0
    heads[:] = 0
    for s in range(len(starts)):
        count = counts[s]
        end = done + count
        own = values[starts[s] : starts[s] + count]
        bits = words[starts[s] : starts[s] + count]
        changes = np.uint64(0)
        stale = 0
        for i in range(count):
            changes |= bits[i] ^ bits[0]
            stale += bits[i] == _STALE_BITS
        flags[s] = HAS_STALE if stale > 0 else 0
        heads[s, COUNT] = count
        heads[s, BASE] = np.int64(bits[0])
        if changes == 0:
            flags[s] |= IS_CONSTANT
        elif _are_counted(bits):
            heads[s, SCHEME] = COUNTED
        else:
            exponent, odd_count = scale(own, bits, whole, odd)
            if exponent < 0 or (exponent > 0 and not are_short(whole[:count])):
                odd_count = 0
                exponent = BITS
                for i in range(count):
                    whole[i] = np.int64(bits[i])
            heads[s, EXPONENT] = exponent
            heads[s, ODD] = odd_count
            _model(whole[:count], heads, s, steps[done:end], codes[done:end], before, scratch)
            before = steps[done:end]
            for k in range(odd_count):
                odds[2 * odd_total] = odd[k]
                odds[2 * odd_total + 1] = np.int64(bits[odd[k]])
                odd_total += 1
        done = end
    return odd_total


@kernel(f"void({_INT64}, {_INT64}, {_INT64}, i8[:, ::1], i8[::1])")
def model_times(times: Any, starts: Any, counts: Any, heads: Any, codes: Any) -> None:
    """As ``model_values``, of int64 numbers; any numbers survive."""
    steps = np.empty(len(codes), np.int64)
    before = steps[:0]
    scratch = np.empty((3, max(counts.max(), 1)))
    done = np.int64(0)
    heads[:] = 0
    for s in range(len(starts)):
        end = done + counts[s]
        heads[s, COUNT] = counts[s]
        heads[s, EXPONENT] = BITS
        numbers = times[starts[s] : starts[s] + counts[s]].copy()
        _model(numbers, heads, s, steps[done:end], codes[done:end], before, scratch)
        before = steps[done:end]
        done = end
