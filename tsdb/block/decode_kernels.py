"""Kernels that decode, part two: frame bodies (see ``unpack_kernels``) to samples.

The constants are those of ``unpack_kernels``, written out again: a kernel is compiled for the text
of its own file.
"""

from typing import Any

import numpy as np

from series.jit import bytes_at, helper, kernel, load_u64, prefetch

_PIECES = "Array(i8, 2, 'C', True)"
_BOUNDS = "Array(i8, 1, 'C', True)"

_PREAMBLE, _HEAD, _ODD = 8, 40, 10
CONSTANT, COUNTED, PLAIN, DELTA = 0, 1, 2, 3
_BITS = 255
_POWERS = np.array([10.0**e for e in range(23)])
_HALF, _SHORT, _BYTE = np.uint64(0xFFFF_FFFF), np.uint64(0xFFFF), np.uint64(0xFF)
_FAR, _NEAR = 8, 4
"""So many bodies before its turn the head and then the steps of one begin to be loaded: those of a
narrow read lie apart, and in caches that went cold waiting for each takes longer than all else."""


@helper
def _segment_count(body: Any) -> Any:
    """How many segments the body holds; 0 where it is not whole."""
    if len(body) < _PREAMBLE:
        return np.int64(0)
    start = load_u64(body, 0)
    return np.int64(start & _HALF) if np.int64(start >> np.uint64(32)) == len(body) else np.int64(0)


@helper
def _head_of(body: Any, s: Any) -> Any:
    """(where the head of segment s stands, scheme, exponent, samples, odd samples)."""
    head = _PREAMBLE + _HEAD * s
    word = load_u64(body, head)
    scheme, exponent = word & _BYTE, (word >> np.uint64(8)) & _BYTE
    count, odd = (word >> np.uint64(32)) & _SHORT, word >> np.uint64(48)
    return head, np.int64(scheme), np.int64(exponent), np.int64(count), np.int64(odd)


@helper
def _places_of(body: Any, head: Any) -> Any:
    """Where the steps and the odd samples of the segment begin whose head stands there."""
    word = load_u64(body, head + 32)
    return np.int64(word & _HALF), np.int64(word >> np.uint64(32))


@helper
def _foresee(bodies: Any, pieces: Any, runs: Any, b: Any) -> None:
    """Begins to load what will be asked of the bodies behind body b."""
    far, near = b + _FAR, b + _NEAR
    if far < len(runs) - 1:
        body = bytes_at(bodies[far, 0], bodies[far, 1])
        prefetch(body, 0)
        prefetch(body, _PREAMBLE + _HEAD * pieces[1, runs[far]])
    if 0 <= near < len(runs) - 1:
        body = bytes_at(bodies[near, 0], bodies[near, 1])
        s = pieces[1, runs[near]]
        if s < _segment_count(body):
            place, _ = _places_of(body, _PREAMBLE + _HEAD * s)
            for line in range(4):
                prefetch(body, place + 64 * line)


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
def _values(body: Any, pieces: Any, first: Any, end: Any, moves: Any, out: Any) -> Any:
    """Decodes the pieces of one body; False where it does not hold these samples."""
    segments = _segment_count(body)
    bits = out.view(np.uint64)
    numbers = out.view(np.int64)
    for k in range(first, end):
        s, skip, take, place = pieces[1, k], pieces[2, k], pieces[3, k], pieces[4, k]
        if s >= segments:
            return False
        head, scheme, exponent, count, odd = _head_of(body, s)
        if skip + take > count:
            return False
        if take <= 0:
            continue
        if len(moves) > 0:
            place += moves[pieces[5, k]]
        base = load_u64(body, head + 8)
        if scheme == CONSTANT:
            bits[place : place + take] = base
        elif scheme == COUNTED:
            for i in range(take):
                bits[place + i] = base + np.uint64(skip + i)
        else:
            integers, floats = numbers[place : place + take], out[place : place + take]
            steps, odds = _places_of(body, head)
            _decode_numbers(body, steps, head, skip, integers)
            if exponent == 0:
                for i in range(take):
                    floats[i] = np.float64(integers[i])
            elif exponent != _BITS:
                power = _POWERS[exponent]
                for i in range(take):
                    floats[i] = np.float64(integers[i]) / power
            for at in range(odds, odds + _ODD * odd, _ODD):
                i = np.int64(load_u64(body, at) & _SHORT) - skip
                if 0 <= i < take:
                    bits[place + i] = load_u64(body, at + 2)
    return True


@kernel(f"i8({_PIECES}, {_PIECES}, {_BOUNDS}, {_BOUNDS}, f8[::1])")
def decode_values(bodies: Any, pieces: Any, runs: Any, moves: Any, out: Any) -> int:
    """Decodes pieces (see ``block_kernels``) of frame bodies.

    ``bodies`` int64[B, 2 or more]: address and size of each; of body b are the pieces ``runs[b]``
    up to ``runs[b + 1]``. ``pieces`` int64[5 or 6, n]: frame (not used here), slot, samples to
    skip, samples to take, place in *out*, row; where there are *moves* (int64[rows], else none) the
    place moves by ``moves[row]``. Returns how many bodies are done: not all where one does not hold
    these samples. All in one call, since each lets go of the interpreter and waits for it.
    """
    count = len(runs) - 1
    for b in range(-_FAR, count):
        _foresee(bodies, pieces, runs, b)
        if b < 0:
            continue
        body = bytes_at(bodies[b, 0], bodies[b, 1])
        if not _values(body, pieces, runs[b], runs[b + 1], moves, out):
            return b
    return count


@helper
def _times(body: Any, pieces: Any, first: Any, end: Any, out: Any) -> Any:
    segments = _segment_count(body)
    for k in range(first, end):
        s, take = pieces[1, k], pieces[3, k]
        if s >= segments:
            return False
        head, scheme, _, count, _ = _head_of(body, s)
        if take != count or scheme < PLAIN:
            return False
        steps, _ = _places_of(body, head)
        _decode_numbers(body, steps, head, 0, out[pieces[4, k] : pieces[4, k] + count])
    return True


@kernel(f"i8({_PIECES}, {_PIECES}, {_BOUNDS}, {_BOUNDS}, i8[::1])")
def decode_times(bodies: Any, pieces: Any, runs: Any, moves: Any, out: Any) -> int:
    """As ``decode_values``, of whole segments of int64 numbers, packed as times; none moves."""
    count = len(runs) - 1
    for b in range(count):
        body = bytes_at(bodies[b, 0], bodies[b, 1])
        if not _times(body, pieces, runs[b], runs[b + 1], out):
            return b
    return count
