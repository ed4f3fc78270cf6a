"""Range queries over HTTP, with the cache and around it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from server.access import limits
from server.access.keys import Role, create_key, parse_matcher
from server.api import quick, range_cache
from server.command.asking import ARROW_STREAM
from tests.server.conftest import NOW_MS, Asker, up

TIMES = {"start": NOW_MS / 1000 - 300, "end": NOW_MS / 1000, "step": 15}


@pytest.fixture(autouse=True)
def _keeps_quick_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are kept however quick they are, and none is made on the event loop."""
    monkeypatch.setattr(range_cache, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(range_cache, "thread_time", lambda: 0.0)
    monkeypatch.setattr(quick, "QUICK_SECONDS", 0.0)


def _asks(asker: Asker, headers: dict[str, str] | None = None, /, **params: object) -> bytes:
    answer = asker.get("/api/v1/query_range", headers, **{"query": "sum(up)", **TIMES, **params})
    assert answer.status_code == 200, answer.text
    return answer.content


def _counts(asker: Asker) -> tuple[int, int, int]:
    """Hits, partial hits and misses."""
    requests = asker.house.range_cache.requests
    return requests["hit"], requests["partial"], requests["miss"]


def test_what_is_asked_again_and_again_is_kept(asker: Asker) -> None:
    """From the second time on; a write costs the steps that it reaches; the metrics tell."""
    asker.write(up("a", *range(30)), up("b", *range(30)))
    answers = {_asks(asker) for _ in range(3)}
    assert len(answers) == 1
    assert _counts(asker) == (1, 0, 2)
    asker.write(up("c", 5))
    assert _asks(asker) == _asks(asker, nocache=1) not in answers
    assert _counts(asker) == (1, 1, 2)
    page = asker.get("/metrics").text
    assert 'o11y_query_cache_requests_total{result="partial"} 1.0' in page
    assert "o11y_query_cache_reused_steps_total 41.0" in page
    assert "o11y_query_cache_outdated_steps_total 1.0" in page


@pytest.mark.parametrize(
    "params", [{"nocache": 1}, {"stats": "all"}, {"analyze": 1}, {"strict": 1}, {"explain": 1}]
)
def test_what_goes_around_the_cache(asker: Asker, params: dict[str, object]) -> None:
    """It neither finds anything there nor leaves anything."""
    asker.write(up("a", *range(30)))
    for _ in range(3):
        _asks(asker, **params)
    assert _counts(asker) == (0, 0, 0)


def test_arrow_goes_around_the_cache(asker: Asker) -> None:
    """Its bytes hold dictionaries, which depend on how labels were read."""
    asker.write(up("a", *range(30)))
    for _ in range(3):
        _asks(asker, {"accept": ARROW_STREAM})
    assert _counts(asker) == (0, 0, 0)


def test_a_limit_takes_the_first_of_what_is_kept(asker: Asker) -> None:
    """And the warning stands in the answer."""
    asker.write(up("b", *range(30)), up("a", *range(30)))
    for _ in range(3):
        _asks(asker, query="up")
    assert _asks(asker, query="up", limit=1) == _asks(asker, query="up", limit=1, nocache=1)
    assert _counts(asker) == (2, 0, 2)


def test_another_lookback_is_another_answer(asker: Asker) -> None:
    """What was kept for one does not serve the other."""
    asker.write(up("a", *range(30), step_ms=60_000))
    for _ in range(3):
        _asks(asker)
    found = _asks(asker, lookback_delta="20s")
    assert found == _asks(asker, lookback_delta="20s", nocache=1) != _asks(asker)


def test_every_key_and_tenant_has_answers_of_its_own(
    make_asker: Callable[..., Asker], tmp_path: Path
) -> None:
    """Who may read less is not answered from what others have read."""
    path = tmp_path / "keys"
    whole = create_key(path, "acme", Role.ADMIN)
    part = create_key(path, "acme", Role.READ, (parse_matcher('job="a"'),))
    other = create_key(path, "globex", Role.ADMIN)
    asker = make_asker(keys_file=path)
    keys = [{"authorization": f"Bearer {key}"} for key in (whole, part, other)]
    asker.write(up("a", *range(30)), up("b", *range(30)), headers=keys[0])
    asker.write(up("a", *range(1, 31)), headers=keys[2])
    expected = [_asks(asker, key, nocache=1) for key in keys]
    assert len({*expected}) == 3
    for _ in range(3):
        assert [_asks(asker, key) for key in keys] == expected
    assert _counts(asker) == (3, 0, 6)


def test_limits_hold_for_what_is_kept(
    make_asker: Callable[..., Asker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of now, not those of when it was kept, in the words of the whole evaluation."""
    monkeypatch.setattr(limits, "RECHECK_SECONDS", 0.0)
    path = tmp_path / "limits.yml"
    path.write_text("defaults: {}\n")
    asker = make_asker(limits_file=path)
    asker.write(up("a", *range(30)), up("b", *range(30)))
    for _ in range(3):
        _asks(asker)
    assert _counts(asker) == (1, 0, 2)
    for text in ("max_query_lookback: 2m", "max_fetched_series_per_query: 1"):
        path.write_text(f"defaults:\n  {text}\n")
        cached, whole = (
            asker.get("/api/v1/query_range", query="sum(up)", nocache=nocache, **TIMES)
            for nocache in (0, 1)
        )
        assert cached.content == whole.content
        assert text.partition(":")[0].replace("_", "-") in cached.text.replace("_", "-")
    assert _counts(asker) == (1, 0, 3)


def test_a_cache_of_no_size_keeps_nothing(make_asker: Callable[..., Asker]) -> None:
    """And counts nothing."""
    asker = make_asker(query_cache_bytes=0)
    asker.write(up("a", *range(30)))
    for _ in range(3):
        _asks(asker)
    assert _counts(asker) == (0, 0, 0)


def test_what_is_quick_is_not_kept(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would cost more to look it up; on the event loop nobody does."""
    monkeypatch.setattr(range_cache, "LEAST_SECONDS", 1e9)
    monkeypatch.setattr(quick, "QUICK_SECONDS", 1e9)
    asker.write(up("a", *range(30)))
    for _ in range(3):
        _asks(asker)
    assert _counts(asker) == (0, 0, 1)
    assert not asker.house.range_cache.size_bytes
