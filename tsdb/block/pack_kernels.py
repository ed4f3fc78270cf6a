"""Kernels that encode, part two: the codes of segments to the sections of a frame.

A code is a *symbol* of 4 bits above ``shift`` raw bits. Symbols are entropy-coded (rANS, four
states in turn) by tables that segments of a frame may share; the raw bits, in which all values are
about as frequent, stand as they are. Codes beyond the symbols *escape*: symbol 15 stands for them.
Where zstd finds more in the codes, as in those that repeat, they are *planes* for it instead: byte
0 of all codes, then byte 1 of those of the wider segments, and so on. All this is described in
``docs/format.md``.
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel
from tsdb.sum_helpers import total_of
from tsdb.table_helpers import MOST_TABLES, SHARES, TABLE_BYTES, bits_of, table_for

_INT64 = "Array(i8, 1, 'C', True)"

SCHEME, EXPONENT, SHIFT, TABLE, COUNT, ODD, ESCAPES, LEANS, BASE, LOW, SLOPE, FACTOR = range(12)
_PLAIN = 2

SPLIT, PLANES = 0, 1
"""Codings: how the codes of a frame stand."""
PREAMBLE_BYTES = 12
_FIELD_BYTES = (1, 1, 1, 1, 2, 2, 2, 2, 8, 8, 8, 8)
ODD_BYTES = 10
_STATES_BYTES = 16
_SYMBOLS = np.uint64(16)
_ESCAPE = np.int64(15)
_ESCAPE_BITS = 16.0
_CENTRED_BITS = 12.0
"""So many more a segment may take for having its mean in the middle: tables then fit others."""
_MAX_SHIFT, _MAX_SPAN = 56, 9e18
_MAX_VARINT = 10
_MIN_STATE = np.uint64(1 << 16)
_INVERSE_BITS = np.uint64(42)
_FAR = 8.0


@helper
def _store(out: Any, at: Any, number: Any, size: Any) -> None:
    for i in range(size):
        out[at + i] = np.uint8((np.uint64(number) >> np.uint64(8 * i)) & np.uint64(255))


@helper
def _inner(codes: Any, lowest: Any, highest: Any, scratch: Any) -> Any:
    """(mean, least, greatest) of the codes without those that lie far from all others."""
    count = len(codes)
    for i in range(count):
        scratch[i] = float(codes[i])
    mean = total_of(scratch, count) / count
    low, high = lowest, highest
    for _ in range(3):
        for i in range(count):
            scratch[i] = abs(float(min(max(codes[i], low), high)) - mean)
        radius = _FAR * total_of(scratch, count) / count + 1.0
        if not (mean - float(low) > radius or float(high) - mean > radius):
            break
        seen = total = 0.0
        least, greatest = high, low
        for i in range(count):
            code = float(codes[i])
            if abs(code - mean) <= radius:
                seen += 1.0
                total += code
                least = min(least, codes[i])
                greatest = max(greatest, codes[i])
        if seen == 0.0:
            break
        mean, low, high = total / seen, least, greatest
    return mean, low, high


@helper
def _count_symbols(codes: Any, low: Any, shift: Any, counts: Any, halves: Any) -> Any:
    """Fills ``counts`` int64[16] with how often each symbol occurs; returns the escapes.

    *halves* int64[2, 17] is scratch: the codes are counted in turns, since a count that has just
    changed is slow to change again.
    """
    halves[:] = 0
    even = len(codes) & ~1
    for i in range(0, even, 2):
        first = np.uint64((codes[i] - low) >> shift)
        second = np.uint64((codes[i + 1] - low) >> shift)
        halves[0, min(first, _SYMBOLS)] += 1
        halves[1, min(second, _SYMBOLS)] += 1
    if even < len(codes):
        halves[0, min(np.uint64((codes[even] - low) >> shift), _SYMBOLS)] += 1
    for symbol in range(16):
        counts[symbol] = halves[0, symbol] + halves[1, symbol]
    beyond = halves[0, 16] + halves[1, 16]
    if beyond > 0:
        counts[_ESCAPE] += beyond
        return counts[_ESCAPE]
    return beyond


@helper
def _cut(codes: Any, counts: Any, trial: Any, halves: Any, scratch: Any) -> Any:
    """(low, shift, escapes) by which the codes become smallest; fills the counts of symbols."""
    lowest = highest = codes[0]
    for i in range(len(codes)):
        lowest = min(lowest, codes[i])
        highest = max(highest, codes[i])
    mean, low, high = 0.0, lowest, highest
    fits = float(highest) - float(lowest) < _MAX_SPAN
    if fits:
        mean, low, high = _inner(codes, lowest, highest, scratch)
    symbols = np.uint64(16 if low == lowest and high == highest else 15)
    shift = np.int64(0)
    while shift < _MAX_SHIFT and (np.uint64(high) - np.uint64(low)) >> np.uint64(shift) >= symbols:
        shift += 1
    escapes = _count_symbols(codes, low, shift, counts, halves)
    cost = len(codes) * shift + bits_of(counts) + escapes * _ESCAPE_BITS
    narrow = fits and shift < _MAX_SHIFT
    middle = np.int64(mean) if narrow else np.int64(0)
    while shift > 0:
        lower = max(low, middle - (np.int64(7) << (shift - 1))) if narrow else low
        more = _count_symbols(codes, lower, shift - 1, trial, halves)
        less = len(codes) * (shift - 1) + bits_of(trial) + more * _ESCAPE_BITS
        if less >= cost:
            break
        low, cost, escapes = lower, less, more
        shift -= 1
        counts[:] = trial
    if escapes == 0 and lowest < highest and narrow:
        centred = middle - (np.int64(15) << shift >> 1)
        centred = min(lowest, max(centred, highest - (np.int64(16) << shift) + 1))
        _count_symbols(codes, centred, shift, trial, halves)
        if bits_of(trial) < bits_of(counts) + _CENTRED_BITS:
            low = centred
            counts[:] = trial
    return low, shift, escapes


@helper
def _store_varint(out: Any, at: Any, number: Any) -> Any:
    while number >= np.uint64(128):
        out[at] = np.uint8(number & np.uint64(127)) | np.uint8(128)
        number >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(number)
    return at + 1


@helper
def _store_raw(codes: Any, low: Any, shift: Any, out: Any, place: Any) -> Any:
    """The low *shift* bits of all codes, end to end from the lowest bit of a byte on."""
    held = np.uint64(0)
    filled = np.int64(0)
    mask = (np.uint64(1) << np.uint64(shift)) - np.uint64(1)
    for i in range(len(codes)):
        raw = np.uint64(codes[i] - low) & mask
        held |= raw << np.uint64(filled)
        filled += shift
        if filled >= 64:
            _store(out, place, held, 8)
            place += 8
            filled -= 64
            held = raw >> np.uint64(shift - filled) if filled > 0 else np.uint64(0)
    while filled > 0:
        out[place] = np.uint8(held & np.uint64(255))
        held >>= np.uint64(8)
        place += 1
        filled -= 8
    return place


@helper
def _store_heads(heads: Any, out: Any, coding: Any, tables: Any, words: Any) -> Any:
    """Preamble and heads: field by field, each byte of all segments together."""
    segments = len(heads)
    _store(out, 0, segments, 4)
    _store(out, 4, tables, 2)
    _store(out, 6, coding, 2)
    _store(out, 8, words, 4)
    at = PREAMBLE_BYTES
    for field in range(len(_FIELD_BYTES)):
        for k in range(_FIELD_BYTES[field]):
            for s in range(segments):
                out[at + s] = np.uint8((heads[s, field] >> (8 * k)) & 255)
            at += segments
    return at


@helper
def _store_odds(heads: Any, odds: Any, out: Any, at: Any) -> Any:
    total = np.int64(0)
    for s in range(len(heads)):
        total += heads[s, ODD]
    for k in range(total):
        _store(out, at, odds[2 * k], 2)
        _store(out, at + 2, odds[2 * k + 1], 8)
        at += ODD_BYTES
    return at


@helper
def _encode_symbols(
    symbols: Any, heads: Any, frequencies: Any, starts: Any, words: Any, states: Any
) -> Any:
    """Writes words backwards from the end of *words*, returns where they begin.

    A state divided by a share, which is at most 2^10, is below 2^22; so multiplying by 2^42 over
    the share, rounded up, gives the quotient exactly, and within 64 bits.
    """
    inverses = np.zeros(len(starts), np.uint64)
    for k in range(len(starts)):
        share = np.uint64(frequencies[k])
        if share > 0:
            inverses[k] = ((np.uint64(1) << _INVERSE_BITS) + share - np.uint64(1)) // share
    place = np.uint64(len(words))
    states[:] = _MIN_STATE
    at = len(symbols)
    for back in range(len(heads)):
        s = len(heads) - 1 - back
        count = heads[s, COUNT]
        at -= count
        table = np.uint64(16 * (heads[s, TABLE] - 1))
        if heads[s, TABLE] == 0:
            continue
        for k in range(count):
            i = np.uint64(count - 1 - k)
            symbol = table + np.uint64(symbols[np.uint64(at) + i])
            frequency = np.uint64(frequencies[symbol])
            state = states[i & np.uint64(3)]
            # Whether a word is written is hard to foretell: no branch, but one that may not count.
            words[place - np.uint64(1)] = np.uint16(state & np.uint64(0xFFFF))
            is_full = np.uint64(state >= frequency << np.uint64(22))
            place -= is_full
            state >>= is_full << np.uint64(4)
            quotient = (state * inverses[symbol]) >> _INVERSE_BITS
            state += quotient * (np.uint64(SHARES) - frequency) + np.uint64(starts[symbol])
            states[i & np.uint64(3)] = state
    return np.int64(place)


@kernel(f"Tuple((i8, i8))(i8[:, ::1], {_INT64}, {_INT64}, u1[::1], u1[::1])")
def pack_split(heads: Any, codes: Any, odds: Any, head_out: Any, code_out: Any) -> Any:
    """Packs codes as symbols and raw bits; returns the sizes of both sections.

    Completes ``heads``. The sections need ``12 + 52 * segments + 20 * codes`` and
    ``16 + segments + 10 * codes`` bytes at most.
    """
    segments = len(heads)
    symbols = np.empty(len(codes), np.uint8)
    counts = np.empty(16, np.int64)
    trial = np.empty(16, np.int64)
    halves = np.empty((2, 17), np.int64)
    scratch = np.empty(len(codes))
    weights = np.empty(16 * MOST_TABLES, np.int64)
    frequencies = np.empty(16 * MOST_TABLES, np.int64)
    costs = np.empty(16 * MOST_TABLES)
    escaped = np.empty(_MAX_VARINT * len(codes), np.uint8)
    raw = np.empty(8 * len(codes) + 8, np.uint8)
    escaped_bytes = raw_bytes = 0
    tables = 0
    at = np.int64(0)
    for s in range(segments):
        count = heads[s, COUNT]
        heads[s, SHIFT] = heads[s, TABLE] = heads[s, ESCAPES] = heads[s, LOW] = 0
        if heads[s, SCHEME] >= _PLAIN:
            own = codes[at : at + count]
            tops = symbols[at : at + count]
            low, shift, escapes = _cut(own, counts, trial, halves, scratch)
            heads[s, LOW], heads[s, SHIFT], heads[s, ESCAPES] = low, shift, escapes
            if counts[0] < count:
                table = table_for(counts, weights, frequencies, costs, tables)
                heads[s, TABLE] = table
                tables = max(tables, table)
            for i in range(count):
                tops[i] = np.uint8(((own[i] - low) >> shift) & 15)
            for i in range(count if escapes > 0 else 0):
                top = (own[i] - low) >> shift
                if not 0 <= top < _ESCAPE:
                    zigzag = np.uint64(top << 1) ^ np.uint64(top >> 63)
                    escaped_bytes = _store_varint(escaped, escaped_bytes, zigzag)
                    tops[i] = _ESCAPE
            if shift > 0:
                raw_bytes = _store_raw(own, low, shift, raw, raw_bytes)
        at += count
    starts = np.zeros(16 * tables, np.int64)
    for k in range(len(starts)):
        if k % 16 > 0:
            starts[k] = starts[k - 1] + frequencies[k - 1]
    states = np.empty(4, np.uint64)
    words = np.empty(len(codes) + 8, np.uint16)
    place = _encode_symbols(symbols, heads, frequencies, starts, words, states)
    count = len(words) - place
    code_at = 0
    if tables > 0:
        for k in range(4):
            _store(code_out, 4 * k, states[k], 4)
        code_at = _STATES_BYTES
    for k in range(count):
        _store(code_out, code_at + 2 * k, words[place + k], 2)
    code_at += 2 * count
    code_out[code_at : code_at + raw_bytes] = raw[:raw_bytes]
    head_at = _store_heads(heads, head_out, SPLIT, tables, count)
    for k in range(TABLE_BYTES * tables):
        head_out[head_at + k] = np.uint8(weights[2 * k] | weights[2 * k + 1] << 4)
    head_at = _store_odds(heads, odds, head_out, head_at + TABLE_BYTES * tables)
    head_out[head_at : head_at + escaped_bytes] = escaped[:escaped_bytes]
    return head_at + escaped_bytes, code_at + raw_bytes


@kernel(f"i8(i8[:, ::1], {_INT64}, {_INT64}, u1[::1], u1[::1], i8[::1])")
def pack_planes(
    heads: Any, codes: Any, odds: Any, head_out: Any, code_out: Any, bounds: Any
) -> int:
    """As ``pack_split``, as byte planes; ``bounds`` int64[9] is told where each of them begins.

    Returns the size of the first section.
    """
    at = np.int64(0)
    for s in range(len(heads)):
        count = heads[s, COUNT]
        heads[s, SHIFT] = heads[s, TABLE] = heads[s, ESCAPES] = heads[s, LOW] = 0
        if heads[s, SCHEME] >= _PLAIN:
            low = codes[at]
            for i in range(count):
                low = min(low, codes[at + i])
            everything = np.uint64(0)
            for i in range(count):
                everything |= np.uint64(codes[at + i] - low)
            while everything != 0:
                everything >>= np.uint64(8)
                heads[s, SHIFT] += 1
            heads[s, LOW] = low
        at += count
    place = 0
    for plane in range(8):
        bounds[plane] = place
        at = np.int64(0)
        for s in range(len(heads)):
            count = heads[s, COUNT]
            if heads[s, SHIFT] > plane:
                for i in range(count):
                    code = np.uint64(codes[at + i] - heads[s, LOW])
                    code_out[place + i] = np.uint8((code >> np.uint64(8 * plane)) & np.uint64(255))
                place += count
            at += count
    bounds[8] = place
    return int(_store_odds(heads, odds, head_out, _store_heads(heads, head_out, PLANES, 0, 0)))
