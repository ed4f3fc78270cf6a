"""Kernels that decode, part two: frame bodies (see ``unpack_kernels``) to samples.

The constants are those of ``unpack_kernels``, written out again: a kernel is compiled for the text
of its own file.
"""

from typing import Any

import numpy as np

from series.jit import bytes_at, helper, kernel, load_u64

_PIECES = "Array(i8, 2, 'C', True)"
_BOUNDS = "Array(i8, 1, 'C', True)"

_PREAMBLE, _HEAD, _ODD = 8, 32, 10
CONSTANT, COUNTED, PLAIN, DELTA = 0, 1, 2, 3
_BITS = 255
_POWERS = np.array([10.0**e for e in range(23)])


@helper
def _load(data: Any, at: Any, size: Any) -> Any:
    number = np.uint64(0)
    for i in range(size):
        number |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return number


@helper
def _segment_count(body: Any) -> Any:
    """How many segments the body holds; 0 where it is too short to hold them."""
    if len(body) < _PREAMBLE:
        return np.int64(0)
    segments = np.int64(_load(body, 0, 4))
    return segments if _PREAMBLE + _HEAD * segments <= len(body) else np.int64(0)


@helper
def _locate(body: Any, places: Any, odds: Any) -> Any:
    """Where each segment's steps and odd samples begin; False where the body can't be right."""
    segments = len(odds)
    at: Any = _PREAMBLE + _HEAD * segments
    for s in range(segments):
        odds[s] = at
        at += _ODD * np.int64(_load(body, _PREAMBLE + _HEAD * s + 6, 2))
    at = (at + 7) // 8 * 8
    for s in range(segments):
        head = _PREAMBLE + _HEAD * s
        places[s] = at
        at += (body[head + 2] * np.int64(_load(body, head + 4, 2)) + 7) // 8 * 8
    return segments > 0 and at == len(body)


@helper
def _add_up(steps: Any, skip: Any, base: Any, low: Any, factor: Any, out: Any) -> None:
    """The running sum of a segment's first number, *base*, and the steps behind it."""
    passed = np.int64(0)
    for step in steps[1 : skip + 1]:
        passed += np.int64(step)
    total = base + low * skip + factor * passed
    out[0] = total
    rest, steps = out[1:], steps[skip + 1 :]
    if factor == 1:
        for i in range(len(rest)):
            total += low + np.int64(steps[i])
            rest[i] = total
        return
    for i in range(len(rest)):
        total += low + factor * np.int64(steps[i])
        rest[i] = total


@helper
def _lift(steps: Any, skip: Any, low: Any, factor: Any, out: Any) -> None:
    steps = steps[skip:]
    for i in range(len(out)):
        out[i] = low + factor * np.int64(steps[i])


@helper
def _decode_numbers(body: Any, place: Any, head: Any, skip: Any, out: Any) -> None:
    """Integers ``skip`` up to ``skip + len(out)`` of a PLAIN or DELTA segment; some, at least."""
    width = body[head + 2]
    end = place + width * (skip + len(out))
    base = np.int64(load_u64(body, head + 8))
    factor = np.int64(load_u64(body, head + 24))
    low = np.int64(load_u64(body, head + 16)) * factor
    if body[head] == PLAIN:
        low += base
        if width == 0:
            out[:] = low
        elif width == 1:
            _lift(body[place:end], skip, low, factor, out)
        elif width == 2:
            _lift(body[place:end].view(np.uint16), skip, low, factor, out)
        elif width == 4:
            _lift(body[place:end].view(np.uint32), skip, low, factor, out)
        else:
            _lift(body[place:end].view(np.uint64), skip, low, factor, out)
    elif width == 0:
        for i in range(len(out)):
            out[i] = base + (skip + i) * low
    elif width == 1:
        _add_up(body[place:end], skip, base, low, factor, out)
    elif width == 2:
        _add_up(body[place:end].view(np.uint16), skip, base, low, factor, out)
    elif width == 4:
        _add_up(body[place:end].view(np.uint32), skip, base, low, factor, out)
    else:
        _add_up(body[place:end].view(np.uint64), skip, base, low, factor, out)


