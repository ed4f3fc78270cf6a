"""Kernel over windows of samples: quantiles, and medians of distances from the median.

Windows are given as in ``rollup_kernels``. They slide over samples that are sorted once for a run
of windows: a window is a set of bits, one for each place in that order, and a cursor stays at the
word of bits in which its quantile was last. A step so takes a time that does not depend on how
many samples the window holds. -0 and 0 are equal, and stay in the order of their times.
"""

import math

import numpy as np
from numpy.typing import NDArray

from promql.kernel_helpers import longest_row
from series.jit import helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
U8 = NDArray[np.uint64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]

_RUN = 2_048
"""Samples that windows sorted together span, unless four of the first window are more."""

_FEW, _SOME = 8, 32
"""Samples up to which a window is quicker sorted by itself: if others overlap it, and if none."""


@helper
def _run(lows: I4, highs: I4, column: int, k: int) -> int:
    """Where the windows from step *k* on that overlap and are worth sorting together end."""
    low, end = lows[column, k], highs[column, k]
    reach = low + max(_RUN, 4 * (end - low))
    stop = k + 1
    if end - low <= _FEW:
        return stop
    while stop < lows.shape[1] and lows[column, stop] < end and highs[column, stop] <= reach:
        end = highs[column, stop]
        stop += 1
    return stop


@helper
def _insert(ordered: F8, values: F8, start: int, end: int) -> int:
    """Puts the few numbers of ``values[start:end]`` in order into *ordered*; how many."""
    size = 0
    for i in range(start, end):
        value = values[i]
        if value != value:
            continue
        j = size
        while j > 0 and ordered[j - 1] > value:
            ordered[j] = ordered[j - 1]
            j -= 1
        ordered[j] = value
        size += 1
    return size


@helper
def _by_byte(keys: U8, order: I4, spare: I4, counts: I4, size: int, shift: int) -> None:
    """Sorts ``order[:size]`` by the byte of their keys above *shift*; equal ones stay in order."""
    counts[:] = 0
    for i in range(size):
        counts[(keys[order[i]] >> np.uint64(shift)) & np.uint64(255)] += 1
    place = 0
    for byte in range(256):
        count = counts[byte]
        counts[byte] = place
        place += count
    for i in range(size):
        at = order[i]
        byte = (keys[at] >> np.uint64(shift)) & np.uint64(255)
        spare[counts[byte]] = at
        counts[byte] += 1
    order[:size] = spare[:size]


@helper
def _settled(values: F8, start: int, order: I4, size: int) -> bool:
    """Sorts ``order[:size]`` by their values if little is out of place, else gives up."""
    moves = 128 + size
    for i in range(1, size):
        at = order[i]
        value = values[start + at]
        j = i
        while j > 0 and values[start + order[j - 1]] > value:
            order[j] = order[j - 1]
            j -= 1
        order[j] = at
        moves -= i - j
        if moves < 0:
            return False
    return True


@helper
def _keys(keys: U8, values: F8, start: int, order: I4, size: int) -> int:
    """Numbers from 0 in the order of the values at ``order[:size]``; the bits of the largest."""
    numbers = keys.view(np.float64)
    least, most = ~np.uint64(0), np.uint64(0)
    for i in range(size):
        at = order[i]
        numbers[at] = values[start + at] + 0.0  # no -0, which equals 0
        negative = keys[at] >> np.uint64(63)
        keys[at] ^= (~negative + np.uint64(1)) | np.uint64(1 << 63)
        least, most = min(least, keys[at]), max(most, keys[at])
    for i in range(size):
        keys[order[i]] -= least
    bits = 0
    while bits < 64 and (most - least) >> np.uint64(bits):
        bits += 1
    return bits


@helper
def _sort(values: F8, start: int, end: int, order: I4, spare: I4, keys: U8, counts: I4) -> int:
    """Puts the places in ``values[start:end]`` of its numbers in their order; how many.

    The leading 24 bits of those in which they differ nearly always suffice. Equal ones stay as
    they are.
    """
    size = 0
    for i in range(end - start):
        order[size] = i
        size += values[start + i] == values[start + i]
    if not _settled(values, start, order, size):
        bits = _keys(keys, values, start, order, size)
        for shift in range(max(0, bits - 24), bits, 8):
            _by_byte(keys, order, spare, counts, size, shift)
        if not _settled(values, start, order, size):
            for shift in range(0, bits, 8):
                _by_byte(keys, order, spare, counts, size, shift)
    return size


