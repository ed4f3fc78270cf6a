"""Kernels that decode: frame bodies (see ``encode_kernels``) to samples.

The constants are those of ``encode_kernels``, written out again: a kernel is compiled for the text
of its own file.
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel, load_u64

_BYTES = "Array(u1, 1, 'C', True)"
_PIECES = "Array(i8, 2, 'C', True)"

_PREAMBLE, _HEAD, _ODD = 8, 32, 10
CONSTANT, RAW, PLAIN, DELTA, COUNTED = 0, 1, 2, 3, 4
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
def _locate(body: Any, planes: Any, odds: Any) -> Any:
    """Where each segment's planes and odd samples begin; False where the body can't be right."""
    size = len(body)
    segments = len(odds)
    at = _PREAMBLE + _HEAD * segments
    for s in range(segments):
        head = _PREAMBLE + _HEAD * s
        width = body[head + 2]
        if body[head + 1] >= len(_POWERS) or width > 8 or (body[head] == RAW and width < 8):
            return False
        odds[s] = at
        at += _ODD * int(_load(body, head + 6, 2))
    for plane in range(8):
        for s in range(segments):
            planes[s, plane] = at
            if body[_PREAMBLE + _HEAD * s + 2] > plane:
                at += int(_load(body, _PREAMBLE + _HEAD * s + 4, 2))
    return segments > 0 and at == size


@helper
def _residual(body: Any, planes: Any, s: Any, width: Any, i: Any) -> Any:
    residual = np.uint64(0)
    for plane in range(width):
        residual |= np.uint64(body[planes[s, plane] + i]) << np.uint64(8 * plane)
    return residual


@helper
def _decode_numbers(
    body: Any, planes: Any, s: Any, head: Any, skip: Any, take: Any, out: Any, out_at: Any
) -> None:
    """Integers ``skip`` up to ``skip + take`` of a PLAIN or DELTA segment."""
    scheme, width = body[head], np.int64(body[head + 2])
    base = np.int64(load_u64(body, head + 8))
    low = np.int64(load_u64(body, head + 16))
    factor = np.int64(load_u64(body, head + 24))
    first = planes[s, 0]
    second = planes[s, 1]
    if scheme == PLAIN:
        for i in range(take):
            out[out_at + i] = base + factor * np.int64(_residual(body, planes, s, width, skip + i))
        return
    step = low * factor
    total = base
    if width == 0:
        for i in range(take):
            out[out_at + i] = base + (skip + i) * step
        return
    if skip == 0 and take > 0:
        out[out_at] = total
    if width == 1:
        for i in range(1, skip):
            total += step + factor * np.int64(body[first + i])
        for i in range(max(1, skip), skip + take):
            total += step + factor * np.int64(body[first + i])
            out[out_at + i - skip] = total
    elif width == 2:
        for i in range(1, skip):
            total += step + factor * (
                np.int64(body[first + i]) | np.int64(body[second + i]) << np.int64(8)
            )
        for i in range(max(1, skip), skip + take):
            total += step + factor * (
                np.int64(body[first + i]) | np.int64(body[second + i]) << np.int64(8)
            )
            out[out_at + i - skip] = total
    else:
        for i in range(1, skip + take):
            total += step + factor * np.int64(_residual(body, planes, s, width, i))
            if i >= skip:
                out[out_at + i - skip] = total


@kernel(f"b1({_BYTES}, {_PIECES}, i8, i8, f8[::1])")
def decode_values(body: Any, pieces: Any, first: int, end: int, out: Any) -> bool:
    """Decodes the pieces *first* up to *end* of a frame body (see ``block_kernels``).

    ``pieces`` int64[5, n]: frame (not used here), slot, samples to skip, samples to take, place in
    *out*. Returns False where the body does not hold these samples.
    """
    segments = _segment_count(body)
    planes = np.empty((segments, 8), np.int64)
    odds = np.empty(segments, np.int64)
    if not _locate(body, planes, odds):
        return False
    bits = out.view(np.uint64)
    numbers = out.view(np.int64)
    for k in range(first, end):
        s, skip, take, place = pieces[1, k], pieces[2, k], pieces[3, k], pieces[4, k]
        head = _PREAMBLE + _HEAD * s
        if s >= segments or skip + take > np.int64(_load(body, head + 4, 2)):
            return False
        scheme = body[head]
        if scheme == CONSTANT:
            constant = load_u64(body, head + 8)
            for i in range(take):
                bits[place + i] = constant
        elif scheme == RAW:
            for i in range(take):
                bits[place + i] = _residual(body, planes, s, 8, skip + i)
        elif scheme <= DELTA:
            _decode_numbers(body, planes, s, head, skip, take, numbers, place)
            if body[head + 1] == 0:
                for i in range(take):
                    out[place + i] = np.float64(numbers[place + i])
            else:
                power = _POWERS[body[head + 1]]
                for i in range(take):
                    out[place + i] = np.float64(numbers[place + i]) / power
            for odd in range(int(_load(body, head + 6, 2))):
                at = int(_load(body, odds[s] + _ODD * odd, 2)) - skip
                if 0 <= at < take:
                    bits[place + at] = _load(body, odds[s] + _ODD * odd + 2, 8)
        elif scheme == COUNTED:
            counted = load_u64(body, head + 8) + np.uint64(skip)
            for i in range(take):
                bits[place + i] = counted + np.uint64(i)
        else:
            return False
    return True


@kernel(f"b1({_BYTES}, {_PIECES}, i8, i8, i8[::1])")
def decode_times(body: Any, pieces: Any, first: int, end: int, out: Any) -> bool:
    """As ``decode_values``, of whole segments of int64 numbers, written by ``encode_times``."""
    segments = _segment_count(body)
    planes = np.empty((segments, 8), np.int64)
    odds = np.empty(segments, np.int64)
    if not _locate(body, planes, odds):
        return False
    for k in range(first, end):
        head = _PREAMBLE + _HEAD * pieces[1, k]
        count = pieces[3, k]
        if pieces[1, k] >= segments or count != np.int64(_load(body, head + 4, 2)):
            return False
        _decode_numbers(body, planes, pieces[1, k], head, 0, count, out, pieces[4, k])
    return True
