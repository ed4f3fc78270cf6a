"""Reads of blocks from the disk, as the thread that makes them counts or refuses them.

What an earlier read has left in memory costs no waiting; only who loads it knows that.
"""

import threading

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


class Watched:
    """While it is entered *context* hears whether the disk was touched, which is refused where it
    has to be."""

    __slots__ = ("_before", "_context", "_was_refused")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        reads = _reads
        self._before, self._was_refused = reads.count, reads.refused
        reads.refused = self._context.memory_only

    def __exit__(self, *error: object) -> None:
        reads = _reads
        reads.refused = self._was_refused
        self._context.touched_disk |= reads.count != self._before
