"""Kernels of the head: reading pages, and merging late samples in.

See ``tsdb/head/kernels.py`` for how samples stand in pages; the columns are named there too.
"""

from typing import Any

import numpy as np

from series.jit import fold_u64, helper, kernel, prefetch

TIMES, CLOSED_FILL, NEXT = 0, 1, 2
FIRST, LAST, LAST_FILL, COUNT = 0, 1, 2, 3
PAGE = 64


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


@helper
def _find(
    refs: Any, state: Any, times: Any, pages: Any, start_ms: Any, end_ms: Any,
    offsets: Any, bounds: Any, spans: Any,
) -> Any:  # fmt: skip
    """Where the samples of the range stand, as spans: int64[n, 2], a page of values and a place.

    Those of row r are ``bounds[r]`` up to ``bounds[r + 1]``, and have ``offsets[r + 1] -
    offsets[r]`` samples; a place is ``page of times << 16 | low << 8 | high``. Returns how many
    there are, of which *spans* gets those that it has room for.
    """
    used = 0
    for row in range(len(refs)):
        ref = refs[row]
        last = state[ref, LAST]
        page = state[ref, FIRST]
        # Most readers want the newest samples, and a page does not know those before it.
        if page >= 0 and times[pages[last, TIMES], 0] <= start_ms:
            page = last
        count = 0
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
                if high > low:
                    if used < len(spans):
                        spans[used, 0] = page
                        spans[used, 1] = np.int64(ticks_page) << 16 | low << 8 | high
                    used += 1
                    count += high - low
            page = np.int32(-1) if page == last else pages[page, NEXT]
        offsets[row + 1] = offsets[row] + count
        bounds[row + 1] = used
    return used


@helper
def _keep_newest(spans: Any, offsets: Any, bounds: Any) -> None:
    """Leaves the newest sample of each row, and nothing else."""
    used, rows = 0, len(bounds) - 1
    for row in range(rows):
        start, end = bounds[row], bounds[row + 1]
        bounds[row] = offsets[row] = used
        if end > start:
            spans[used, 0] = spans[end - 1, 0]
            place = spans[end - 1, 1]
            spans[used, 1] = place >> 16 << 16 | ((place & 0xFF) - 1) << 8 | place & 0xFF
            used += 1
    bounds[rows] = offsets[rows] = used


@helper
def _copy_values(values: Any, spans: Any, count: Any, bits: Any) -> None:
    at = np.uint64(0)  # an index that might be negative costs a check a sample
    for k in range(count):
        if k + 1 < count:
            prefetch(values, spans[k + 1, 0] * values.shape[1] + (spans[k + 1, 1] >> 8 & 0xFF))
        page, low = spans[k, 0], np.uint64(spans[k, 1] >> 8 & 0xFF)
        length = np.uint64(spans[k, 1] & 0xFF) - low
        for i in range(length):
            bits[at + i] = values[page, low + i]
        at += length


@helper
def _share_times(spans: Any, bounds: Any, offsets: Any, time_starts: Any, owners: Any) -> Any:
    """Gives rows whose times stand in the same places the same start.

    ``owners`` gets the first row of each start; returns how many there are, and of how many times.
    """
    rows = len(time_starts)
    size = 16
    while size < 2 * rows:
        size *= 2
    slots = np.zeros(size, np.int32)
    marks = np.empty(rows, np.uint64)
    found = total = 0
    for row in range(rows):
        first, count = bounds[row], bounds[row + 1] - bounds[row]
        time_starts[row] = 0
        if count == 0:
            continue
        mark = np.uint64(0)
        for k in range(first, first + count):
            mark = fold_u64(
                mark ^ np.uint64(0xA0761D6478BD642F),
                np.uint64(spans[k, 1]) ^ np.uint64(0xE7037ED1A0B428DB),
            )
        marks[row] = mark
        slot = mark & np.uint64(size - 1)
        while slots[slot] > 0:
            other = slots[slot] - 1
            if marks[other] == mark and bounds[other + 1] - bounds[other] == count:
                k = 0
                while k < count and spans[bounds[other] + k, 1] == spans[first + k, 1]:
                    k += 1
                if k == count:
                    break
            slot = (slot + np.uint64(1)) & np.uint64(size - 1)
        if slots[slot] > 0:
            time_starts[row] = time_starts[slots[slot] - 1]
            continue
        slots[slot] = row + 1
        time_starts[row] = total
        owners[found] = row
        found += 1
        total += offsets[row + 1] - offsets[row]
    return found, total


@kernel(
    "i8[::1](Array(i8, 1, 'C', True), Array(i4, 2, 'C', True), u8[:, ::1], i8[:, ::1],"
    " i4[:, ::1], i8, i8, b1)"
)
def read_pages(
    refs: Any,
    state: Any,
    values: Any,
    times: Any,
    pages: Any,
    start_ms: int,
    end_ms: int,
    only_newest: bool,
) -> Any:
    """The samples of *refs* within [start_ms, end_ms], or the newest one of each.

    Returns the columns of a batch, see ``SeriesBatch``, end to end, since handing over several
    arrays takes longer than reading few samples: ``offsets``, ``time_starts``, the bits of the
    values, ``times_ms``. Rows whose times stand in the same places share them.
    """
    offsets = np.zeros(len(refs) + 1, np.int64)
    bounds = np.zeros(len(refs) + 1, np.int64)
    room = 2 * len(refs)
    for ref in refs:
        room += state[ref, COUNT] // PAGE
    spans = np.empty((room, 2), np.int64)
    found = _find(refs, state, times, pages, start_ms, end_ms, offsets, bounds, spans)
    if found > room:  # there are pages that are not full
        spans = np.empty((found, 2), np.int64)
        _find(refs, state, times, pages, start_ms, end_ms, offsets, bounds, spans)
    if only_newest:
        _keep_newest(spans, offsets, bounds)
    time_starts = np.empty(len(refs), np.int64)
    owners = np.empty(len(refs), np.int64)
    columns, total = _share_times(spans, bounds, offsets, time_starts, owners)
    rows = len(refs)
    samples = offsets[rows]
    whole = np.empty(2 * rows + 1 + samples + total, np.int64)
    whole[: rows + 1] = offsets
    whole[rows + 1 : 2 * rows + 1] = time_starts
    at = 2 * rows + 1
    _copy_values(values, spans, bounds[rows], whole[at : at + samples].view(np.uint64))
    at += samples
    for owner in owners[:columns]:
        for k in range(bounds[owner], bounds[owner + 1]):
            ticks_page, low, high = spans[k, 1] >> 16, spans[k, 1] >> 8 & 0xFF, spans[k, 1] & 0xFF
            for position in range(low, high):
                whole[at] = times[ticks_page, position]
                at += 1
    return whole


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
