"""Kernels over windows of samples: bounds, rates and switches.

All take one slab in CSR form and the bounds of its windows::

    row r     values[offsets[r] : offsets[r + 1]], times at time_starts[r]
    step k    the samples [low, high) of the row, low = lows[columns[r], k], high likewise

Bounds are computed once for every distinct column of times; neither lows nor highs ever fall
within a row. Each kernel fills ``out[S, T]`` and ``present[S, T]`` wholly. The order of operations
is that of promql/functions.go of Prometheus 3.14, so that results agree to the bit.
"""

import numpy as np
from numpy.typing import NDArray

from promql.kernel_helpers import longest_row
from series.jit import callee, helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]
U1 = NDArray[np.uint8]

RUN = 128
"""So many steps are looked at together before each of them."""

FEW = 16
"""So many of them are done one by one before the rest is looked at again."""

_PARTIAL, _FILLED, _EVEN = 0, 1, 2
"""Runs in which some windows hold less than two samples, none does, and each begins and ends one
sample later than the one before besides."""

_WINDOWS = "f8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1]"
_OUT = "f8[:, ::1], b1[:, ::1]"


@helper
def _first_after(times_ms: I8, at: int, stride: int, end: int, bound: int) -> int:
    """The first of the times from *at* up to *end* that is above *bound*, else *end*.

    Mostly it stands *stride* behind *at*, as far as at the step before.
    """
    guess = at + stride
    if guess < end and times_ms[guess] > bound and (stride == 0 or times_ms[guess - 1] <= bound):
        return guess
    while at < end and times_ms[at] <= bound:
        at += 1
    return at


@helper
def _bound(
    times_ms: I8, starts: I8, lengths: I8, ends_ms: I8, range_ms: int, lows: I4, highs: I4
) -> None:
    """See ``window_bounds``."""
    for c in range(len(starts)):
        times = times_ms[starts[c] : starts[c] + lengths[c]]
        low = high = low_stride = high_stride = 0
        for k in range(len(ends_ms)):
            end = ends_ms[k]
            moved = _first_after(times, high, high_stride, len(times), end)
            high, high_stride = moved, moved - high
            moved = _first_after(times, low, low_stride, high, end - range_ms)
            low, low_stride = moved, moved - low
            lows[c, k] = low
            highs[c, k] = high


@kernel("void(i8[::1], i8[::1], i8[::1], i8[::1], i8, i4[:, ::1], i4[:, ::1])")
def window_bounds(
    times_ms: I8, starts: I8, lengths: I8, ends_ms: I8, range_ms: int, lows: I4, highs: I4
) -> None:
    """For every column of times the samples with ``end - range < time <= end`` of each step.

    *ends_ms* never falls; column c is ``times_ms[starts[c] : starts[c] + lengths[c]]``.
    """
    _bound(times_ms, starts, lengths, ends_ms, range_ms, lows, highs)


@kernel("b1(u8[::1], u8)")
def holds(bits: NDArray[np.uint64], wanted: int) -> bool:
    """Whether *wanted* is among *bits*."""
    hits = 0
    for i in range(len(bits)):
        hits += bits[i] == wanted
    return hits > 0


@helper
def _spans(
    times_ms: I8,
    start: int,
    lows: I4,
    highs: I4,
    ends_ms: I8,
    range_ms: int,
    divisor: float,
    column: int,
    spans: F8,
    kinds: U1,
    reaches: F8,
) -> None:
    """What extrapolation needs of one column's times at every step, times in seconds.

    ``spans[column]``: from the first sample to the last; how far it may be extrapolated to the left
    and to the right edge; the factor where zero is out of reach. All 0 in windows of less than two
    samples. For each run of RUN steps ``kinds[column]`` says what its windows are, and
    ``reaches[column]`` the least of the first and no less than the largest of the second.
    """
    steps = len(ends_ms)
    for run in range(kinds.shape[1]):
        begin, end = run * RUN, min(steps, (run + 1) * RUN)
        low_lead, high_lead = lows[column, begin] - begin, highs[column, begin] - begin
        partial = uneven = 0
        least_ms, most_ms = range_ms, 0
        for k in range(begin, end):
            low, high = lows[column, k], highs[column, k]
            uneven += (low - k != low_lead) | (high - k != high_lead)
            if high - low < 2:
                partial += 1
                for i in range(4):
                    spans[column, i, k] = 0.0
                continue
            first_ms, last_ms = times_ms[start + low], times_ms[start + high - 1]
            begin_ms = ends_ms[k] - range_ms
            least_ms = min(least_ms, last_ms - first_ms)
            most_ms = max(most_ms, first_ms - begin_ms)
            to_start = (first_ms - begin_ms) / 1000.0
            to_end = (ends_ms[k] - last_ms) / 1000.0
            sampled = (last_ms - first_ms) / 1000.0
            average = sampled / (high - low - 1)
            threshold = average * 1.1
            to_start = average / 2.0 if to_start >= threshold else to_start
            to_end = average / 2.0 if to_end >= threshold else to_end
            spans[column, 0, k] = sampled
            spans[column, 1, k] = to_start
            spans[column, 2, k] = to_end
            spans[column, 3, k] = (sampled + to_start + to_end) / sampled / divisor
        kinds[column, run] = _PARTIAL if partial else _FILLED if uneven else _EVEN
        reaches[column, 0, run], reaches[column, 1, run] = least_ms / 1000.0, most_ms / 1000.0