@helper
def _bits_set(word: np.uint64) -> int:
    """How many bits of an unsigned *word* are set, in the form compilers know."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    twos = np.uint64(0x3333333333333333)
    word = (word & twos) + ((word >> np.uint64(2)) & twos)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int(np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56)))


@helper
def _lowest(word: np.uint64) -> int:
    """The place of the lowest bit set in *word*, which is not 0."""
    return _bits_set((word & (~word + np.uint64(1))) - np.uint64(1))


@helper
def _wanted(q: float, size: int, nans: int) -> tuple[int, float]:
    """Which of *size* sorted numbers is below the *q* quantile, and the weight of the next one.

    As many NaN as *nans* come before the numbers. Where the quantile takes none of the numbers,
    it is given itself in place of the weight, with -1.
    """
    count = size + nans
    if count == 0 or q != q:
        return -1, np.nan
    if q < 0.0:
        return -1, -np.inf
    if q > 1.0:
        return -1, np.inf
    rank = q * (count - 1.0)
    lower = int(max(0.0, math.floor(rank))) - nans
    if lower < 0:
        return -1, np.nan
    return lower, rank - math.floor(rank)


@helper
def _between(under: float, over: float, weight: float) -> float:
    return under * (1.0 - weight) + over * weight


@helper
def _gather(numbers: F8, members: U8, ordered: F8, size: int) -> None:
    """Puts the *size* members into *numbers*, in order."""
    filled = word = 0
    while filled < size:
        left = members[word]
        while left:
            numbers[filled] = ordered[word * 64 + _lowest(left)]
            left &= left - np.uint64(1)
            filled += 1
        word += 1


@helper
def _median_distance(numbers: F8, size: int, nans: int, median: float) -> float:
    """The median distance of *numbers* and NaN from their median; the numbers are written over."""
    if nans > 0 or median != median:
        return np.nan
    for i in range(size):
        numbers[i] = abs(numbers[i] - median)
    distances = np.sort(numbers[:size])
    lower, weight = _wanted(0.5, size, 0)
    return _between(distances[lower], distances[min(size - 1, lower + 1)], weight)


@helper
def _single(ordered: F8, values: F8, start: int, end: int, q: float, deviation: bool) -> float:
    """``quantile_over`` of one small window."""
    size = _insert(ordered, values, start, end)
    nans = end - start - size
    lower, weight = _wanted(q, size, nans)
    quantile = weight
    if lower >= 0:
        quantile = _between(ordered[lower], ordered[min(lower + 1, size - 1)], weight)
    return _median_distance(ordered, size, nans, quantile) if deviation else quantile


@helper
def _moved(members: U8, word: int, below: int, lower: int) -> tuple[int, int]:
    """The word with the member that has *lower* members below it, and those in earlier words.

    *below* members are in the words before *word*, where the search begins.
    """
    while below > lower:
        word -= 1
        below -= _bits_set(members[word])
    inside = _bits_set(members[word])
    while below + inside <= lower:
        below += inside
        word += 1
        inside = _bits_set(members[word])
    return word, below


@helper
def _neighbours(
    members: U8, ordered: F8, word: int, skipped: int, last: bool
) -> tuple[float, float]:
    """The member above *skipped* ones of *word*, and the next, or itself if it is the *last*."""
    left = members[word]
    for _ in range(skipped):
        left &= left - np.uint64(1)
    under = ordered[word * 64 + _lowest(left)]
    if last:
        return under, under
    left &= left - np.uint64(1)
    while left == 0:
        word += 1
        left = members[word]
    return under, ordered[word * 64 + _lowest(left)]


@kernel(
    "void(f8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1], f8[::1], b1, f8[:, ::1], b1[:, ::1])"
)
def quantile_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    quantiles: F8,
    deviation: bool,
    out: F8,
    present: B1,
) -> None:
    """The quantile of each window, or (*deviation*) the median distance from it.

    Fills ``out[S, T]`` and ``present[S, T]`` wholly; no bound of the windows ever falls.
    """
    longest = longest_row(offsets)
    ordered, distances = np.empty(longest), np.empty(longest)
    order, spare = np.empty(longest, np.int32), np.empty(longest, np.int32)
    keys, counts = np.empty(longest, np.uint64), np.empty(256, np.int32)
    places, members = np.empty(longest, np.int32), np.empty(longest // 64 + 1, np.uint64)
    for r in range(len(columns)):
        column = columns[r]
        stop = 0
        while stop < out.shape[1]:
            begin, stop = stop, _run(lows, highs, column, stop)
            base, end = lows[column, begin], highs[column, stop - 1]
            start = offsets[r] + base
            if stop == begin + 1 and end - base <= _SOME:
                present[r, begin] = end > base
                out[r, begin] = _single(
                    ordered, values, start, offsets[r] + end, quantiles[begin], deviation
                )
                continue
            known = _sort(values, start, offsets[r] + end, order, spare, keys, counts)
            places[: end - base] = -1
            for i in range(known):
                places[order[i]] = i
                ordered[i] = values[start + order[i]]
            members[: known // 64 + 1] = 0
            from_low = from_high = base
            word = below = size = nans = 0
            for k in range(begin, stop):
                low, high = lows[column, k], highs[column, k]
                for i in range(from_low, low):
                    place = places[i - base]
                    if place < 0:
                        nans -= 1
                        continue
                    members[place >> 6] ^= np.uint64(1) << np.uint64(place & 63)
                    size -= 1
                    below -= (place >> 6) < word
                for i in range(from_high, high):
                    place = places[i - base]
                    if place < 0:
                        nans += 1
                        continue
                    members[place >> 6] ^= np.uint64(1) << np.uint64(place & 63)
                    size += 1
                    below += (place >> 6) < word
                from_low, from_high = low, high
                present[r, k] = high > low
                lower, weight = _wanted(quantiles[k], size, nans)
                out[r, k] = weight
                if lower >= 0:
                    word, below = _moved(members, word, below, lower)
                    last = lower + 1 == size
                    under, over = _neighbours(members, ordered, word, lower - below, last)
                    out[r, k] = _between(under, over, weight)
                if deviation:
                    _gather(distances, members, ordered, size)
                    out[r, k] = _median_distance(distances, size, nans, out[r, k])
