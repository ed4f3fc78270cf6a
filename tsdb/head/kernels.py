"""Kernels of the head: appending to shared time pages, and dropping pages.

A series is a chain of value pages; each value page names the time page with its times, position
for position. Series that were scraped together share a time page: the first that reaches a free
position writes its time there, the others find it. Where a series' time differs from what stands
at its position it goes on in a copy of the page's beginning (a *branch*, whose *home* it left),
and where the series it left have begun a new page at just this time it begins one too and shares
again. What a reader may see never changes: the positions of a page are written once.

A reference to a time page that is only a hint (next, root, ``branches``) is checked before use:
any live page of this head whose times fit may be shared.
"""

from typing import Any

import numpy as np

from series.jit import fold_u64, helper, kernel, prefetch

PAGE = 64

# Columns of ``pages`` and ``ticks``, see tsdb/head/arena.py.
TIMES, CLOSED_FILL, NEXT = 0, 1, 2
FILL, REFS, SUCCESSOR, HOME, HOME_AT, ROOT, OWNER = 0, 1, 2, 3, 4, 5, 6

# Columns of ``state``, one row a series.
FIRST, LAST, LAST_FILL, COUNT = 0, 1, 2, 3

# Places of ``numbers``.
FREE_VALUE_PAGES, FREE_TIME_PAGES, LATE_COUNT, LATE_BEFORE, VISIBLE_FROM, OWN = 0, 1, 2, 3, 4, 5
FILLED = 6  # grows whenever a series may have got its first sample
NUMBERS = 7

STORED, DUPLICATE, CONFLICT = 0, 1, 2

_FAR, _NEAR = 24, 12  # so many samples ahead their series, and then their pages, are prefetched

_ARENA = "u8[:, ::1], i8[:, ::1], i4[:, ::1], i4[:, ::1]"
_LATE = "i4[::1], i8[::1], u8[::1], i4[::1]"


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
def _is_open_at(ticks: Any, times: Any, page: Any, owner: Any, time: Any) -> Any:
    """Whether *page* is a live time page of this head that begins with *time*."""
    return (
        page >= 0
        and ticks[page, OWNER] == owner
        and ticks[page, REFS] > 0
        and times[page, 0] == time
    )


@helper
def _branch_slot(page: Any, at: Any, time: Any, slots: Any) -> Any:
    mixed = (
        np.uint64(page + 1) * np.uint64(0x9E3779B97F4A7C15)
        ^ np.uint64(at + 1) * np.uint64(0xC2B2AE3D27D4EB4F)
        ^ np.uint64(time) * np.uint64(0x165667B19E3779F9)
    )
    return np.int64((mixed >> np.uint64(40)) % np.uint64(slots))


@helper
def _late_slot(series: Any, time: Any) -> Any:
    return fold_u64(
        np.uint64(series) ^ np.uint64(0x9E3779B97F4A7C15),
        np.uint64(time) ^ np.uint64(0xE7037ED1A0B428DB),
    )


@helper
def _find_late(series: Any, time: Any, late_series: Any, late_times: Any, slots: Any) -> Any:
    """The slot that holds (series, time), or the free slot where it belongs."""
    mask = np.uint64(len(slots) - 1)
    at = _late_slot(series, time) & mask
    while True:
        entry = slots[at] - 1
        if entry < 0 or (late_series[entry] == series and late_times[entry] == time):
            return np.int64(at)
        at = (at + np.uint64(1)) & mask


@helper
def _find_in_chain(state: Any, series: Any, time: Any, values: Any, times: Any, pages: Any) -> Any:
    """(found, bits) of the sample at *time* in the pages of *series*."""
    page = state[series, LAST]
    if page < 0:
        return False, np.uint64(0)
    if times[pages[page, TIMES], 0] > time:
        page = state[series, FIRST]
    while True:
        fill = state[series, LAST_FILL] if page == state[series, LAST] else pages[page, CLOSED_FILL]
        ticks_page = pages[page, TIMES]
        if times[ticks_page, fill - 1] >= time:
            at = _first_at_or_after(times, ticks_page, fill, time)
            return times[ticks_page, at] == time, values[page, at]
        if page == state[series, LAST]:
            return False, np.uint64(0)
        page = pages[page, NEXT]


@helper
def _new_time_page(ticks: Any, pool: Any, numbers: Any) -> Any:
    numbers[FREE_TIME_PAGES] -= 1
    page = pool[numbers[FREE_TIME_PAGES]]
    ticks[page, FILL] = 0
    ticks[page, REFS] = 1
    ticks[page, SUCCESSOR] = -1
    ticks[page, HOME] = -1
    ticks[page, HOME_AT] = 0
    ticks[page, ROOT] = -1
    ticks[page, OWNER] = numbers[OWN]
    return page


