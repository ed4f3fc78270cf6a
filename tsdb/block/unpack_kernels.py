"""Kernels that decode, part one: the sections of a frame (see ``pack_kernels``) to a frame body.

A body is what is kept in memory. It serves any part of any segment at the speed of memory::

    count   u32 of segments, u32 the size of the body
    heads   40 bytes a segment: scheme u8, exponent u8, width u8, zero u8, count u16, odd u16,
            base, low, factor (8 bytes each), u32 each where its steps and its odd samples begin
    odd     10 bytes (position u16, bits u64) a sample that its segment's scheme can't hold
    steps   of each segment, above its ``low``, ``width`` bytes each: 0, 1, 2, 4 or 8; each
            segment's begin at a multiple of 8

The constants are those of ``pack_kernels``, written out again: a kernel is compiled for the text of
its own file.
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel, load_u64, pointer

_BYTES = "Array(u1, 1, 'C', True)"
SCHEME, EXPONENT, SHIFT, TABLE, COUNT, ODD, ESCAPES, LEANS, BASE, LOW, SLOPE, FACTOR = range(12)
_HEAD_FIELDS = 12
SPARE_BYTES = 16
"""So many bytes must follow the codes, because they are read eight at a time."""
_PLAIN, _DELTA = 2, 3
_SPLIT, _PLANES = 0, 1
_FIELD_BYTES = (1, 1, 1, 1, 2, 2, 2, 2, 8, 8, 8, 8)
_PREAMBLE_BYTES, _HEAD_BYTES, _TABLE_BYTES, _ODD_BYTES, _STATES_BYTES = 12, 44, 8, 10, 16
_SYMBOLS, _ESCAPE = 16, 15
_MAX_EXPONENT, _BITS = 22, 255
_MOST_TABLES, _MAX_SHIFT = 32, 56
_SCALE, _MASK = 1024, np.uint64(1023)
_SYMBOL = np.uint64(15)
_MIN_STATE = np.uint64(1 << 16)
_SLOPE_BITS = np.int64(10)
_MAX_SAMPLES = 1 << 22
"""A frame holds at most some 65,536 numbers; bytes that claim more than this are damaged."""
_BODY_PREAMBLE, _BODY_HEAD = 8, 40


@helper
def _load(data: Any, at: Any, size: Any) -> Any:
    number = np.uint64(0)
    for i in range(size):
        number |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return number


@helper
def _store(out: Any, at: Any, number: Any, size: Any) -> None:
    for i in range(size):
        out[at + i] = np.uint8((np.uint64(number) >> np.uint64(8 * i)) & np.uint64(255))


@helper
def _load_heads(data: Any, heads: Any) -> None:
    segments = len(heads)
    heads[:] = 0
    at = _PREAMBLE_BYTES
    for field in range(_HEAD_FIELDS):
        for k in range(_FIELD_BYTES[field]):
            for s in range(segments):
                heads[s, field] |= np.int64(data[at + s]) << (8 * k)
            at += segments


@helper
def _are_sound(heads: Any, tables: Any, coding: Any) -> Any:
    """Whether each head by itself can be one."""
    for s in range(len(heads)):
        count = heads[s, COUNT]
        sound = count > 0 and heads[s, SCHEME] <= _DELTA and heads[s, TABLE] <= tables
        sound &= heads[s, SHIFT] <= (_MAX_SHIFT if coding == _SPLIT else 8)
        sound &= heads[s, EXPONENT] <= _MAX_EXPONENT or heads[s, EXPONENT] == _BITS
        sound &= heads[s, ODD] <= count and heads[s, ESCAPES] <= count
        if heads[s, LEANS] != 0:
            sound &= s > 0 and heads[s - 1, COUNT] == count
        if not sound:
            return False
    return True


@helper
def _load_shares(data: Any, at: Any, shares: Any) -> Any:
    """Fills ``shares`` int64[16], of 1024, from a table; False where it has no symbols."""
    for symbol in range(_SYMBOLS):
        weight = (np.int64(data[at + symbol // 2]) >> (4 * (symbol % 2))) & 15
        shares[symbol] = weight * weight
    total = shares.sum()
    most = shares.argmax()
    for symbol in range(_SYMBOLS):
        if shares[symbol] > 0:
            shares[symbol] = max(1, _SCALE * shares[symbol] // total)
    shares[most] += _SCALE - shares.sum()
    return total > 0


@helper
def _build_tables(data: Any, at: Any, entries: Any) -> Any:
    """``entries``: for each of 1024 slots of each table, share << 14 | place << 4 | symbol."""
    shares = np.empty(_SYMBOLS, np.int64)
    slot = 0
    while slot < len(entries):
        if not _load_shares(data, at, shares):
            return False
        for symbol in range(_SYMBOLS):
            share = shares[symbol]
            entry = np.uint32(share << 14 | symbol)
            slots = entries[slot : slot + share]
            for place in range(share):
                slots[place] = entry | np.uint32(place << 4)
            slot += share
        at += _TABLE_BYTES
    return True


@helper
def _next(entries: Any, state: Any, words: Any, at: Any) -> Any:
    """(symbol, state, where the words go on): a state that falls low takes up a word."""
    entry = np.uint64(entries[state & _MASK])
    state = (entry >> np.uint64(14)) * (state >> np.uint64(10)) + ((entry >> np.uint64(4)) & _MASK)
    word = np.uint64(words[at])
    symbol = np.uint8(entry & _SYMBOL)
    if state < _MIN_STATE:
        return symbol, state << np.uint64(16) | word, at + np.uint64(1)
    return symbol, state, at


@helper
def _decode_symbols(words: Any, at: Any, end: Any, states: Any, entries: Any, out: Any) -> Any:
    """Fills *out* with one segment's symbols; returns where the words go on.

    *words* are uint16, 4 of them to spare behind *end*; beyond *end* the answer is nonsense.
    """
    a, b, c, d = states[0], states[1], states[2], states[3]
    for i in range(0, len(out) // 4 * 4, 4):
        out[i], a, at = _next(entries, a, words, at)
        out[i + 1], b, at = _next(entries, b, words, at)
        out[i + 2], c, at = _next(entries, c, words, at)
        out[i + 3], d, at = _next(entries, d, words, at)
        at = min(at, end)
    states[0], states[1], states[2], states[3] = a, b, c, d
    for i in range(len(out) // 4 * 4, len(out)):
        out[i], states[i & 3], at = _next(entries, states[i & 3], words, at)
        at = min(at, end)
    return at


@helper
def _add_raw(data: Any, bit: Any, shift: Any, symbols: Any, out: Any) -> None:
    """``out[i] = symbols[i] << shift | raw``, the raw bits from *bit* of the ``pointer`` data on.

    There must be ``SPARE_BYTES`` behind them.
    """
    step = np.uint64(shift)
    mask = (np.uint64(1) << step) - np.uint64(1)
    if shift == 0:
        for i in range(len(out)):
            out[i] = np.int64(symbols[i])
        return
    for i in range(len(out)):
        word = load_u64(data, np.int64(bit >> np.uint64(3))) >> (bit & np.uint64(7))
        out[i] = np.int64(np.uint64(symbols[i]) << step | (word & mask))
        bit += step


@helper
def _add_escapes(data: Any, at: Any, shift: Any, symbols: Any, out: Any) -> Any:
    """Replaces the codes of escapes; returns (how many, where they end), -1 where cut short."""
    found = np.int64(0)
    mask = (np.int64(1) << shift) - 1
    for i in range(len(out)):
        if symbols[i] == _ESCAPE:
            number = np.uint64(0)
            bits = np.uint64(0)
            while at < len(data) and data[at] >= 128 and bits < 63:
                number |= np.uint64(data[at] & 127) << bits
                bits += np.uint64(7)
                at += 1
            if at >= len(data) or data[at] >= 128:
                return np.int64(-1), at
            number |= np.uint64(data[at]) << bits
            at += 1
            top = np.int64(number >> np.uint64(1)) ^ -np.int64(number & np.uint64(1))
            out[i] = top << shift | (out[i] & mask)
            found += 1
    return found, at


@helper
def _to_steps(heads: Any, s: Any, steps: Any, before: Any) -> None:
    """Codes to steps, in place; *before* are those of the segment before."""
    low, slope = heads[s, LOW], heads[s, SLOPE]
    for i in range(len(steps)):
        steps[i] += low + ((slope * i) >> _SLOPE_BITS)
    if heads[s, LEANS] != 0:
        for i in range(len(steps)):
            steps[i] += before[i]
    if heads[s, SCHEME] == _DELTA:
        steps[0] = 0


@helper
def _decode_split(
    heads: Any, head_data: Any, at: Any, tables: Any, words: Any, data: Any, steps: Any
) -> Any:
    """Fills ``steps`` with those of all segments; False where the sections can't be right.

    *at* is where the tables begin in the heads, *data* the codes.
    """
    entries = np.empty(_SCALE * tables, np.uint32)
    if not _build_tables(head_data, at, entries):
        return False
    at += _TABLE_BYTES * tables
    most = np.int64(0)
    raw_bytes = np.int64(0)
    for s in range(len(heads)):
        at += _ODD_BYTES * heads[s, ODD]
        most = max(most, heads[s, COUNT])
        if heads[s, SCHEME] >= _PLAIN:
            raw_bytes += (heads[s, SHIFT] * heads[s, COUNT] + 7) // 8
    raw_at = (_STATES_BYTES if tables > 0 else 0) + 2 * words
    if at > len(head_data) or raw_at + raw_bytes + SPARE_BYTES != len(data):
        return False
    raw = pointer(data)
    all_words = data[: len(data) // 2 * 2].view(np.uint16)
    word_at = np.uint64(_STATES_BYTES // 2 if tables > 0 else 0)
    end = np.uint64(raw_at // 2)
    symbols = np.zeros(most, np.uint8)
    states = np.empty(4, np.uint64)
    for k in range(4):
        states[k] = _load(data, 4 * k, 4)
    place = np.int64(0)
    before = steps[:0]
    for s in range(len(heads)):
        count, shift, table = heads[s, COUNT], heads[s, SHIFT], heads[s, TABLE]
        own = steps[place : place + count]
        tops = symbols[:count]
        if heads[s, SCHEME] < _PLAIN:
            own[:] = 0
        else:
            if table > 0:
                slots = entries[_SCALE * (table - 1) : _SCALE * table]
                word_at = _decode_symbols(all_words, word_at, end, states, slots, tops)
            else:
                tops[:] = 0
            _add_raw(raw, np.uint64(8 * raw_at), shift, tops, own)
            raw_at += (shift * count + 7) // 8
            if heads[s, ESCAPES] > 0:
                found, at = _add_escapes(head_data, at, shift, tops, own)
                if found != heads[s, ESCAPES]:
                    return False
            _to_steps(heads, s, own, before)
        before = own
        place += count
    if tables > 0 and (word_at != end or not (states == _MIN_STATE).all()):
        return False
    return at == len(head_data)


@helper
def _decode_planes(heads: Any, head_data: Any, at: Any, data: Any, steps: Any) -> Any:
    total = np.int64(0)
    for s in range(len(heads)):
        at += _ODD_BYTES * heads[s, ODD]
        total += heads[s, SHIFT] * heads[s, COUNT]
    if at != len(head_data) or total + SPARE_BYTES != len(data):
        return False
    steps[:] = 0
    at = np.int64(0)
    for plane in range(8):
        place = np.int64(0)
        for s in range(len(heads)):
            count = heads[s, COUNT]
            if heads[s, SHIFT] > plane:
                own = steps[place : place + count]
                part = data[at : at + count]
                for i in range(count):
                    own[i] |= np.int64(part[i]) << (8 * plane)
                at += count
            place += count
    place = np.int64(0)
    before = steps[:0]
    for s in range(len(heads)):
        own = steps[place : place + heads[s, COUNT]]
        if heads[s, SCHEME] >= _PLAIN:
            _to_steps(heads, s, own, before)
        before = own
        place += heads[s, COUNT]
    return True


@helper
def _padded(size: Any) -> Any:
    return (size + 7) // 8 * 8


@helper
def _width(steps: Any) -> Any:
    """(least step, bytes that the steps above it take)."""
    low = high = steps[0]
    for i in range(len(steps)):
        low = min(low, steps[i])
        high = max(high, steps[i])
    span = np.uint64(high) - np.uint64(low)
    width = 1 if span > 0 else 0
    while 0 < width < 8 and span >> np.uint64(8 * width) > 0:
        width *= 2
    return low, width


@helper
def _fill(out: Any, steps: Any, low: Any) -> None:
    for i in range(len(steps)):
        out[i] = steps[i] - low


@helper
def _store_steps(steps: Any, low: Any, width: Any, out: Any) -> None:
    if width == 1:
        _fill(out, steps, low)
    elif width == 2:
        _fill(out.view(np.uint16), steps, low)
    elif width == 4:
        _fill(out.view(np.uint32), steps, low)
    elif width == 8:
        _fill(out.view(np.int64), steps, low)


@helper
def _body(heads: Any, odd_data: Any, odd_at: Any, steps: Any) -> Any:
    segments = len(heads)
    lows = np.zeros(segments, np.int64)
    widths = np.zeros(segments, np.int64)
    odd_bytes = size = at = np.int64(0)
    for s in range(segments):
        if heads[s, SCHEME] >= _PLAIN:
            if heads[s, SCHEME] == _DELTA and heads[s, COUNT] > 1:
                steps[at] = steps[at + 1]
            lows[s], widths[s] = _width(steps[at : at + heads[s, COUNT]])
        odd_bytes += _ODD_BYTES * heads[s, ODD]
        size += _padded(widths[s] * heads[s, COUNT])
        at += heads[s, COUNT]
    place = odd_place = _BODY_PREAMBLE + _BODY_HEAD * segments
    body = np.empty(place + _padded(odd_bytes) + size, np.uint8)
    _store(body, 0, segments | len(body) << 32, 8)
    for s in range(segments):
        head = _BODY_PREAMBLE + _BODY_HEAD * s
        _store(body, head, heads[s, SCHEME] | heads[s, EXPONENT] << 8 | widths[s] << 16, 4)
        _store(body, head + 4, heads[s, COUNT] | heads[s, ODD] << 16, 4)
        _store(body, head + 8, heads[s, BASE], 8)
        _store(body, head + 16, lows[s], 8)
        _store(body, head + 24, heads[s, FACTOR], 8)
    body[place : place + odd_bytes] = odd_data[odd_at : odd_at + odd_bytes]
    place += _padded(odd_bytes)
    at = np.int64(0)
    for s in range(segments):
        size = widths[s] * heads[s, COUNT]
        own = steps[at : at + heads[s, COUNT]]
        _store(body, _BODY_PREAMBLE + _BODY_HEAD * s + 32, place | odd_place << 32, 8)
        _store_steps(own, lows[s], widths[s], body[place : place + size])
        odd_place += _ODD_BYTES * heads[s, ODD]
        place += _padded(size)
        at += heads[s, COUNT]
    return body


@kernel(f"u1[::1]({_BYTES}, {_BYTES})")
def unpack(head_data: Any, code_data: Any) -> Any:
    """The body from heads and codes of a frame; empty where no encoder can have written them.

    ``code_data`` are the codes and ``SPARE_BYTES`` more.
    """
    nothing = np.empty(0, np.uint8)
    if len(head_data) < _PREAMBLE_BYTES or len(code_data) < SPARE_BYTES:
        return nothing
    segments = np.int64(_load(head_data, 0, 4))
    tables = np.int64(_load(head_data, 4, 2))
    coding = np.int64(_load(head_data, 6, 2))
    words = np.int64(_load(head_data, 8, 4))
    at = _PREAMBLE_BYTES + _HEAD_BYTES * segments
    if at + _TABLE_BYTES * tables > len(head_data) or segments == 0:
        return nothing
    if coding > _PLANES or tables > (_MOST_TABLES if coding == _SPLIT else 0):
        return nothing
    heads = np.empty((segments, _HEAD_FIELDS), np.int64)
    _load_heads(head_data, heads)
    if not _are_sound(heads, tables, coding):
        return nothing
    total = heads[:, COUNT].sum()
    if total > _MAX_SAMPLES:
        return nothing
    steps = np.empty(total, np.int64)
    if coding == _SPLIT:
        fits = _decode_split(heads, head_data, at, tables, words, code_data, steps)
    else:
        fits = _decode_planes(heads, head_data, at, code_data, steps)
    return _body(heads, head_data, at + _TABLE_BYTES * tables, steps) if fits else nothing
