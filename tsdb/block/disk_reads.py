"""Reads of blocks from the disk, as the thread that makes them counts or refuses them.

What an earlier read has left in memory costs no waiting; only who loads it knows that.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from series.ports import Context, NotInMemory


class _Reads(threading.local):
    count = 0
    refused = False


_reads = _Reads()


def note_read() -> None:
    """To be called before anything is loaded; raises NotInMemory where this thread may not wait."""
    if _reads.refused:
        raise NotInMemory
    _reads.count += 1


@contextmanager
def watched(context: Context) -> Iterator[None]:
    """Tells *context* whether the disk was touched, and refuses that where it has to be."""
    before, was_refused = _reads.count, _reads.refused
    _reads.refused = context.memory_only
    try:
        yield
    finally:
        _reads.refused = was_refused
        context.touched_disk |= _reads.count != before
