"""Fair: the threads that answer queries, shared by organizations in turn.

Each organization has a queue of its own and the queues take turns, so who asks much waits for
itself. One more thread works only for organizations of which nothing is running, and none has
more than all but one thread: a few slow queries of one keep no other waiting.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from traceback import clear_frames
from typing import Any


class FairPool:
    """*workers* threads for all and one in reserve. Any thread may call any method."""

    def __init__(self, workers: int, name: str) -> None:
        lock = threading.Lock()
        self._common = threading.Condition(lock)
        self._reserve = threading.Condition(lock)
        self._lock = lock
        self._queues: dict[str, deque[_Task]] = {}
        self._running: Counter[str] = Counter()
        self._idle = 0
        self._closing = False
        self._workers = workers
        self._threads = [
            threading.Thread(target=self._work, args=(at == workers,), name=f"{name}-{at}")
            for at in range(workers + 1)
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def of(self, org: str) -> Executor:
        """The pool as *org* uses it."""
        return _Share(self, org)

    def waiting(self, org: str) -> int:
        """The tasks of *org* that wait for a thread."""
        queue = self._queues.get(org)
        return len(queue) if queue is not None else 0

    def shutdown(self) -> None:
        """Cancels what waits and returns when nothing runs."""
        with self._lock:
            self._closing = True
            queues, self._queues = self._queues, {}
            self._common.notify_all()
            self._reserve.notify_all()
        for queue in queues.values():
            for task in queue:
                task.future.cancel()
        for thread in self._threads:
            thread.join()

    def enqueue(self, org: str, run: Callable[[], Any]) -> "Future[Any]":
        task = _Task(run)
        with self._lock:
            if self._closing:
                raise RuntimeError("the pool is closed")
            self._queues.setdefault(org, deque()).append(task)
            if self._idle:
                self._idle -= 1
                self._common.notify()
            elif not self._running[org]:
                self._reserve.notify()
        return task.future

    def _work(self, reserve: bool) -> None:
        while True:
            with self._lock:
                while (found := self._next(reserve)) is None:
                    if self._closing:
                        return
                    self._sleep(reserve)
                org, task = found
                self._running[org] += 1
            task.carry_out()
            del task, found
            with self._lock:
                self._running[org] -= 1
                if not self._running[org]:
                    del self._running[org]
                    if org in self._queues:
                        self._reserve.notify()
                if self._idle and self._queues:
                    self._idle -= 1
                    self._common.notify()

    def _sleep(self, reserve: bool) -> None:
        if reserve:
            self._reserve.wait()
            return
        # Whoever wakes a thread counts it as busy at once, so that the next task wakes another.
        self._idle += 1
        self._common.wait()

    def _next(self, reserve: bool) -> "tuple[str, _Task] | None":
        """The task whose turn it is; its organization goes to the end of the row."""
        most = 1 if reserve else self._workers
        for org in self._queues:
            if self._running[org] >= most:
                continue
            queue = self._queues.pop(org)
            task = queue.popleft()
            if queue:
                self._queues[org] = queue
            return org, task
        return None


class _Task:
    __slots__ = ("future", "run")

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run
        self.future: Future[Any] = Future()

    def carry_out(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.run()
        except BaseException as error:  # whatever it is, the asker must hear of it
            # What the failed call holds is let go of here and now, by this thread. The error leads
            # to its frames and back, so it would else live until the garbage collector runs, and
            # generators that have a thread at work would be closed by a thread that collects.
            clear_frames(error.__traceback__)
            self.future.set_exception(error)
            del self
        else:
            self.future.set_result(result)


class _Share(Executor):
    """What ``asyncio`` takes for a pool of threads."""

    def __init__(self, pool: FairPool, org: str) -> None:
        self._pool = pool
        self._org = org

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        return self._pool.enqueue(self._org, lambda: fn(*args, **kwargs))
