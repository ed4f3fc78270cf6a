"""Our answers equal Debian Prometheus' own, over the very same samples.

The reference is 2.42 and our meaning is 3.14, so the questions stay where both agree: every
instant, and every edge of a window, lies between two samples (there closed and left-open windows
hold the same samples), and all windows lie inside the data. Samples are a second apart and every
offset and window is a whole number of seconds, so one free millisecond of the second is enough.
Subqueries look at whole seconds, whence their inner selectors are offset to that millisecond too.
"""

import itertools
import time
from dataclasses import dataclass

import pytest

from benchmarks.api import Answer, Api, differences
from tests.real.conftest import Scene

pytestmark = pytest.mark.server

DATA_S = 66
"""The age of the scene at which the questions are asked; Prometheus begins after about 5 s."""
REACH_S = 52
"""How far before the newest instant the longest question looks."""
RANGE_S, STEP_S = 20, 4
EVERYTHING = '{job=~"inference|node|prometheus"}'

# {at} is a past instant, {off} the offset that moves a whole second to the free millisecond.
FAMILIES = {
    "selectors": [
        "inference_requests_total",
        'inference_requests_total{status!="error", model=~"s.*|large"}',
        '{__name__=~"inference_requests_total|up", job="inference"}',
        'node_cpu_seconds_total{mode=~"user|system|idle", cpu!~"[1-9].*"}',
        '{job="inference", __name__!~"python.*|process.*|scrape.*"}',
        'inference_duration_seconds_bucket{le=~"0[.].+"}',
    ],
    "offset and @": [
        "inference_requests_total offset 7s",
        "inference_requests_total @ {at}",
        "inference_requests_total @ {at} offset -5s",
        'rate(node_cpu_seconds_total{mode="idle"}[10s] @ end())',
        "sum by (model) (increase(inference_requests_total[15s] @ start() offset 3s))",
        "inference_requests_total - inference_requests_total offset 10s",
    ],
    "subquery": [
        'max_over_time(rate(inference_requests_total{status="success"}[10s] offset {off})[15s:5s])',
        "avg_over_time(sum by (model) (inference_requests_total offset {off})[15s:2s])",
        "quantile_over_time(0.5, (node_memory_MemFree_bytes offset {off})[15s:3s])",
        "increase((inference_duration_seconds_count offset {off})[16s:2s])",
        "count_over_time((up offset {off})[15s:1s] offset 4s)",
    ],
    "rate family": [
        "rate(inference_requests_total[15s])",
        "irate(inference_requests_total[10s])",
        "increase(inference_duration_seconds_sum[20s])",
        "delta(node_memory_MemAvailable_bytes[20s])",
        "idelta(node_memory_MemFree_bytes[10s])",
        "deriv(inference_duration_seconds_sum[20s])",
        "predict_linear(inference_duration_seconds_count[20s], 60)",
        "changes(inference_requests_total[20s])",
        "resets(prometheus_tsdb_head_samples_appended_total[20s])",
    ],
    "over time": [
        "avg_over_time(inference_duration_seconds_count[15s])",
        "min_over_time(node_memory_MemFree_bytes[15s])",
        "max_over_time(node_memory_MemFree_bytes[15s])",
        "sum_over_time(up[15s])",
        "count_over_time(inference_duration_seconds_bucket[15s])",
        "last_over_time(inference_requests_total[15s])",
        "stddev_over_time(inference_duration_seconds_count[15s])",
        "stdvar_over_time(inference_requests_total[15s])",
        "quantile_over_time(0.9, inference_duration_seconds_sum[15s])",
        "present_over_time(up[15s])",
    ],
    "aggregations": [
        "sum by (model) (inference_requests_total)",
        "avg without (status, job) (inference_requests_total)",
        "min by (mode) (node_cpu_seconds_total)",
        "max by (mode) (node_cpu_seconds_total)",
        'count by (__name__) ({job="inference"})',
        "group by (job) (up)",
        "stddev by (status) (inference_requests_total)",
        "stdvar (inference_requests_total)",
        "topk(2, inference_duration_seconds_sum)",
        "bottomk by (job) (2, inference_duration_seconds_sum)",
        "quantile by (mode) (0.75, node_cpu_seconds_total)",
        'count_values by (job) ("is", up)',
    ],
    "one to one": [
        "rate(inference_duration_seconds_sum[15s]) / rate(inference_duration_seconds_count[15s])",
        'inference_requests_total{status="success"} - ignoring (status)'
        ' inference_requests_total{status="error"}',
        'inference_requests_total{status="success"} > on (model) inference_duration_seconds_sum',
        "inference_duration_seconds_sum < bool inference_duration_seconds_count",
        "2 ^ -(node_memory_MemFree_bytes / node_memory_MemTotal_bytes) % 0.3",
        '100 * rate(inference_requests_total{status="error"}[15s])'
        " / rate(inference_requests_total[15s])",
    ],
    "group_left": [
        "inference_requests_total / ignoring (status) group_left"
        " sum without (status) (inference_requests_total)",
        "inference_duration_seconds_bucket / ignoring (le) group_left"
        " inference_duration_seconds_count",
        "inference_requests_total * on (instance, job) group_left (version) python_info",
        "up * on (instance) group_right inference_requests_total",
    ],
    "set operators": [
        'up{job="node"} or inference_requests_total',
        'inference_requests_total and inference_requests_total{status="error"} > 0',
        'inference_requests_total unless on (model) inference_requests_total{model="small"}',
        "up and on (job) inference_requests_total or on (job) up",
    ],
    "histogram_quantile": [
        "histogram_quantile(0.99, rate(inference_duration_seconds_bucket[15s]))",
        "histogram_quantile(0.5, sum by (le) (rate(inference_duration_seconds_bucket[20s])))",
        "histogram_quantile(0.9, inference_duration_seconds_bucket)",
        "histogram_quantile(1.5, inference_duration_seconds_bucket)",
    ],
    "label functions": [
        'label_replace(inference_requests_total, "short", "$1-x", "model", "(.).*")',
        'label_join(inference_requests_total, "both", "/", "model", "status", "nothing")',
        'sum by (short) (label_replace(up, "short", "$2", "instance", "(.*):(.*)"))',
    ],
    "time and absent": [
        "vector(time())",
        "timestamp(inference_requests_total)",
        "time() - timestamp(up)",
        "minute() + 100 * hour() + 10000 * day_of_week()",
        'absent(nothing_like_this{job="inference", model=~"x"})',
        'absent_over_time(nothing_like_this{job="inference"}[15s])',
        "scalar(sum(up)) * vector(1)",
    ],
}
ORDERED = [
    "topk(3, inference_duration_seconds_sum)",
    "bottomk(3, inference_duration_seconds_sum)",
    "sort(inference_duration_seconds_sum)",
    'sort_desc(inference_duration_seconds_sum or process_cpu_seconds_total{job="inference"})',
]
EXPRESSIONS = [text for family in FAMILIES.values() for text in family]