@helper
def _find_falls(values: F8, start: int, length: int, falls: I8) -> int:
    """The places in a row of all samples not as large as the one before; how many there are."""
    at = np.uint64(start)
    count = 0
    for i in range(length - 1):
        count += not values[at + np.uint64(i + 1)] >= values[at + np.uint64(i)]
    if count > 0:
        count = 0
        for i in range(1, length):
            falls[count] = i
            count += not values[start + i] >= values[start + i - 1]
    return count


@helper
def _one_by_one(
    values: F8,
    start: int,
    lows: I4,
    highs: I4,
    spans: F8,
    divisor: float,
    is_counter: bool,
    falls: I8,
    fall: int,
    fall_count: int,
    row: int,
    column: int,
    begin: int,
    end: int,
    out: F8,
    present: B1,
) -> None:
    """The steps from *begin* to *end* of a row, of which ``falls[fall:fall_count]`` may matter."""
    for k in range(begin, end):
        low, high = lows[column, k], highs[column, k]
        present[row, k] = high - low >= 2
        out[row, k] = 0.0
        if high - low < 2:
            continue
        first = values[start + low]
        result = values[start + high - 1] - first
        while fall < fall_count and falls[fall] <= low:
            fall += 1
        i = fall
        while i < fall_count and falls[i] < high:
            lost = values[start + falls[i] - 1]
            if values[start + falls[i]] < lost:
                result += lost
            i += 1
        sampled, to_start = spans[column, 0, k], spans[column, 1, k]
        out[row, k] = result * spans[column, 3, k]
        # Rounding has room; where this is not so the division is spared that would tell.
        is_near = first * sampled <= result * to_start * 1.000001
        if is_counter and result > 0.0 and first >= 0.0 and is_near:
            to_zero = sampled * (first / result)
            if to_zero < to_start:
                to_end = spans[column, 2, k]
                out[row, k] = result * ((sampled + to_zero + to_end) / sampled / divisor)


