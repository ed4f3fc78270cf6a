"""Answers from the cache are those of the evaluation without it, byte for byte, at any time."""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from promql.env import QueryTimes
from series.batch import STALE_NAN
from series.labels import Labels
from server.api import range_cache
from server.api.range_cache import RangeCache
from tests.examples import examples
from tests.server.cached import TENANT, Cached, Sample
from tests.tsdb.databases import HOUR_MS, NOW_MS
from tests.tsdb.test_histograms import histogram
from tsdb.changes import NOTHING_MS, Changes
from tsdb.damage import FRAME, Finding
from tsdb.db import DbOptions

_STEP_MS = 15_000
_OPTIONS = DbOptions(
    retention_ms=2 * HOUR_MS,
    block_range_ms=40 * _STEP_MS,
    max_late_samples=10,
    min_empty_series=2,
)

LOCAL = (
    "c_total",
    'c_total{a="x"} * 3',
    "sum(rate(c_total[1m]))",
    "sum by (a) (increase(c_total[2m]))",
    "avg by (b) (g)",
    "min(g) + max(g)",
    "stddev by (a) (g)",
    "quantile(0.5, g)",
    "topk(2, sum by (a, b) (rate(c_total[1m])))",
    "bottomk by (a) (1, g)",
    "limitk(2, g)",
    "max(sum by (b) (g))",
    "avg(max by (a) (g)) > 1",
    "count(g) or vector(0)",
    "count by (a) (g > 2)",
    "count_values('v', g)",
    "histogram_quantile(0.9, sum by (le) (rate(h_bucket[1m])))",
    "histogram_quantile(0.5, h_bucket)",
    "g / on(a, b) group_left() sum by (a, b) (g)",
    "g and g > 1",
    "g unless on(a) c_total",
    "g or c_total",
    "absent(g)",
    "absent_over_time(g[1m])",
    "g offset 2m",
    "g offset -2m",
    "rate(c_total[1m] offset -30s)",
    "max_over_time(g[5m])",
    "max_over_time(sum(rate(c_total[1m]))[3m:30s])",
    "sum_over_time((sum by (a) (g))[2m:45s] offset -1m)",
    "avg_over_time(g[3m:30s])",
    "timestamp(g)",
    "time() - timestamp(c_total)",
    "scalar(sum(g)) + sum(g)",
    "label_replace(g, 'z', '$1', 'a', '(.*)')",
    "clamp_max(round(g), 3)",
    "minute() + on() group_right() g",
    "sum without (b) (deriv(g[2m]))",
    "predict_linear(g[2m], 60)",
    "changes(g[2m]) + resets(c_total[2m])",
    "irate(c_total[1m])",
    "-g",
    "sum(-g)",
)
"""Queries of which steps are kept."""
OTHERS = (
    "rate(g[1m])",
    'rate({__name__=~"c_total|h_bucket"}[1m])',
    'sum(abs({__name__=~"g|c_total"}))',
    "sum(g or c_total)",
    "sum(sum by (a) (sum by (a, b) (g)))",
    "g @ end()",
    "sum(g @ 7200000)",
    "sort(g)",
    "exp(g)",
    "quantile_over_time(0.5, g[1m])",
    "g / on(a) g",
    "topk(scalar(sum(g)), g)",
    "n",
    "sum(rate(n[1m]))",
)
"""Queries that are computed as a whole, or fail, or tell something."""


def _series(name: str, **labels: str) -> Labels:
    return Labels.of({"__name__": name, **labels})


