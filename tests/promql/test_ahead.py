"""Making ahead: the same results in the same order, by whichever thread."""

import os
import threading
from collections.abc import Iterator

import pytest

from promql import ahead as module
from promql.ahead import DEPTH, ahead

WAIT_S = 30


@pytest.fixture(autouse=True)
def one_free_thread(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    free = threading.Semaphore(1)
    monkeypatch.setattr(module, "_free", free)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    return free


@pytest.fixture(autouse=True)
def moves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, set[int]]]:
    """Thread and cores of every call that would move one; 0 is the caller."""
    made: list[tuple[int, set[int]]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda *move: made.append(move))
    return made


class Maker:
    """Gives every task back, and remembers which thread made it."""

    def __init__(self) -> None:
        self.threads: dict[int, threading.Thread] = {}

    def __call__(self, task: int) -> int:
        self.threads[task] = threading.current_thread()
        return task


def _tasks(count: int = 20) -> Iterator[int]:
    """A generator, which would not let itself be asked by two threads at once."""
    yield from range(count)


def test_two_are_made_at_once() -> None:
    """One by the thread that asks, one by another, after the first alone."""
    both = threading.Barrier(2)
    made = Maker()

    def make(task: int) -> int:
        if task in (1, 2):
            both.wait(WAIT_S)
        return made(task)

    assert list(ahead(make, _tasks())) == list(range(20))
    assert threading.current_thread() in (made.threads[1], made.threads[2])
    assert made.threads[1] is not made.threads[2]


def test_some_are_made_while_those_before_are_in_use() -> None:
    """The other thread goes on, so far and no further."""
    full = threading.Event()
    made = Maker()

    def make(task: int) -> int:
        if task == DEPTH:
            full.set()
        return made(task)

    answer = ahead(make, _tasks())
    assert next(answer) == 0
    assert full.wait(WAIT_S)
    assert len(made.threads) <= 1 + DEPTH
    assert list(answer) == list(range(1, 20))


def test_an_error_comes_in_its_place(one_free_thread: threading.Semaphore) -> None:
    """What is before it comes first, though it was made later; the thread is free again."""
    failed = threading.Event()

    def make(task: int) -> int:
        if task == 2:
            failed.set()
            raise ValueError("no more")
        assert task == 0 or failed.wait(WAIT_S)
        return task

    answer = ahead(make, _tasks())
    assert [next(answer), next(answer)] == [0, 1]
    with pytest.raises(ValueError, match="no more"):
        next(answer)
    assert one_free_thread.acquire(blocking=False)


def test_an_error_of_the_tasks_comes_after_what_was_made_before(
    one_free_thread: threading.Semaphore,
) -> None:
    """It is raised where the task would have been."""

    def tasks() -> Iterator[int]:
        yield from range(2)
        raise ValueError("no more")

    answer = ahead(Maker(), tasks())
    assert [next(answer), next(answer)] == [0, 1]
    with pytest.raises(ValueError, match="no more"):
        next(answer)
    assert one_free_thread.acquire(blocking=False)


def test_a_closed_answer_is_made_no_further(
    one_free_thread: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once ``close`` returns no thread works on it."""
    monkeypatch.setattr(module, "DEPTH", 10**9)
    made = Maker()
    answer = ahead(made, _tasks(1_000_000))
    assert next(answer) == 0
    answer.close()  # type: ignore[attr-defined]
    count = len(made.threads)
    assert one_free_thread.acquire(timeout=WAIT_S)
    assert len(made.threads) == count < 1_000_000


@pytest.mark.parametrize("cores", [{0}, {0, 1}])
def test_without_a_free_thread_or_core_the_caller_makes_all(
    cores: set[int], one_free_thread: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made before it is asked for then."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cores)
    if len(cores) > 1:
        one_free_thread.acquire()
    made = Maker()
    for item in ahead(made, _tasks()):
        assert len(made.threads) == item + 1
    assert set(made.threads.values()) == {threading.current_thread()} and len(made.threads) == 20


def test_the_two_threads_keep_to_different_cores(moves: list[tuple[int, set[int]]]) -> None:
    """Each to one of two; the one that asks may use both again at the end."""
    own = threading.get_native_id()
    assert list(ahead(Maker(), _tasks())) == list(range(20))
    of_asker = [cores for thread, cores in moves if thread == own]
    of_other = [cores for thread, cores in moves if thread == 0]
    assert len(of_asker) == 2 and of_asker[-1] == {0, 1}
    assert of_other and all(cores == {0, 1} - of_asker[0] for cores in of_other)


def test_a_system_that_moves_no_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The results come all the same."""

    def refuse(thread: int, cores: set[int]) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert list(ahead(Maker(), _tasks())) == list(range(20))


def test_nobody_is_moved_where_no_thread_is_free(
    moves: list[tuple[int, set[int]]], one_free_thread: threading.Semaphore
) -> None:
    """The asker does everything, wherever it is put."""
    one_free_thread.acquire()
    assert list(ahead(Maker(), _tasks())) == list(range(20))
    assert moves == []
