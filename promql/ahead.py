"""Ahead: slabs are read by another thread while those before are worked on.

Kernels hold no lock of the interpreter, so that a wide query keeps two cores busy. No query gets
more than one thread besides its own, and there is one for every two cores: where many queries run
they share the cores anyway, and a query that gets none does the reading itself.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 3
"""So many slabs wait at most. Threads are woken less often than one for each."""

_free = threading.Semaphore((os.cpu_count() or 1) // 2)
"""The threads that have nothing to do."""


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2), "o11y-ahead")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """*items* in order, made while those before are in use, if a thread and a core are free for it.

    *items* are never run by two threads at once, and by none when the answer ends or is closed;
    what they raise is raised here.
    """
    if len(os.sched_getaffinity(0)) < 2:
        yield from items
        return
    buffer = _Buffer(items)
    try:
        while found := buffer.take():
            yield found[0]
    finally:
        buffer.stop()


class _Buffer(Generic[T]):
    """What was made and waits; ``take`` and ``stop`` are for one thread."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
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
                _threads().submit(self._fill)
                self._filling = True
        return found

    def stop(self) -> None:
        """Returns when no thread works on the items any more."""
        with self._changed:
            self._ended = True
            while self._filling:
                self._changed.wait()

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
