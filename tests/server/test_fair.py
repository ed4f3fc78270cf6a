"""The pool of query threads: in turn, with a thread in reserve."""

import gc
import hashlib
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from server.access.fair import FairPool
from server.doors.ingest import INLINE_BYTES
from tests.server.conftest import Asker, up
from tests.wire import encode


def test_results_and_errors_come_back() -> None:
    """As from any pool of threads."""
    pool = FairPool(2, "test")
    assert pool.of("a").submit(lambda x, y: x + y, 1, y=2).result(5) == 3
    failed: Future[Any] = pool.of("a").submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(5)
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.of("a").submit(print)


def test_a_call_that_failed_leaves_nothing_to_the_garbage_collector() -> None:
    """What it held is let go of, and its generators are closed, in the thread that ran it."""
    pool = FairPool(1, "test")
    closed_by: list[str] = []

    def numbers() -> Iterator[int]:
        try:
            yield from (1, 0)
        finally:
            closed_by.append(threading.current_thread().name)

    def fail() -> None:
        given = numbers()
        held = Future[Any]()
        try:
            print(next(given) // 0)
        except ZeroDivisionError as error:
            held.set_exception(error)
            raise

    gc.collect()
    gc.disable()
    try:
        failed = pool.of("a").submit(fail)
        assert isinstance(failed.exception(5), ZeroDivisionError)
        pool.shutdown()
        assert closed_by == ["test-0"]
        reference = weakref.ref(failed)
        del failed
        assert reference() is None
    finally:
        gc.enable()


def test_organizations_take_turns() -> None:
    """Of one that has asked much and one that asks once, the one is next."""
    pool = FairPool(1, "test")
    gate, order = threading.Event(), list[str]()
    begun = threading.Barrier(3)

    def block() -> None:
        begun.wait(10)
        gate.wait(10)

    blocked = [pool.of(org).submit(block) for org in ("many", "busy")]
    begun.wait(10)
    done = [pool.of("many").submit(order.append, f"many {k}") for k in range(3)]
    done += [pool.of(org).submit(order.append, org) for org in ("few", "busy")]
    assert pool.waiting("many") == 3
    gate.set()
    for one in (*blocked, *done):
        one.result(5)
    assert order.index("few") <= 2
    pool.shutdown()


def test_the_reserve_serves_whoever_has_nothing_running() -> None:
    """Slow queries of one organization keep no other waiting."""
    pool = FairPool(2, "test")
    gate = threading.Event()
    slow = [pool.of("slow").submit(gate.wait, 10) for _ in range(6)]
    assert pool.of("quick").submit(lambda: "answered").result(5) == "answered"
    assert pool.waiting("slow") >= 3, "the reserve is not for those who have a thread"
    gate.set()
    assert all(one.result(5) for one in slow)
    assert pool.waiting("slow") == 0
    pool.shutdown()


def test_no_organization_has_all_threads() -> None:
    """However its tasks come and end, one thread is left for the others."""
    pool = FairPool(2, "test")
    for _ in range(50):
        gate = threading.Event()
        slow = [pool.of("slow").submit(gate.wait, 10) for _ in range(5)]
        assert pool.of("quick").submit(gate.is_set).result(5) is False
        gate.set()
        assert all(one.result(5) for one in slow)
    pool.shutdown()


def test_closing_cancels_what_waits() -> None:
    """What runs is finished first."""
    pool = FairPool(1, "test")
    gate, begun = threading.Event(), threading.Barrier(3)

    def block() -> bool:
        begun.wait(10)
        return gate.wait(10)

    running = [pool.of(org).submit(block) for org in "ab"]
    begun.wait(10)
    waiting = [pool.of("a").submit(print) for _ in range(3)]
    threading.Timer(0.05, gate.set).start()
    pool.shutdown()
    assert all(one.result(0) for one in running)
    assert all(one.cancelled() for one in waiting)


def test_large_bodies_of_one_organization_keep_no_other_waiting(asker: Asker) -> None:
    """Decoding takes turns as queries do."""
    gate = threading.Event()
    writes = asker.house.writes
    slow = [writes.of("slow").submit(gate.wait, 10) for _ in range(6)]
    texts = [hashlib.sha256(b"%d" % k).hexdigest() for k in range(200)]
    body = encode.snappy(b"".join(encode.series(up(text, 1)) for text in texts))
    assert len(body) > INLINE_BYTES
    assert asker.write_body(body, {"x-org-id": "quick"}).status_code == 204
    assert writes.waiting("slow") >= 3
    gate.set()
    assert all(one.result(5) for one in slow)
