"""What the scan of an exposition page is made of: names, numbers, and labels written as keys.

Nothing here checks the bounds of the array: each read at a position is preceded by a comparison
with the end that was handed in.
"""

from typing import Any

import numpy as np

from series.jit import helper

PLAIN = 0
"""The line was read: key, value and time are there."""
LONG_NUMBER = 1
"""As PLAIN, but the value has more digits than can be turned into a float64 here."""
CAREFUL = 2
"""The line must be read again with care; only its span and type are there."""

LETTER = 1
DIGIT = 2
COLON = 4

TAB, SPACE, QUOTE, HASH, PLUS, COMMA, MINUS, POINT, ZERO = 9, 32, 34, 35, 43, 44, 45, 46, 48
EQUALS, BACKSLASH, OPEN, CLOSE = 61, 92, 123, 125

_EXACT = 1 << 53


@helper
def _class(byte: Any) -> Any:
    """What *byte* may be in a name: LETTER, DIGIT, COLON or 0."""
    if 97 <= byte <= 122 or 65 <= byte <= 90 or byte == 95:
        return LETTER
    if 48 <= byte <= 57:
        return DIGIT
    return COLON if byte == 58 else 0


@helper
def skip_blanks(data: Any, at: Any, end: Any) -> Any:
    """The first position from *at* on that is no blank."""
    while at < end and (data[at] == SPACE or data[at] == TAB):
        at += 1
    return at


@helper
def skip_name(data: Any, at: Any, end: Any, first: Any, rest: Any) -> Any:
    """Where the name at *at* ends; *at* itself where none begins."""
    if at >= end or not (_class(data[at]) & first):
        return at
    while at < end and _class(data[at]) & rest:
        at += 1
    return at


@helper
def compare(data: Any, a: Any, a_end: Any, b: Any, b_end: Any) -> Any:
    """-1, 0 or 1 as the bytes [a, a_end) sort before, equal or after [b, b_end)."""
    while a < a_end and b < b_end:
        if data[a] != data[b]:
            return -1 if data[a] < data[b] else 1
        a += 1
        b += 1
    if a < a_end:
        return 1
    return -1 if b < b_end else 0


@helper
def read_number(data: Any, at: Any, end: Any) -> Any:
    """(value, shape, next position) of the number at *at*, which a blank or the end follows.

    Exact where the digits fit 53 bits and the power of ten is at most 22: both are then float64
    values without error and one operation rounds once (Clinger 1990).
    """
    negative = False
    if at < end and (data[at] == MINUS or data[at] == PLUS):
        negative = data[at] == MINUS
        at += 1
    infinite = (end - at >= 3 and data[at] == 73) and (data[at + 1] == 110 and data[at + 2] == 102)
    if infinite and (end == at + 3 or data[at + 3] == SPACE or data[at + 3] == TAB):
        return (-np.inf if negative else np.inf), PLAIN, at + 3
    mantissa = np.int64(0)
    power = np.int64(0)
    digits = np.int64(0)
    exact = True
    seen_point = False
    while at < end:
        byte = data[at]
        if byte == POINT and not seen_point:
            seen_point = True
        elif ZERO <= byte <= 57:
            digits += 1
            if mantissa < 100_000_000_000_000_000:
                mantissa = mantissa * 10 + (byte - ZERO)
                if seen_point:
                    power -= 1
            else:
                exact = False
        else:
            break
        at += 1
    if digits == 0:
        return 0.0, CAREFUL, at
    if at < end and (data[at] == 101 or data[at] == 69):
        at += 1
        down = False
        if at < end and (data[at] == MINUS or data[at] == PLUS):
            down = data[at] == MINUS
            at += 1
        exponent = np.int64(0)
        begin = at
        while at < end and ZERO <= data[at] <= 57 and at - begin < 6:
            exponent = exponent * 10 + (data[at] - ZERO)
            at += 1
        if at == begin:
            return 0.0, CAREFUL, at
        power += -exponent if down else exponent
    if at < end and data[at] != SPACE and data[at] != TAB:
        return 0.0, CAREFUL, at
    if not exact or mantissa > _EXACT or power < -22 or power > 22:
        return 0.0, LONG_NUMBER, at
    value = np.float64(mantissa)
    scale = 1.0
    for _ in range(abs(power)):
        scale *= 10.0
    value = value / scale if power < 0 else value * scale
    return (-value if negative else value), PLAIN, at


