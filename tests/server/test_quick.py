"""Quick queries: the loop answers them itself, and only them."""

import threading

import pytest

from server.access import query_limits
from server.api import metadata_api, query_api, quick
from server.api.quick import MAX_KNOWN, QUICK_SECONDS, SLOW_SECONDS, QuickQueries
from tests.server.conftest import NOW_MS, Asker, up
from tests.wire import encode
from tsdb.block.row_cache import RowCache

KIND = ("default", "up", 0, "application/json")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each evaluation, whether it ran in the main thread."""
    seen: list[bool] = []
    evaluate = query_api._evaluate

    def watched(*arguments: object) -> object:
        seen.append(threading.current_thread() is threading.main_thread())
        return evaluate(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(query_api, "_evaluate", watched)
    monkeypatch.setattr(quick, "QUICK_SECONDS", 1e9)
    monkeypatch.setattr(quick, "SLOW_SECONDS", 1e9)
    return seen


def test_what_was_quick_runs_on_the_loop(asker: Asker, threads: list[bool]) -> None:
    """From the second time on, with equal answers; another range is another query."""
    asker.write(up("a", 1, 2))
    assert asker.values("up") == asker.values("up") == asker.values("up") == {"a": "2"}
    assert threads == [False, True, True]
    times = {"start": NOW_MS / 1000 - 60, "end": NOW_MS / 1000, "step": 15}
    for _ in range(2):
        assert asker.get("/api/v1/query_range", query="up", **times).status_code == 200
    assert threads[3:] == [False, True]


def test_what_grew_goes_to_a_worker(
    asker: Asker, threads: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the same, and the query no longer counts as quick."""
    asker.write(up("a", 1), up("b", 1))
    asker.values("up")
    monkeypatch.setattr(quick, "QUICK_SECONDS", 0.0)
    monkeypatch.setattr(query_api, "QUICK_SAMPLES", 1)
    assert asker.values("up") == {"a": "1", "b": "1"}
    assert threads == [False, True, False]
    assert not asker.house.quick.knows(KIND)


def test_what_holds_many_samples_is_not_tried_on_the_loop(
    asker: Asker, threads: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However quick it was: it would be given up there each time, and evaluated twice."""
    monkeypatch.setattr(query_api, "QUICK_SAMPLES", 1)
    asker.write(up("a", 1), up("b", 1))
    for _ in range(3):
        assert asker.values("up") == {"a": "1", "b": "1"}
    assert threads == [False, False, False]


def test_what_must_be_read_from_disk_goes_to_a_worker(asker: Asker, threads: list[bool]) -> None:
    """The loop never waits for the disk; what a block has in memory it may read."""
    asker.write(up("a", *range(20), step_ms=1_800_000))
    asker.house.store.maintain()
    early = {"query": "up", "time": (NOW_MS - 8 * 3_600_000) / 1000}
    for _ in range(3):
        assert asker.get("/api/v1/query", **early).json()["data"]["result"]
    assert threads == [False, False, True]
    cache = asker.house.store._machine.cache
    for held in (cache.frames, cache.indexes):
        held.clear()
        cache.rows = RowCache()
        assert asker.get("/api/v1/query", **early).json()["data"]["result"]
        assert threads[3:] == [True, False]
        asker.house.quick.learn(KIND, 0.0)
        del threads[3:]


def test_errors_are_the_same_on_the_loop(asker: Asker, threads: list[bool]) -> None:
    """A query that fails was never quick; one that begins to fail says why."""
    asker.write(up("a", 1))
    asker.house.quick.learn(("default", "up +", 0, "application/json"), 0.0)
    asker.house.quick.learn(
        ("default", "up * on() group_left() up[1m]", 0, "application/json"), 0.0
    )
    for query in ("up +", "up * on() group_left() up[1m]"):
        answer = asker.get("/api/v1/query", query=query)
        assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    assert threads == [True, True]


def test_what_is_remembered() -> None:
    """Short and quick queries, so many; a little slowness is forgiven."""
    queries = QuickQueries()
    queries.learn(KIND, QUICK_SECONDS * 2)
    assert not queries.knows(KIND)
    queries.learn(KIND, QUICK_SECONDS / 2)
    queries.learn(KIND, QUICK_SECONDS * 2)
    assert queries.knows(KIND)
    queries.learn(KIND, SLOW_SECONDS * 2)
    assert not queries.knows(KIND)
    long = ("default", "x" * 2000, 0, "")
    queries.learn(long, 0.0)
    assert not queries.knows(long)
    for number in range(MAX_KNOWN + 1):
        queries.learn(("default", "up", number, ""), 0.0)
    assert not queries.knows(("default", "up", 0, ""))
    assert queries.knows(("default", "up", MAX_KNOWN, ""))


METADATA: tuple[tuple[str, dict[str, str]], ...] = (
    ("/api/v1/labels", {}),
    ("/api/v1/label/job/values", {}),
    ("/api/v1/label/job/values", {"match[]": "up"}),
    ("/api/v1/series", {"match[]": "up"}),
)


@pytest.mark.parametrize(("path", "params"), METADATA)
def test_labels_in_memory_are_told_by_the_loop(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, path: str, params: dict[str, str]
) -> None:
    """From the second time on, with equal answers, and with what came in between."""
    monkeypatch.setattr(quick, "QUICK_SECONDS", 1e9)
    monkeypatch.setattr(quick, "SLOW_SECONDS", 1e9)
    seen: list[bool] = []

    def watched(*arguments: object, **named: object) -> object:
        seen.append(threading.current_thread() is threading.main_thread())
        return query_limits.readable(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(metadata_api, "readable", watched)
    asker.write(up("a", 1))
    first, second = (asker.get(path, **params).json()["data"] for _ in range(2))
    assert first == second
    asker.write(
        encode.Series([(b"__name__", b"up"), (b"job", b"b"), (b"new", b"x")], [(NOW_MS, 1.0)])
    )
    third = asker.get(path, **params).json()["data"]
    assert len(third) == len(first) + 1
    assert seen == [False, True, True]


def test_labels_on_disk_are_told_by_a_worker(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the index of the block is in memory."""
    asker.write(up("a", *range(20), step_ms=1_800_000))
    asker.house.store.maintain()
    db = asker.house.store.tenant("default")
    assert db is not None
    view = db.view()
    asker.house.store._machine.cache.indexes.clear()
    assert not view.has_labels_in_memory(0, NOW_MS)
    assert asker.get("/api/v1/label/job/values").json()["data"] == ["a"]
    assert view.has_labels_in_memory(0, NOW_MS)
