"""Reading ahead: the same items in the same order, by whichever thread."""

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


def _made_by(makers: list[threading.Thread], count: int = 20) -> Iterator[int]:
    for item in range(count):
        makers.append(threading.current_thread())
        yield item


def test_items_are_made_while_those_before_are_in_use() -> None:
    """By one other thread, some ahead and no more; their order stays."""
    ready = threading.Event()
    made: list[threading.Thread] = []

    def items() -> Iterator[int]:
        for item in _made_by(made):
            if item == DEPTH:
                ready.set()
            yield item

    answer = ahead(items())
    assert next(answer) == 0
    assert ready.wait(WAIT_S)
    assert len(made) <= 1 + DEPTH
    assert list(answer) == list(range(1, 20))
    assert made[0] is threading.current_thread() is not made[1]


def test_an_error_comes_after_the_items_before_it(one_free_thread: threading.Semaphore) -> None:
    """It is raised where the item it stands for is asked for; the thread is free again."""

    def items() -> Iterator[int]:
        yield 0
        yield 1
        raise ValueError("no more")

    answer = ahead(items())
    assert [next(answer), next(answer)] == [0, 1]
    with pytest.raises(ValueError, match="no more"):
        next(answer)
    assert one_free_thread.acquire(blocking=False)


def test_a_closed_answer_is_made_no_further(one_free_thread: threading.Semaphore) -> None:
    """Once ``close`` returns no thread works on the items."""
    made: list[threading.Thread] = []
    answer = ahead(_made_by(made, 1_000_000))
    assert next(answer) == 0
    answer.close()  # type: ignore[attr-defined]
    count = len(made)
    assert one_free_thread.acquire(timeout=WAIT_S)
    assert len(made) == count <= 1 + DEPTH


@pytest.mark.parametrize("cores", [{0}, {0, 1}])
def test_without_a_free_thread_or_core_the_caller_makes_all(
    cores: set[int], one_free_thread: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made before it is asked for then."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cores)
    if len(cores) > 1:
        one_free_thread.acquire()
    made: list[threading.Thread] = []
    for item in ahead(_made_by(made)):
        assert len(made) == item + 1
    assert set(made) == {threading.current_thread()} and len(made) == 20


def test_the_two_threads_keep_to_different_cores(moves: list[tuple[int, set[int]]]) -> None:
    """Each to one of two; the one that asks may use both again at the end."""
    own = threading.get_native_id()
    assert list(ahead(iter(range(20)))) == list(range(20))
    of_asker = [cores for thread, cores in moves if thread == own]
    of_other = [cores for thread, cores in moves if thread == 0]
    assert len(of_asker) == 2 and of_asker[-1] == {0, 1}
    assert of_other and all(cores == {0, 1} - of_asker[0] for cores in of_other)


def test_a_system_that_moves_no_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The items come all the same."""

    def refuse(thread: int, cores: set[int]) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert list(ahead(iter(range(20)))) == list(range(20))


def test_nobody_is_moved_where_no_thread_is_free(
    moves: list[tuple[int, set[int]]], one_free_thread: threading.Semaphore
) -> None:
    """The asker does everything, wherever it is put."""
    one_free_thread.acquire()
    assert list(ahead(iter(range(20)))) == list(range(20))
    assert moves == []
