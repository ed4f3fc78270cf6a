"""The pages of all heads, which a finalizer may give back at any moment."""

import gc

import numpy as np

from tsdb.head.arena import Arena, Epoch


def test_pages_that_a_collection_gives_back_disturb_nobody() -> None:
    """Whoever asks how full it is hears a number, also where the garbage collector runs then."""
    arena = Arena(4096)
    pages = np.zeros(1, dtype=np.int32)
    for _ in range(30):
        arena.give_back(pages, pages)
    usual = gc.get_threshold()
    try:
        for at in range(100):
            epoch = Epoch(arena)
            epoch.end(pages, pages)
            circle: list[object] = [epoch]
            circle.append(circle)
            del epoch, circle
            gc.set_threshold(gc.get_count()[0] + at % 12)
            assert arena.used_share <= 1
            gc.set_threshold(*usual)
    finally:
        gc.set_threshold(*usual)