@dataclass(frozen=True)
class Sides:
    """Both servers, and the instant *at_s* that no sample's time equals modulo a second."""

    ours: Api
    theirs: Api
    at_s: float

    def fill(self, text: str) -> str:
        """*text* with its {at} and {off} replaced."""
        off_ms = 1000 - round(self.at_s * 1000) % 1000
        return text.replace("{at}", f"{self.at_s - 15:.3f}").replace("{off}", f"{off_ms}ms")


@pytest.fixture(scope="module")
def sides(scene: Scene) -> Sides:
    """Both sides once the scene is old enough and ours holds every sample of the reference."""
    scene.wait_for_age(DATA_S)
    ours, theirs = Api(scene.plain.url), Api(scene.reference.url)
    newest_s = int(time.time()) - 4
    raw = theirs.instant(f"{EVERYTHING}[10m]", newest_s)
    at_s = newest_s - 1 + free_millisecond(raw) / 1000
    selector = f"{EVERYTHING}[{REACH_S}s]"
    expected = theirs.instant(selector, at_s)
    assert len(expected.series) > 500
    inference = [points for labels, points in raw.series if ("job", "inference") in labels]
    assert max(points[0][0] for points in inference) < at_s - REACH_S, "the data begin too late"
    deadline = time.monotonic() + 30
    while missing := differences(ours.instant(selector, at_s), expected, relative=0):
        assert time.monotonic() < deadline, missing[:5]
        time.sleep(0.5)
    return Sides(ours, theirs, at_s)


def free_millisecond(raw: Answer) -> int:
    """The millisecond of a second, not 0, that is farthest from every sample's."""
    used = {round(t * 1000) % 1000 for _, points in raw.series for t, _ in points} | {0}
    marks = [*sorted(used), min(used) + 1000]
    gap, start = max((b - a, a) for a, b in itertools.pairwise(marks))
    assert gap >= 4, "samples at every millisecond of a second"
    return (start + gap // 2) % 1000


def test_there_are_40_expressions_of_12_families() -> None:
    """The list below keeps its breadth."""
    assert len(FAMILIES) == 12
    assert len(EXPRESSIONS) == len(set(EXPRESSIONS)) >= 40


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_instant_answers_are_equal(sides: Sides, expression: str) -> None:
    """The same labels and values at one instant, and at least one series."""
    query = sides.fill(expression)
    theirs = sides.theirs.instant(query, sides.at_s)
    assert theirs.series
    assert differences(sides.ours.instant(query, sides.at_s), theirs) == []


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_range_answers_are_equal(sides: Sides, expression: str) -> None:
    """The same series in the same order, with the same times and values, over a range."""
    query = sides.fill(expression)
    times = sides.at_s - RANGE_S, sides.at_s, STEP_S
    theirs = sides.theirs.range(query, *times)
    assert theirs.series
    assert differences(sides.ours.range(query, *times), theirs) == []


@pytest.mark.parametrize("expression", ORDERED)
def test_sorted_vectors_have_the_same_order(sides: Sides, expression: str) -> None:
    """Where the order of a vector counts, it is the reference's."""
    query = sides.fill(expression)
    theirs = sides.theirs.instant(query, sides.at_s)
    assert len(theirs.series) >= 3
    assert differences(sides.ours.instant(query, sides.at_s), theirs, ordered=True) == []
