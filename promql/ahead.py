"""Ahead: slabs are read by another thread while those before are worked on.

Kernels hold no lock of the interpreter, so that a wide query keeps two cores busy. No query gets
more than one thread besides its own, and there is one for every two cores: where many queries run
they share the cores anyway, and a query that gets none does the reading itself.
"""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 3
"""So many slabs wait at most. Threads are woken less often than one for each."""

_free = threading.Semaphore((os.cpu_count() or 1) // 2)
"""The threads that have nothing to do."""


_libc = ctypes.CDLL(None)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2), "o11y-ahead")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """*items* in order, made while those before are in use, if a thread and a core are free for it.

    *items* are never run by two threads at once, and by none when the answer ends or is closed;
    what they raise is raised here.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        yield from items
        return
    buffer = _Buffer(items, cores)
    try:
        while found := buffer.take():
            yield found[0]
    finally:
        buffer.stop()


def _halves(cores: set[int]) -> tuple[set[int], set[int]]:
    """Of *cores* those for the calling thread, the one it runs on among them, and the others.

    Linux puts a thread that is woken beside the one that wakes it: after a rest, two that hand
    each other slabs were seen to share one core for a whole query while the other was idle.
    """
    ordered = sorted(cores)
    low, high = set(ordered[: len(ordered) // 2]), set(ordered[len(ordered) // 2 :])
    return (low, high) if _libc.sched_getcpu() in low else (high, low)


def _move(thread_id: int, cores: set[int]) -> None:
    # Only a hint: where a sandbox forbids it, or a core is gone, the system chooses.
    with suppress(OSError):
        os.sched_setaffinity(thread_id, cores)


class _Buffer(Generic[T]):
    """What was made and waits; ``take`` and ``stop`` are for one thread."""

    def __init__(self, items: Iterator[T], cores: set[int]) -> None:
        """For the calling thread, which may run on *cores*."""
        self._items = items
        self._cores = cores
        self._asker = threading.get_native_id()
        self._others: set[int] = set()
        """The cores for the other thread, once there is one; the asker keeps off them."""
        self._waiting: deque[tuple[T, ...] | BaseException] = deque()
        self._changed = threading.Condition()
        self._filling = False
        self._ended = False

    def take(self) -> tuple[T, ...]:
        """The next of the items; nothing where there are none left."""
        with self._changed:
            while self._filling and not self._waiting:
                self._changed.wait()
            found = self._waiting.popleft() if self._waiting else None
        if found is None:
            found = self._made()
        if isinstance(found, BaseException):
            raise found
        with self._changed:
            wanted = not self._filling and not self._ended and len(self._waiting) < DEPTH - 1
            if wanted and _free.acquire(blocking=False):
                if not self._others:
                    own, self._others = _halves(self._cores)
                    _move(self._asker, own)
                _threads().submit(self._fill)
                self._filling = True
        return found

    def stop(self) -> None:
        """Returns when no thread works on the items any more."""
        with self._changed:
            self._ended = True
            while self._filling:
                self._changed.wait()
        if self._others:
            _move(self._asker, self._cores)

    def _made(self) -> tuple[T, ...] | BaseException:
        try:
            for item in self._items:
                return (item,)
        except BaseException as error:  # whatever it is, it belongs to the thread that asks
            self._ended = True
            return error
        self._ended = True
        return ()

    def _fill(self) -> None:
        _move(0, self._others)
        filling = True
        while filling:
            found = self._made()
            with self._changed:
                self._waiting.append(found)
                filling = not self._ended and len(self._waiting) < DEPTH
                if not filling:
                    _free.release()
                self._filling = filling
                self._changed.notify()
