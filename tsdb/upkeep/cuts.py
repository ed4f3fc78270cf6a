"""Where a seal cuts: a block ends where the largest windows of merges do.

So each can merge with what else there is of its window, and retention drops what is old, also where
a head held many days. Windows are doubled where there would be too many blocks, or where late
samples are too few for blocks of their own.
"""

from collections.abc import Iterator

import numpy as np

from tsdb.head.snapshot import HeadSnapshot

MOST_BLOCKS = 32
"""A seal makes no more of late samples, and no more of the others."""
LATE_SAMPLES = 1000
"""Late samples for each further block: what is kept too long of fewer is not worth a file."""


def late_spans(frozen: HeadSnapshot, range_ms: int) -> Iterator[tuple[int, int]]:
    """The times [start, end] of the blocks that the late samples of *frozen* make, in order.

    Windows have *range_ms*, or that doubled. There are no late samples outside these times.
    """
    times = frozen.late.times[frozen.late.times < frozen.visible_from_ms]
    if not len(times):
        return
    most = min(MOST_BLOCKS, 1 + len(times) // LATE_SAMPLES)
    range_ms = _widened(int(times.min()), int(times.max()), range_ms, most)
    for window in np.unique(times // range_ms).tolist():
        yield window * range_ms, min((window + 1) * range_ms, frozen.visible_from_ms) - 1


def spans(frozen: HeadSnapshot, until_ms: int, range_ms: int) -> Iterator[tuple[int, int]]:
    """The times [start, end] of the blocks of all other samples before *until_ms*, in order.

    They follow each other from the end of the seal before on.
    """
    start_ms, first_ms = frozen.visible_from_ms, frozen.first_ms
    last_ms = min(until_ms - 1, frozen.max_time_ms)
    if first_ms < last_ms:
        range_ms = _widened(first_ms, last_ms, range_ms, MOST_BLOCKS)
        for window in range(first_ms // range_ms + 1, last_ms // range_ms + 1):
            yield start_ms, window * range_ms - 1
            start_ms = window * range_ms
    yield start_ms, until_ms - 1


def _widened(first_ms: int, last_ms: int, range_ms: int, most: int) -> int:
    """*range_ms*, doubled until at most so many windows hold these times, or it is an age."""
    while last_ms // range_ms - first_ms // range_ms >= most and range_ms < 2**62:
        range_ms *= 2
    return range_ms