_SERIES = (
    *(_series("g", a=a, b=b) for a in "xy" for b in "12"),
    _series("g", a="w"),
    *(_series("c_total", a=a, b=b) for a in "yx" for b in "21"),
    *(_series("h_bucket", le=le, a="x") for le in ("0.1", "1", "1.0", "+Inf")),
)
_BUCKETS = {"0.1": 1, "1": 2, "1.0": 2, "+Inf": 5}
"""How fast the buckets rise."""
_values = st.sampled_from([0.1, 0.2, 0.7, 1.0, 2.5, 3.0, 1e16, 0.0, -0.0, float("nan"), STALE_NAN])
_sent = st.lists(
    st.tuples(st.sampled_from(_SERIES), st.integers(0, 60), _values), min_size=1, max_size=8
)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cached]:
    """Forty scrapes, the last now; answers are kept however quick they are."""
    monkeypatch.setattr(range_cache, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(range_cache, "thread_time", lambda: 0.0)
    made = Cached(tmp_path, NOW_MS, _OPTIONS)
    for number in range(40):
        _scrape(made, number, NOW_MS - (39 - number) * _STEP_MS)
    yield made
    made.close()


def _scrape(cached: Cached, number: int, time_ms: int) -> None:
    samples: list[Sample] = [
        (labels, time_ms - 50, number * _BUCKETS.get(labels.get("le"), at % 5) / 7)
        for at, labels in enumerate(_SERIES)
    ]
    cached.append(*samples, (_series("n"), time_ms - 50, histogram(number)))


def _until(end_ms: int, count: int = 20) -> QueryTimes:
    return QueryTimes(end_ms - (count - 1) * _STEP_MS, end_ms, _STEP_MS)


def _warm(cached: Cached, query: str) -> None:
    """From the second time on an answer is kept."""
    for _ in range(2):
        assert not cached.check(query, _until(NOW_MS))


def _slides(cached: Cached) -> QueryTimes:
    """A scrape later; the dashboard asks for what there is now."""
    cached.now_ms += _STEP_MS
    _scrape(cached, 40, cached.now_ms)
    return _until(cached.now_ms)


@pytest.mark.parametrize("query", LOCAL)
def test_a_sliding_dashboard_computes_few_steps(cached: Cached, query: str) -> None:
    """All steps are reused that lie before what has come, and the answer is the same."""
    _warm(cached, query)
    assert cached.check(query, _until(NOW_MS)) == 20
    reused = cached.check(query, _slides(cached))
    ahead = {"-2m": 8, "-1m": 4, "-30s": 2}
    assert reused == 19 - next((steps for text, steps in ahead.items() if text in query), 0)


@pytest.mark.parametrize("query", OTHERS)
def test_other_queries_are_computed_as_a_whole(cached: Cached, query: str) -> None:
    """Nothing of them is reused, however often they are asked."""
    _warm(cached, query)
    assert not cached.check(query, _until(NOW_MS))
    assert not cached.check(query, _slides(cached))
    assert not cached.cache.size_bytes


def test_both_ends_may_move(cached: Cached) -> None:
    """Zoomed out, the steps before and after are computed; zoomed in, none."""
    _warm(cached, "sum(g)")
    cached.check("sum(g)", _until(NOW_MS - 2 * _STEP_MS))
    assert cached.check("sum(g)", _until(NOW_MS, 30)) == 20
    assert cached.check("sum(g)", _until(NOW_MS - 3 * _STEP_MS, 10)) == 10


def test_what_is_too_little_is_not_joined(cached: Cached) -> None:
    """Where most steps are missing all are computed."""
    _warm(cached, "sum(g)")
    assert not cached.check("sum(g)", _until(NOW_MS + 17 * _STEP_MS))


@pytest.mark.parametrize("offset_ms", [1, 7_000])
def test_steps_between_the_steps_are_others(cached: Cached, offset_ms: int) -> None:
    """A range that is not aligned with the one before reuses nothing of it."""
    _warm(cached, "sum(g)")
    assert not cached.check("sum(g)", _until(NOW_MS + offset_ms))


def _late(cached: Cached) -> None:
    cached.append((_SERIES[0], NOW_MS - 5 * _STEP_MS - 20, 99.0))


def _duplicate(cached: Cached) -> None:
    cached.append((_SERIES[0], NOW_MS - 5 * _STEP_MS - 50, 0.0))


def _load(cached: Cached) -> None:
    cached.load((_SERIES[0], NOW_MS - 5 * _STEP_MS - 20, 99.0))


def _delete(cached: Cached) -> None:
    cached.delete("g", NOW_MS - 5 * _STEP_MS - 50, NOW_MS)


def _seal(cached: Cached) -> None:
    cached.db.seal_head(1e9)


def _merge(cached: Cached) -> None:
    for _ in range(6):
        cached.now_ms += _OPTIONS.block_range_ms
        cached.append((_series("other"), cached.now_ms, 1.0))
        cached.db.maintain()
    cached.db.merge(float("inf"))
    assert cached.db.stats().merges


CHANGES = ((_late, 14), (_duplicate, 14), (_load, 0), (_delete, 0), (_seal, 20), (_merge, 20))
"""What happens to the data, and of how many of twenty steps nothing has changed."""


@pytest.mark.parametrize(("change", "kept"), CHANGES)
def test_a_change_costs_the_steps_it_reaches(
    cached: Cached, change: Callable[[Cached], None], kept: int
) -> None:
    """Steps before a late sample stay; a load or a deletion takes all; a seal or merge none."""
    _warm(cached, "sum(g)")
    change(cached)
    assert cached.check("sum(g)", _until(NOW_MS)) == kept


@pytest.mark.parametrize("change", [_late, _load, _delete])
def test_a_change_that_nobody_heard_of_would_show(
    cached: Cached, monkeypatch: pytest.MonkeyPatch, change: Callable[[Cached], None]
) -> None:
    """Without the record of changes the answers are wrong: these tests can fail."""
    _warm(cached, "sum(g)")
    monkeypatch.setattr(Changes, "earliest_since", lambda self, version: NOTHING_MS)
    change(cached)
    with pytest.raises(AssertionError, match=r"sum\(g\)"):
        cached.check("sum(g)", _until(NOW_MS))


def test_series_that_come_change_the_order_of_groups(cached: Cached) -> None:
    """Among equals topk takes the first, so where groups stand otherwise nothing is reused."""
    query = "topk(1, sum by (b) (e))"
    for labels in (_series("e", a="m", b="1"), _series("e", a="n", b="2")):
        cached.append(*((labels, NOW_MS - ago * _STEP_MS, 1.0) for ago in range(30, -1, -1)))
    _warm(cached, query)
    assert cached.check(query, _until(NOW_MS)) == 20
    cached.append((_series("e", a="a", b="2"), NOW_MS, 0.0))
    assert not cached.check(query, _until(NOW_MS))


def test_a_single_missing_step_is_no_instant(cached: Cached) -> None:
    """There topk puts the best first, and the sum has another last bit."""
    values = enumerate((1e16, 1.0, -1e16, 0.1, 0.3))
    series = [(_series("k", a=f"{at}"), value) for at, value in values]
    for ago in range(30, -2, -1):
        cached.append(*((labels, NOW_MS - ago * _STEP_MS, value) for labels, value in series))
    _warm(cached, "sum(topk(5, k))")
    assert cached.check("sum(topk(5, k))", _until(NOW_MS + _STEP_MS)) == 19


def test_what_was_kept_before_a_restart_does_not_count(cached: Cached) -> None:
    """Versions begin anew whenever a database is opened, as after it was closed as idle."""
    _warm(cached, "sum(g)")
    cached.reopen()
    assert not cached.check("sum(g)", _until(NOW_MS))


def test_damage_found_meanwhile_is_told(cached: Cached) -> None:
    """Answers of before count no more, and those with a warning are not kept."""
    cached.db.seal_head(1e9)
    _warm(cached, "sum(g)")
    assert cached.check("sum(g)", _until(NOW_MS)) == 20
    (block,) = cached.db._state.blocks
    finding = Finding(FRAME, block.directory / "data", 0, "found by a scrub", frame=0)
    cached.store._scrub_found(TENANT, f"blocks/{block.directory.name}", finding)
    for _ in range(3):
        found, reused = cached.ask("sum(g)", _until(NOW_MS), cached=True)
        assert not reused
        assert found == cached.ask("sum(g)", _until(NOW_MS), cached=False)[0]


def test_an_answer_that_is_too_large_is_not_kept(cached: Cached) -> None:
    """One may take a quarter of the cache."""
    cached.cache = RangeCache(4000)
    _warm(cached, "c_total")
    assert not cached.check("c_total", _until(NOW_MS))
    _warm(cached, "sum(g)")
    assert cached.check("sum(g)", _until(NOW_MS)) == 20
    assert 0 < cached.cache.size_bytes <= 1000


def test_what_is_used_least_goes(cached: Cached) -> None:
    """The cache never holds more than it may."""
    cached.cache = RangeCache(1200)
    for number in range(9):
        _warm(cached, f"sum(g) + {number}")
        assert cached.cache.size_bytes <= 1200
    assert not cached.check("sum(g) + 0", _until(NOW_MS))
    assert cached.check("sum(g) + 8", _until(NOW_MS)) == 20


def test_what_saves_nothing_is_dropped(cached: Cached, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the steps took longer than all of them once did, all are computed the next time."""
    readings = iter([0, 1, 0, 1, 0, 1, 0, 2])
    monkeypatch.setattr(range_cache, "thread_time", lambda: float(next(readings)))
    _warm(cached, "sum(g)")
    assert cached.check("sum(g)", _until(NOW_MS)) == 20
    assert cached.cache.size_bytes
    assert cached.check("sum(g)", _until(NOW_MS)) == 20
    assert not cached.cache.size_bytes


def test_requests_and_steps_are_counted(cached: Cached) -> None:
    """By how much of the answer was there."""
    _warm(cached, "sum(g)")
    cached.check("sum(g)", _until(NOW_MS))
    cached.check("sum(g)", _slides(cached))
    assert cached.cache.requests == {"hit": 1, "partial": 1, "miss": 2}
    assert (cached.cache.reused_steps, cached.cache.outdated_steps) == (39, 0)
    _late(cached)
    cached.check("sum(g)", _until(cached.now_ms))
    assert cached.cache.outdated_steps == 7


def test_nobody_sees_half_a_change(cached: Cached) -> None:
    """What is kept agrees with the frozen data, however many write between and during queries."""
    ended = threading.Event()

    def write() -> None:
        for at in range(300):
            late_ms = at * 1777 % (60 * _STEP_MS)
            cached.append((_SERIES[at % 5], cached.now_ms - late_ms, float(at)))
            if at % 50 == 0:
                cached.db.seal_head(1e9)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not ended.is_set():
            for query in ("sum(g)", "g", "topk(2, sum by (b) (g))"):
                cached.check_frozen(query, _until(NOW_MS))
    finally:
        writer.join()
    cached.check_frozen("sum(g)", _until(NOW_MS))
    assert cached.check_frozen("sum(g)", _until(NOW_MS)) == 20


class Dashboard(RuleBasedStateMachine):
    """A dashboard that slides on over data to which everything happens."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="o11y-range-"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(range_cache, "LEAST_SECONDS", 0.0)
        self.patch.setattr(range_cache, "thread_time", lambda: 0.0)
        self.end_ms = NOW_MS
        self.queries: list[str] = []
        self.cached = Cached(self.root, NOW_MS, _OPTIONS)
        self.scrapes = 0

    @initialize(
        history=st.integers(0, 120),
        queries=st.lists(st.sampled_from((*LOCAL, *LOCAL, *OTHERS)), min_size=3, max_size=8),
    )
    def begin(self, history: int, queries: list[str]) -> None:
        for ago in range(history, -1, -3):
            self._scrape(NOW_MS - ago * _STEP_MS)
        self.queries = queries
        self.asks(0, 20)

    def _scrape(self, time_ms: int) -> None:
        self.scrapes += 1
        _scrape(self.cached, self.scrapes, time_ms)

    @rule(steps=st.integers(1, 4))
    def goes_on(self, steps: int) -> None:
        """Time passes, the targets are scraped, the dashboard moves on."""
        for _ in range(steps):
            self.cached.now_ms += _STEP_MS
            self._scrape(self.cached.now_ms)
        self.end_ms += steps * _STEP_MS

    @rule(sent=_sent)
    def late(self, sent: list[tuple[Labels, int, float]]) -> None:
        """Samples of earlier times, of which some are there already."""
        self.cached.append(*self._ago(sent))

    @rule(sent=_sent)
    def loads(self, sent: list[tuple[Labels, int, float]]) -> None:
        self.cached.load(*self._ago(sent))

    def _ago(self, sent: list[tuple[Labels, int, float]]) -> list[Sample]:
        now_ms = self.cached.now_ms
        return [(labels, now_ms - ago * _STEP_MS + 50, value) for labels, ago, value in sent]

    @rule(number=st.integers(0, 5), ago=st.integers(0, 5))
    def new_series(self, number: int, ago: int) -> None:
        """A program that begins, and comes first or last among the others."""
        labels = _series("g", a="xyz"[number % 3], b=f"{number}")
        self.cached.append((labels, self.cached.now_ms - ago * _STEP_MS, 1.5))

    @rule(name=st.sampled_from(["g", "c_total"]), ago=st.integers(0, 80), span=st.integers(0, 30))
    def deletes(self, name: str, ago: int, span: int) -> None:
        start_ms = self.cached.now_ms - ago * _STEP_MS
        self.cached.delete(name, start_ms, start_ms + span * _STEP_MS)

    @rule()
    def seals(self) -> None:
        self.cached.db.seal_head(1e9)

    @rule(jump=st.sampled_from([0, 0, HOUR_MS // 2, HOUR_MS]))
    def maintains(self, jump: int) -> None:
        """Windows are sealed, blocks merged, and what is beyond the retention goes."""
        self.cached.now_ms += jump
        self.cached.store.maintain()

    @rule()
    def reopens(self) -> None:
        self.cached.reopen()

    @rule()
    def cleans(self) -> None:
        self.cached.db.clean_tombstones()

    @rule(back=st.sampled_from([0, 0, 0, 1, 5, 40]), count=st.sampled_from([8, 20, 20, 20, 60]))
    def asks(self, back: int, count: int) -> None:
        end_ms = self.end_ms - back * _STEP_MS
        times = QueryTimes(end_ms - (count - 1) * _STEP_MS, end_ms + 7, _STEP_MS)
        for query in self.queries:
            self.cached.check(query, times)

    def teardown(self) -> None:
        self.cached.close()
        self.patch.undo()
        shutil.rmtree(self.root)


TestDashboard = Dashboard.TestCase
TestDashboard.settings = hypothesis.settings(examples(25), stateful_step_count=40)