@helper
def _values(body: Any, pieces: Any, first: Any, end: Any, out: Any) -> Any:
    """Decodes the pieces of one body; False where it does not hold these samples."""
    segments = _segment_count(body)
    places = np.empty(segments, np.int64)
    odds = np.empty(segments, np.int64)
    if not _locate(body, places, odds):
        return False
    bits = out.view(np.uint64)
    numbers = out.view(np.int64)
    for k in range(first, end):
        s, skip, take, place = pieces[1, k], pieces[2, k], pieces[3, k], pieces[4, k]
        head = _PREAMBLE + _HEAD * s
        if s >= segments or skip + take > np.int64(_load(body, head + 4, 2)):
            return False
        if take <= 0:
            continue
        scheme, exponent = body[head], body[head + 1]
        base = load_u64(body, head + 8)
        if scheme == CONSTANT:
            bits[place : place + take] = base
        elif scheme == COUNTED:
            for i in range(take):
                bits[place + i] = base + np.uint64(skip + i)
        else:
            integers, floats = numbers[place : place + take], out[place : place + take]
            _decode_numbers(body, places[s], head, skip, integers)
            if exponent == 0:
                for i in range(take):
                    floats[i] = np.float64(integers[i])
            elif exponent != _BITS:
                power = _POWERS[exponent]
                for i in range(take):
                    floats[i] = np.float64(integers[i]) / power
            for odd in range(np.int64(_load(body, head + 6, 2))):
                at = np.int64(_load(body, odds[s] + _ODD * odd, 2)) - skip
                if 0 <= at < take:
                    bits[place + at] = _load(body, odds[s] + _ODD * odd + 2, 8)
    return True


@kernel(f"i8({_PIECES}, {_PIECES}, {_BOUNDS}, f8[::1])")
def decode_values(bodies: Any, pieces: Any, runs: Any, out: Any) -> int:
    """Decodes pieces (see ``block_kernels``) of frame bodies.

    ``bodies`` int64[B, 2 or more]: address and size of each; of body b are the pieces ``runs[b]``
    up to ``runs[b + 1]``. ``pieces`` int64[5, n]: frame (not used here), slot, samples to skip,
    samples to take, place in *out*. Returns how many bodies are done: not all where one does not
    hold these samples. All in one call, since each lets go of the interpreter and waits for it.
    """
    count = len(runs) - 1
    for b in range(count):
        body = bytes_at(bodies[b, 0], bodies[b, 1])
        if not _values(body, pieces, runs[b], runs[b + 1], out):
            return b
    return count


@helper
def _times(body: Any, pieces: Any, first: Any, end: Any, out: Any) -> Any:
    segments = _segment_count(body)
    places = np.empty(segments, np.int64)
    odds = np.empty(segments, np.int64)
    if not _locate(body, places, odds):
        return False
    for k in range(first, end):
        s, count = pieces[1, k], pieces[3, k]
        head = _PREAMBLE + _HEAD * s
        if s >= segments or count != np.int64(_load(body, head + 4, 2)) or body[head] < PLAIN:
            return False
        _decode_numbers(body, places[s], head, 0, out[pieces[4, k] : pieces[4, k] + count])
    return True


@kernel(f"i8({_PIECES}, {_PIECES}, {_BOUNDS}, i8[::1])")
def decode_times(bodies: Any, pieces: Any, runs: Any, out: Any) -> int:
    """As ``decode_values``, of whole segments of int64 numbers, packed as times."""
    count = len(runs) - 1
    for b in range(count):
        body = bytes_at(bodies[b, 0], bodies[b, 1])
        if not _times(body, pieces, runs[b], runs[b + 1], out):
            return b
    return count