@callee
def _extrapolate(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    ends_ms: I8,
    range_ms: int,
    is_counter: bool,
    is_rate: bool,
    out: F8,
    present: B1,
) -> None:
    """See ``extrapolated_rate``.

    Most windows hold two samples at least and no fall, and their counter is far from zero: all of
    a run are found so by its first and last sample, and done without branches, several at once.
    """
    steps = len(ends_ms)
    distinct, runs = lows.shape[0], -(-steps // RUN)
    spans = np.empty((distinct, 4, steps))
    kinds = np.empty((distinct, runs), dtype=np.uint8)
    reaches = np.empty((distinct, 2, runs))
    seen = np.zeros(distinct, dtype=np.bool_)
    falls = np.empty(longest_row(offsets), dtype=np.int64)
    divisor = range_ms / 1000.0 if is_rate else 1.0
    for r in range(len(columns)):
        start, length, column = offsets[r], offsets[r + 1] - offsets[r], columns[r]
        if not seen[column]:
            seen[column] = True
            _spans(
                times_ms, time_starts[r], lows, highs, ends_ms, range_ms, divisor,
                column, spans, kinds, reaches,
            )  # fmt: skip
        fall = fall_count = 0
        if is_counter:
            fall_count = _find_falls(values, start, length, falls)
        for run in range(runs):
            begin, end = run * RUN, min(steps, (run + 1) * RUN)
            kind, high = kinds[column, run], highs[column, end - 1]
            while begin < end:
                low = lows[column, begin]
                while fall < fall_count and falls[fall] <= low:
                    fall += 1
                is_easy = kind != _PARTIAL
                if is_easy and is_counter:
                    # Without a fall no window begins lower or rises by more than all of them.
                    first, last = values[start + low], values[start + high - 1]
                    most = (last - first) * reaches[column, 1, run] * 1.000001
                    is_easy = first * reaches[column, 0, run] > most
                    is_easy &= fall == fall_count or falls[fall] >= high
                if is_easy:
                    break
                stop = min(begin + FEW, end)
                _one_by_one(
                    values, start, lows, highs, spans, divisor, is_counter,
                    falls, fall, fall_count, r, column, begin, stop, out, present,
                )  # fmt: skip
                begin = stop
            easy, at = np.uint64(begin), np.uint64(start)
            for k in range(easy, np.uint64(end)):
                present[r, k] = True
            if kind == _EVEN and begin < end:
                first_at = at + np.uint32(lows[column, begin]) - easy
                last_at = at + np.uint32(highs[column, begin] - 1) - easy
                for k in range(easy, np.uint64(end)):
                    rise = values[last_at + k] - values[first_at + k]
                    out[r, k] = rise * spans[column, 3, k]
            else:
                for k in range(easy, np.uint64(end)):
                    last = values[at + np.uint32(highs[column, k] - 1)]
                    rise = last - values[at + np.uint32(lows[column, k])]
                    out[r, k] = rise * spans[column, 3, k]


@kernel(f"void({_WINDOWS}, i8[::1], i8[::1], i8[::1], i8, b1, b1, {_OUT})")
def extrapolated_rate(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    ends_ms: I8,
    range_ms: int,
    is_counter: bool,
    is_rate: bool,
    out: F8,
    present: B1,
) -> None:
    """rate, increase (counters) and delta: the difference extrapolated to the window's edges."""
    _extrapolate(
        values, offsets, columns, lows, highs, times_ms, time_starts, ends_ms, range_ms,
        is_counter, is_rate, out, present,
    )  # fmt: skip


@kernel("Tuple((f8, i8))(f8[::1], i8[::1], i8, i8, b1, b1, u8)")
def rate_at(
    values: F8,
    times_ms: I8,
    end_ms: int,
    range_ms: int,
    is_counter: bool,
    is_rate: bool,
    stale: int,
) -> tuple[float, int]:
    """``extrapolated_rate`` of one row's window that ends at *end_ms*: the value and how many
    samples are in the window; fewer than 2 have none. -1 of them where any of *values* is *stale*,
    which is for others to sort out.
    """
    bits = values.view(np.uint64)
    for i in range(len(bits)):
        if bits[i] == stale:
            return 0.0, -1
    one = np.zeros(1, dtype=np.int64)
    bounds = np.empty((2, 1, 1), dtype=np.int32)
    ends_ms = np.full(1, end_ms, dtype=np.int64)
    lengths = np.full(1, len(times_ms), dtype=np.int64)
    _bound(times_ms, one, lengths, ends_ms, range_ms, bounds[0], bounds[1])
    offsets = np.array([0, len(values)], dtype=np.int64)
    out = np.empty((1, 1))
    present = np.empty((1, 1), dtype=np.bool_)
    _extrapolate(
        values, offsets, one, bounds[0], bounds[1], times_ms, one, ends_ms, range_ms,
        is_counter, is_rate, out, present,
    )  # fmt: skip
    return out[0, 0], bounds[1, 0, 0] - bounds[0, 0, 0]


@kernel(f"void({_WINDOWS}, i8[::1], i8[::1], b1, {_OUT})")
def instant_change(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    is_rate: bool,
    out: F8,
    present: B1,
) -> None:
    """irate (per second, a fall counts from zero) and idelta of the last two samples."""
    for r in range(len(columns)):
        start, time_start, column = offsets[r], time_starts[r], columns[r]
        for k in range(out.shape[1]):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high - low >= 2
            if high - low < 2:
                out[r, k] = 0.0
                continue
            last, previous = values[start + high - 1], values[start + high - 2]
            result = last
            if not is_rate or not last < previous:
                result = last - previous
            if is_rate:
                span_ms = times_ms[time_start + high - 1] - times_ms[time_start + high - 2]
                result /= span_ms / 1000.0
            out[r, k] = result


@kernel(f"void({_WINDOWS}, b1, {_OUT})")
def switches_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    only_falls: bool,
    out: F8,
    present: B1,
) -> None:
    """changes (NaN to NaN is none) or resets between neighbours, from running counts."""
    running = np.zeros(longest_row(offsets), dtype=np.int64)
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        for i in range(1, offsets[r + 1] - start):
            value, previous = values[start + i], values[start + i - 1]
            if only_falls:
                switched = value < previous
            else:
                switched = value != previous and not (value != value and previous != previous)
            running[i] = running[i - 1] + (1 if switched else 0)
        for k in range(out.shape[1]):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high > low
            out[r, k] = float(running[high - 1] - running[low]) if high > low else 0.0