@helper
def bound_print(data: Any, at: Any, end: Any) -> Any:
    """How the text of an ``le`` or ``quantile`` is printed: 0 as it is, 1 with ``.0``, 2 unknown.

    As it is: ``+Inf`` and decimals like 0.25 or 10.0 that no printing would change.
    """
    if end - at == 4 and data[at] == PLUS and data[at + 1] == 73 and data[at + 2] == 110:
        return 0 if data[at + 3] == 102 else 2
    whole = at
    while at < end and ZERO <= data[at] <= 57:
        at += 1
    if at == whole or at - whole > 6 or (data[whole] == ZERO and at - whole > 1):
        return 2
    if at == end:
        return 1
    if data[at] != POINT or at + 1 == end or end - whole > 15:
        return 2
    at += 1
    first = at
    leading = data[whole] == ZERO
    zeros = np.int64(0)
    while at < end and ZERO <= data[at] <= 57:
        if leading and data[at] == ZERO:
            zeros += 1
        else:
            leading = False
        at += 1
    if at != end:
        return 2
    if data[end - 1] == ZERO:
        return 0 if end - first == 1 else 2
    return 0 if zeros <= 3 else 2


@helper
def skip_plain_text(data: Any, at: Any, end: Any) -> Any:
    """Where the quotes close that opened before *at*; -1 where they do not.

    -1 also where the text holds escapes, NUL or more than ASCII.
    """
    while at < end and data[at] != QUOTE:
        if data[at] >= 0x80 or data[at] == BACKSLASH or data[at] == 0:
            return np.int64(-1)
        at += 1
    return at if at < end else np.int64(-1)


@helper
def is_exemplar(data: Any, at: Any, end: Any) -> Any:
    """Whether [at, end) is a plain exemplar of OpenMetrics: `` # {id="1"} 0.5 1700000000.1``."""
    if end - at < 5 or data[at] != SPACE or data[at + 1] != HASH:
        return False
    if data[at + 2] != SPACE or data[at + 3] != OPEN:
        return False
    at += 4
    while at < end and data[at] != CLOSE:
        name = at
        at = skip_name(data, at, end, LETTER, LETTER | DIGIT)
        if name == at or end - at < 3 or data[at] != EQUALS or data[at + 1] != QUOTE:
            return False
        at = skip_plain_text(data, at + 2, end)
        if at < 0:
            return False
        at += 1
        if at < end and data[at] == COMMA:
            at += 1
        elif at >= end or data[at] != CLOSE:
            return False
    at += 1
    numbers = 0
    while at < end and data[at] == SPACE and numbers < 2:
        value, shape, at = read_number(data, at + 1, end)
        if shape == CAREFUL or not abs(value) < 1e12:
            return False
        numbers += 1
    return at == end and numbers > 0


@helper
def _put_length(keys: Any, at: Any, size: Any) -> Any:
    while size > 0x7F:
        keys[at] = np.uint8(size & 0x7F | 0x80)
        size >>= 7
        at += 1
    keys[at] = np.uint8(size)
    return at + 1


@helper
def _length_bytes(size: Any) -> Any:
    count = np.int64(1)
    while size > 0x7F:
        size >>= 7
        count += 1
    return count


@helper
def _put_text(keys: Any, at: Any, tag: Any, data: Any, start: Any, end: Any, suffix: Any) -> Any:
    """A tag, a length, the bytes [start, end) and ``.0`` where *suffix* is 1."""
    keys[at] = np.uint8(tag)
    at = _put_length(keys, at + 1, end - start + 2 * suffix)
    while start < end:
        keys[at] = data[start]
        at += 1
        start += 1
    if suffix == 1:
        keys[at] = np.uint8(POINT)
        keys[at + 1] = np.uint8(ZERO)
        at += 2
    return at


@helper
def put_label(keys: Any, at: Any, data: Any, label: Any, suffix: Any) -> Any:
    """One label of a canonical key; *label* is (name, name end, value, value end)."""
    name, name_end, value, value_end = label
    name_bytes = name_end - name
    value_bytes = value_end - value + 2 * suffix
    size = 2 + _length_bytes(name_bytes) + name_bytes + _length_bytes(value_bytes) + value_bytes
    keys[at] = np.uint8(0x0A)
    at = _put_length(keys, at + 1, size)
    at = _put_text(keys, at, 0x0A, data, name, name_end, 0)
    return _put_text(keys, at, 0x12, data, value, value_end, suffix)
