"""Frames of blocks are kept by last use, and stay for whoever has found them."""

import ctypes
import gc
import weakref

import numpy as np
import pytest
from numpy.typing import NDArray

from tsdb.block.frame_cache import ADDRESS, SIZE, Found, FrameCache

FRAMES = 10


def body(number: int, size: int = 1000) -> NDArray[np.uint8]:
    return np.full(size, number, dtype=np.uint8)


def contents(found: Found) -> list[int | None]:
    """The first byte at each place, None where nothing lies."""
    return [
        ctypes.c_uint8.from_address(int(place[ADDRESS])).value if place[SIZE] else None
        for place in found.places
    ]


def find(cache: FrameCache, block: int, *frames: int) -> Found:
    return cache.find(block, np.array(frames, dtype=np.int64))


def test_frames_are_found_where_they_were_put() -> None:
    """By block and number, in the order asked for; of others it is said that they are not there."""
    cache = FrameCache(100_000)
    cache.put(1, FRAMES, 3, body(13))
    cache.put(1, FRAMES, 7, body(17))
    cache.put(2, FRAMES, 3, body(23))
    assert contents(find(cache, 1, 7, 0, 3)) == [17, None, 13]
    assert contents(find(cache, 2, 3, 7)) == [23, None]
    assert contents(find(cache, 3, 3)) == [None]
    assert find(cache, 1, 7).places[0, SIZE] == 1000


def test_what_was_used_longest_ago_goes_first() -> None:
    """A frame that is asked for stays longer than one that was put later."""
    cache = FrameCache(5_000)
    for frame in range(4):
        cache.put(1, FRAMES, frame, body(frame))
    find(cache, 1, 0)
    cache.put(1, FRAMES, 4, body(4))
    assert contents(find(cache, 1, *range(5))) == [0, None, None, 3, 4]


@pytest.mark.parametrize("max_bytes", [0, 1_000, 3_000, 20_000])
def test_the_bound_holds_for_all_blocks_together(max_bytes: int) -> None:
    """However many there are, and nothing is counted when all has gone."""
    cache = FrameCache(max_bytes)
    for number in range(60):
        cache.put(number % 7, FRAMES, number % FRAMES, body(number))
        assert cache.size_bytes <= max_bytes
    assert bool(cache.size_bytes) == (max_bytes > 2_000)
    cache.clear()
    cache.clear()
    assert cache.size_bytes == 0
    assert contents(find(cache, 0, *range(FRAMES))) == [None] * FRAMES


def test_who_was_second_to_read_a_frame_changes_nothing() -> None:
    """The frame that others may have found stays, and counts once."""
    cache = FrameCache(100_000)
    cache.put(1, FRAMES, 3, body(1))
    size_bytes, place = cache.size_bytes, find(cache, 1, 3).places[0, ADDRESS]
    cache.put(1, FRAMES, 3, body(2))
    assert cache.size_bytes == size_bytes and find(cache, 1, 3).places[0, ADDRESS] == place


def test_frames_that_went_stay_for_those_who_found_them() -> None:
    """As long as somebody reads who began before they went, however often others went before."""
    cache = FrameCache(100_000)
    first, second = body(1), body(2)
    gone = [weakref.ref(first), weakref.ref(second)]
    cache.put(1, FRAMES, 1, first)
    cache.put(2, FRAMES, 2, second)
    del first, second
    found = find(cache, 2, 2)
    cache.clear()
    cache.put(1, FRAMES, 1, body(3))
    cache.clear()
    gc.collect()
    assert contents(found) == [2] and all(one() is not None for one in gone)
    later = find(cache, 2, 2)
    del found
    gc.collect()
    assert contents(later) == [None] and all(one() is None for one in gone)
