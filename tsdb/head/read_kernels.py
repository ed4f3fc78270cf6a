"""Kernels of the head: reading pages, and merging late samples in.

See ``tsdb/head/kernels.py`` for how samples stand in pages; the columns are named there too.
"""

from typing import Any

import numpy as np

from series.jit import fold_u64, helper, kernel, prefetch

TIMES, CLOSED_FILL, NEXT = 0, 1, 2
FIRST, LAST, LAST_FILL = 0, 1, 2


@helper
def _first_at_or_after(times: Any, page: Any, fill: Any, time: Any) -> Any:
    """The first position below *fill* whose time is >= *time*, or *fill*."""
    low, high = 0, fill
    while low < high:
        middle = (low + high) >> 1
        if times[page, middle] < time:
            low = middle + 1
        else:
            high = middle
    return low


@kernel(
    "i8(Array(i8, 1, 'C', True), Array(i4, 2, 'C', True), i8[:, ::1], i4[:, ::1], i8, i8,"
    " i8[::1], u8[::1])"
)
def measure(
    refs: Any,
    state: Any,
    times: Any,
    pages: Any,
    start_ms: int,
    end_ms: int,
    counts: Any,
    marks: Any,
) -> int:
    """How many samples within [start_ms, end_ms] each of *refs* has, into ``counts``.

    ``marks`` gets a hash of where the times of the row stand. Returns the count of pages.
    """
    spans = 0
    for row in range(len(refs)):
        ref = refs[row]
        page = state[ref, FIRST]
        last = state[ref, LAST]
        count = 0
        mark = np.uint64(0)
        while page >= 0:
            fill = state[ref, LAST_FILL] if page == last else pages[page, CLOSED_FILL]
            ticks_page = pages[page, TIMES]
            if times[ticks_page, 0] > end_ms:
                break
            if times[ticks_page, fill - 1] >= start_ms:
                low = _first_at_or_after(times, ticks_page, fill, start_ms)
                high = fill
                if times[ticks_page, fill - 1] > end_ms:
                    high = _first_at_or_after(times, ticks_page, fill, end_ms + 1)
                count += high - low
                spans += 1
                place = np.uint64(ticks_page) << np.uint64(16) | np.uint64(low << 8 | high)
                mark = fold_u64(
                    mark ^ np.uint64(0xA0761D6478BD642F), place ^ np.uint64(0xE7037ED1A0B428DB)
                )
            page = np.int32(-1) if page == last else pages[page, NEXT]
        counts[row] = count
        marks[row] = mark
    return spans


@kernel(
    "i8(Array(i8, 1, 'C', True), Array(i4, 2, 'C', True), u8[:, ::1], i8[:, ::1], i4[:, ::1],"
    " i8, i8, i8[::1], u8[::1], i4[::1], i8[::1], i8[::1], u8[::1], i8[::1], i8[::1])"
)
def gather(
    refs: Any,
    state: Any,
    values: Any,
    times: Any,
    pages: Any,
    start_ms: int,
    end_ms: int,
    offsets: Any,
    marks: Any,
    slots: Any,
    spans: Any,
    span_starts: Any,
    out_bits: Any,
    out_times: Any,
    time_starts: Any,
) -> int:
    """Copies what ``measure`` counted; rows whose times stand in the same places share them.

    ``slots`` is an empty table (row + 1), ``spans`` and ``span_starts`` are scratch. Returns how
    many times were written.
    """
    mask = np.uint64(len(slots) - 1)
    written = 0
    spans_used = 0
    for row in range(len(refs)):
        ref = refs[row]
        page = state[ref, FIRST]
        last = state[ref, LAST]
        at = offsets[row]
        span_starts[row] = spans_used
        span = spans_used
        if offsets[row + 1] == at:
            time_starts[row] = 0
            continue
        while page >= 0:
            fill = state[ref, LAST_FILL] if page == last else pages[page, CLOSED_FILL]
            ticks_page = pages[page, TIMES]
            if times[ticks_page, 0] > end_ms:
                break
            if times[ticks_page, fill - 1] >= start_ms:
                low = _first_at_or_after(times, ticks_page, fill, start_ms)
                high = fill
                if times[ticks_page, fill - 1] > end_ms:
                    high = _first_at_or_after(times, ticks_page, fill, end_ms + 1)
                if page != last:
                    prefetch(values, np.int64(pages[page, NEXT]) * values.shape[1])
                # Unsigned: an index that might be negative costs a check a sample.
                place, first = np.uint64(at), np.uint64(low)
                for k in range(np.uint64(high - low)):
                    out_bits[place + k] = values[page, first + k]
                at += high - low
                spans[span] = np.int64(ticks_page) << 16 | low << 8 | high
                span += 1
            page = np.int32(-1) if page == last else pages[page, NEXT]
        if at != offsets[row + 1]:
            return -1
        count = span - spans_used
        slot = marks[row] & mask
        found = -1
        while slots[slot] > 0:
            other = slots[slot] - 1
            if marks[other] == marks[row]:
                k = 0
                while k < count and spans[span_starts[other] + k] == spans[spans_used + k]:
                    k += 1
                if k == count:
                    found = other
                    break
            slot = (slot + np.uint64(1)) & mask
        if found >= 0:
            time_starts[row] = time_starts[found]
            continue
        slots[slot] = row + 1
        time_starts[row] = written
        for k in range(spans_used, span):
            ticks_page = spans[k] >> 16
            for position in range(spans[k] >> 8 & 0xFF, spans[k] & 0xFF):
                out_times[written] = times[ticks_page, position]
                written += 1
        spans_used = span
    return written


@kernel(
    "i8(i8[::1], i8[::1], i8[::1], u8[::1], i8[::1], i8[::1], u8[::1], i8[::1], i8[::1], u8[::1],"
    " i8[::1], i8)"
)
def merge_late(
    offsets: Any,
    time_starts: Any,
    times: Any,
    bits: Any,
    late_rows: Any,
    late_times: Any,
    late_bits: Any,
    new_offsets: Any,
    new_time_starts: Any,
    new_bits: Any,
    new_times: Any,
    written: int,
) -> int:
    """Merges late samples, ascending by (row, time), into the rows of a batch.

    ``new_times`` holds the batch's times already (*written* of them); rows with late samples get
    a stretch of their own behind. No time stands on both sides. Returns the times written.
    """
    late = 0
    for row in range(len(time_starts)):
        at = new_offsets[row]
        old, old_end = offsets[row], offsets[row + 1]
        shift = time_starts[row] - old
        if late == len(late_rows) or late_rows[late] != row:
            new_time_starts[row] = time_starts[row]
            for k in range(old, old_end):
                new_bits[at + k - old] = bits[k]
            new_offsets[row + 1] = at + old_end - old
            continue
        new_time_starts[row] = written
        while True:
            has_late = late < len(late_rows) and late_rows[late] == row
            if old < old_end and (not has_late or times[old + shift] < late_times[late]):
                new_bits[at] = bits[old]
                new_times[written] = times[old + shift]
                old += 1
            elif has_late:
                new_bits[at] = late_bits[late]
                new_times[written] = late_times[late]
                late += 1
            else:
                break
            at += 1
            written += 1
        new_offsets[row + 1] = at
    return written