@helper
def _begin_page(before: Any, time: Any, ticks: Any, times: Any, pool: Any, branches: Any,
                numbers: Any) -> Any:  # fmt: skip
    """The time page that a series goes on in after *before* (-1: it is new); begins at *time*."""
    owner = numbers[OWN]
    root = np.int32(-1)
    if before >= 0:
        page = ticks[before, SUCCESSOR]
        if _is_open_at(ticks, times, page, owner, time):
            ticks[page, REFS] += 1
            return page
        root = ticks[before, ROOT]
    slot = _branch_slot(-1, 0, time, len(branches))
    page = branches[slot]
    if not _is_open_at(ticks, times, page, owner, time):
        page = _new_time_page(ticks, pool, numbers)
        times[page, 0] = time
        ticks[page, FILL] = 1
        ticks[page, ROOT] = root
        branches[slot] = page
    else:
        ticks[page, REFS] += 1
    if before >= 0:
        ticks[before, SUCCESSOR] = page
    return page


@helper
def _branch(home: Any, at: Any, time: Any, ticks: Any, times: Any, pool: Any, branches: Any,
            numbers: Any) -> Any:  # fmt: skip
    """A page with the times of *home* before position *at* and *time* at it.

    The branch takes over the series' reference to its home: while the branch lives, readers that
    found the home in the series' value page may still look there.
    """
    slot = _branch_slot(home, at, time, len(branches))
    page = branches[slot]
    if (
        page >= 0
        and ticks[page, OWNER] == numbers[OWN]
        and ticks[page, REFS] > 0
        and ticks[page, HOME] == home
        and ticks[page, HOME_AT] == at
        and times[page, at] == time
    ):
        ticks[page, REFS] += 1
        ticks[home, REFS] -= 1
        return page
    page = _new_time_page(ticks, pool, numbers)
    for k in range(at):
        times[page, k] = times[home, k]
    times[page, at] = time
    ticks[page, FILL] = at + 1
    ticks[page, HOME] = home
    ticks[page, HOME_AT] = at
    ticks[page, ROOT] = ticks[home, ROOT] if ticks[home, ROOT] >= 0 else home
    branches[slot] = page
    return page


@helper
def _rejoins(page: Any, time: Any, ticks: Any, times: Any, owner: Any) -> Any:
    """Whether the series that *page* branched from have begun a page at *time*."""
    root = ticks[page, ROOT]
    if root < 0 or ticks[root, OWNER] != owner or ticks[root, REFS] <= 0:
        return False
    ahead = ticks[root, SUCCESSOR]
    if ahead < 0 or ticks[ahead, OWNER] != owner or ticks[ahead, REFS] <= 0:
        return False
    if times[ahead, 0] == time:
        ticks[page, SUCCESSOR] = ahead
        return True
    if times[ahead, 0] < time:
        ticks[page, ROOT] = ahead
    return False


