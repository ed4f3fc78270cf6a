"""Ahead: two threads make the slabs of a query, one of them while it uses those before.

Kernels hold no lock of the interpreter, so that a wide query keeps two cores busy. No query gets
more than one thread besides its own, and there is one for every two cores: where many queries run
they share the cores anyway, and a query that gets none makes everything itself.
"""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

DEPTH = 3
"""So many are begun and not yet taken at most. Threads are woken less often than one for each."""

_free = threading.Semaphore((os.cpu_count() or 1) // 2)
"""The threads that have nothing to do."""


_libc = ctypes.CDLL(None)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2), "o11y-ahead")


def ahead(make: Callable[[S], T], tasks: Iterator[S]) -> Iterator[T]:
    """``map(make, tasks)`` in order, two made at once if a thread and a core are free for it.

    *tasks* are never asked by two threads at once, and nothing is made any more when the answer
    ends or is closed; what is raised is raised here, in its place.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        yield from map(make, tasks)
        return
    pair = _Pair(make, tasks, cores)
    try:
        while (made := pair.take()) is not None:
            yield made.result()
    finally:
        pair.stop()


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


class _Pair(Generic[S, T]):
    """The thread that asks, which alone calls ``take`` and ``stop``, and one that helps it."""

    def __init__(self, make: Callable[[S], T], tasks: Iterator[S], cores: set[int]) -> None:
        """For the calling thread, which may run on *cores*."""
        self._make = make
        self._tasks = tasks
        self._cores = cores
        self._asker = threading.get_native_id()
        self._others: set[int] = set()
        """The cores for the helper, once there is one; the asker keeps off them."""
        self._helper: Future[None] | None = None
        self._beginning = threading.Lock()
        self._begun: deque[Future[T]] = deque()
        self._ended = False

    def take(self) -> Future[T] | None:
        """The next that was made; None where there is none left."""
        while not (self._begun and self._begun[0].done()):
            if self._make_one():
                continue
            if not self._begun:
                return None
            self._begun[0].exception()  # waits for it
        self._find_helper()
        return self._begun.popleft()

    def stop(self) -> None:
        """Returns when no thread makes anything any more."""
        self._ended = True
        if self._helper is not None:
            self._helper.result()
            _move(self._asker, self._cores)

    def _find_helper(self) -> None:
        has_one = self._helper is not None and not self._helper.done()
        if has_one or self._ended or len(self._begun) >= DEPTH - 1:
            return
        if _free.acquire(blocking=False):
            if not self._others:
                own, self._others = _halves(self._cores)
                _move(self._asker, own)
            self._helper = _threads().submit(self._help)

    def _help(self) -> None:
        _move(0, self._others)
        while self._make_one():
            pass
        _free.release()

    def _make_one(self) -> bool:
        """Makes the next that nobody has begun; False where there is none or enough are."""
        made: Future[T] = Future()
        with self._beginning:
            if self._ended or len(self._begun) >= DEPTH:
                return False
            try:
                task = next(self._tasks)
            except StopIteration:
                self._ended = True
                return False
            except BaseException as error:  # whatever it is, it belongs to the thread that asks
                self._fail(made, error)
            self._begun.append(made)
        if not made.done():
            try:
                made.set_result(self._make(task))
            except BaseException as error:  # as above
                self._fail(made, error)
        return True

    def _fail(self, made: Future[T], error: BaseException) -> None:
        self._ended = True
        made.set_exception(error)