@kernel(
    f"i8(Array(i4, 1, 'C', True), Array(i8, 1, 'C', True), Array(u8, 1, 'C', True), i8,"
    f" i4[:, ::1], i8[::1], {_ARENA}, i4[::1], i4[::1], i4[::1], {_LATE}, i8[::1], u1[::1],"
    f" u8[::1])"
)
def append_samples(
    series: Any,
    new_times: Any,
    new_bits: Any,
    begin: int,
    state: Any,
    last_times: Any,
    values: Any,
    times: Any,
    pages: Any,
    ticks: Any,
    value_pool: Any,
    time_pool: Any,
    branches: Any,
    late_series: Any,
    late_times: Any,
    late_bits: Any,
    late_slots: Any,
    numbers: Any,
    outcomes: Any,
    existing: Any,
) -> int:
    """Appends the samples from *begin* on; ``outcomes`` says what became of each.

    ``existing``, where it is not empty, is told the bits that stand in the place of each that was
    not stored. Returns the count of samples done; where that is not all, the free pages
    (``value_pool``, ``time_pool``) or the room for late samples are used up: call again with more.
    """
    owner = numbers[OWN]
    for i in range(begin, len(series)):
        if (
            numbers[FREE_VALUE_PAGES] == 0
            or numbers[FREE_TIME_PAGES] == 0
            or numbers[LATE_COUNT] == len(late_series)
        ):
            return i
        if i + _FAR < len(series):
            prefetch(state, np.int64(series[i + _FAR]) * 4)
            prefetch(last_times, np.int64(series[i + _FAR]))
            ahead = series[i + _NEAR]
            near_page = np.int64(state[ahead, LAST])
            if near_page >= 0:
                prefetch(values, near_page * PAGE + state[ahead, LAST_FILL])
                prefetch(pages, near_page * 4)
        s = series[i]
        time = new_times[i]
        bits = new_bits[i]
        page = state[s, LAST]
        if time <= last_times[s] or time < numbers[LATE_BEFORE]:
            found = False
            if time >= numbers[VISIBLE_FROM]:
                found, stored = _find_in_chain(state, s, time, values, times, pages)
            if not found:
                slot = _find_late(s, time, late_series, late_times, late_slots)
                entry = late_slots[slot] - 1
                if entry < 0:
                    entry = numbers[LATE_COUNT]
                    late_series[entry] = s
                    late_times[entry] = time
                    late_bits[entry] = bits
                    late_slots[slot] = entry + 1
                    numbers[LATE_COUNT] = entry + 1
                    if page < 0:
                        numbers[FILLED] += 1
                    outcomes[i] = STORED
                    continue
                stored = late_bits[entry]
            outcomes[i] = DUPLICATE if stored == bits else CONFLICT
            if len(existing) > 0:
                existing[i] = stored
            continue

        at = state[s, LAST_FILL]
        ticks_page = np.int32(-1)
        if page >= 0:
            ticks_page = pages[page, TIMES]
        if (
            page < 0
            or at == PAGE
            or (ticks[ticks_page, ROOT] >= 0 and _rejoins(ticks_page, time, ticks, times, owner))
        ):
            numbers[FREE_VALUE_PAGES] -= 1
            fresh = value_pool[numbers[FREE_VALUE_PAGES]]
            pages[fresh, TIMES] = _begin_page(
                ticks_page, time, ticks, times, time_pool, branches, numbers
            )
            if page < 0:
                state[s, FIRST] = fresh
                numbers[FILLED] += 1
            else:
                pages[page, CLOSED_FILL] = at
                pages[page, NEXT] = fresh
            state[s, LAST] = fresh
            page = fresh
            at = 0
        elif at == ticks[ticks_page, FILL]:
            times[ticks_page, at] = time
            ticks[ticks_page, FILL] = at + 1
        elif times[ticks_page, at] != time:
            pages[page, TIMES] = _branch(
                ticks_page, at, time, ticks, times, time_pool, branches, numbers
            )
        values[page, at] = bits
        state[s, LAST_FILL] = at + 1
        state[s, COUNT] += 1
        last_times[s] = time
        outcomes[i] = STORED
    return len(series)


@kernel("void(i4[::1], i8[::1], i8, i4[::1])")
def index_late(late_series: Any, late_times: Any, count: int, slots: Any) -> None:
    """Enters the first *count* late samples into the empty table *slots* (entry + 1, 0 free)."""
    for entry in range(count):
        slots[_find_late(late_series[entry], late_times[entry], late_series, late_times, slots)] = (
            entry + 1
        )


@kernel("i8(i4[:, ::1], i8[:, ::1], i4[:, ::1], i4[:, ::1], i8, i8, i8, i4[::1], i4[::1], i8[::1])")
def drop_before(
    state: Any,
    times: Any,
    pages: Any,
    ticks: Any,
    begin: int,
    end: int,
    time_ms: int,
    value_pages: Any,
    time_pages: Any,
    freed: Any,
) -> int:
    """Takes the pages that lie wholly before *time_ms* from the series begin..end.

    Their numbers go to ``value_pages`` and ``time_pages``, how many to ``freed[0]`` and
    ``freed[1]``; ``freed[2]`` is lowered to the first time that is left. Returns the first series
    not done, where there was no room for its pages (a branch of a branch gives up to 64 time
    pages).
    """
    for s in range(begin, end):
        while state[s, FIRST] >= 0:
            page = state[s, FIRST]
            is_last = page == state[s, LAST]
            fill = state[s, LAST_FILL] if is_last else pages[page, CLOSED_FILL]
            ticks_page = pages[page, TIMES]
            if times[ticks_page, fill - 1] >= time_ms:
                left = _first_at_or_after(times, ticks_page, fill, time_ms)
                freed[2] = min(freed[2], times[ticks_page, left])
                break
            if freed[0] == len(value_pages) or freed[1] + PAGE > len(time_pages):
                return s
            value_pages[freed[0]] = page
            freed[0] += 1
            state[s, COUNT] -= fill
            while ticks_page >= 0:
                ticks[ticks_page, REFS] -= 1
                if ticks[ticks_page, REFS] > 0:
                    break
                # No hint leads to it any more, whoever takes it next.
                ticks[ticks_page, OWNER] = 0
                time_pages[freed[1]] = ticks_page
                freed[1] += 1
                ticks_page = ticks[ticks_page, HOME]
            if is_last:
                state[s, FIRST] = -1
                state[s, LAST] = -1
                state[s, LAST_FILL] = 0
            else:
                state[s, FIRST] = pages[page, NEXT]
    return end
