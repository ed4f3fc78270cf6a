"""The queries of the benchmark, their times, and the comparison of their answers.

Every repetition begins 1.7 s later than the one before, so that no cache of results answers. All
instants are whole tenths of a second, where no sample of the workload lies, and no whole minutes,
where subqueries look.
"""

import http.client
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import orjson

from benchmarks.api import Answer, differences, to_answer
from benchmarks.send import quantile
from benchmarks.workload import Workload

Kind = Literal["instant", "range", "values", "labels", "series"]

X = "http_requests_total"
SUM_RATE = f"sum by (instance) (rate({X}[5m]))"
SHIFT_S = 1.7
MOST_S = 20.0
"""No query is repeated for longer than this, though at least three times."""


@dataclass(frozen=True)
class Query:
    """One row: what is asked, over which time, and how often it is repeated."""

    name: str
    kind: Kind
    text: str
    step_s: int = 60
    span_s: int | None = None
    """Of a range; None is the whole workload."""
    left_s: int = 0
    """How far a range's start keeps from the first sample; rates differ at the left edge."""
    repetitions: int = 9

    def parameters(self, workload: Workload, repetition: int) -> dict[str, str]:
        """The request's parameters, shifted by the repetition."""
        shift_s = SHIFT_S * (1 + repetition % 30)
        end_s = workload.end_ms / 1000 - 60 + shift_s
        start_s = workload.start_ms / 1000 + self.left_s + shift_s
        if self.span_s is not None:
            start_s = max(start_s, end_s - self.span_s)
        times = {"start": f"{start_s:.3f}", "end": f"{end_s:.3f}"}
        match self.kind:
            case "instant":
                return {"query": self.text, "time": f"{end_s:.3f}"}
            case "range":
                return {"query": self.text, "step": f"{self.step_s}", **times}
            case "series":
                return {"match[]": self.text, **times}
            case "labels" | "values":
                return times

    @property
    def path(self) -> str:
        paths = {
            "instant": "/api/v1/query",
            "range": "/api/v1/query_range",
            "series": "/api/v1/series",
            "labels": "/api/v1/labels",
            "values": f"/api/v1/label/{self.text}/values",
        }
        return paths[self.kind]


ONE = 'node_cpu_usage{instance="i-1", cpu="3"}'
ONE_COUNTER = f'{X}{{instance="i-1", path="/api/v1/path-3", status="200"}}'
HUNDRED = f'{X}{{path="/api/v1/path-3", status="200"}}'
ERROR_RATIO = f'100 * sum(rate({X}{{status="500"}}[5m])) / sum(rate({X}[5m]))'
P99 = "histogram_quantile(0.99, sum by (le, job) (rate(http_request_duration_seconds_bucket[5m])))"
QUERIES = [
    Query("a_instant_1", "instant", ONE, repetitions=60),
    Query("a2_instant_rate_1", "instant", f"rate({ONE_COUNTER}[5m])", repetitions=60),
    Query("b_instant_sum_rate_5k", "instant", f"sum by (job) (rate({X}[5m]))", repetitions=15),
    Query("c_range_rate_100", "range", f"rate({HUNDRED}[5m])", left_s=300, repetitions=15),
    Query("c2_range_1h_raw_1", "range", ONE, step_s=15, span_s=3600, repetitions=60),
    Query("d_range_sum_rate_5k_15s", "range", SUM_RATE, step_s=15, left_s=300, repetitions=7),
    Query("d2_range_sum_rate_5k_60s", "range", SUM_RATE, left_s=300, repetitions=7),
    Query("e_hist_quantile_2k", "range", P99, left_s=300),
    Query("f_error_ratio", "range", ERROR_RATIO, left_s=300, repetitions=7),
    Query("f2_error_ratio_instant", "instant", ERROR_RATIO, repetitions=15),
    Query("g_max_over_time_1k", "range", "max_over_time(node_cpu_usage[1h])"),
    Query(
        "g2_quantile_over_time_1k",
        "range",
        "quantile_over_time(0.9, node_cpu_usage[1h])",
        repetitions=3,
    ),
    Query(
        "h_topk_sum_rate_5k",
        "range",
        f"topk(10, sum by (instance) (rate({X}[1m])))",
        left_s=60,
        repetitions=7,
    ),
    Query(
        "h2_topk_instant",
        "instant",
        f"topk(10, sum by (instance) (rate({X}[1m])))",
        repetitions=15,
    ),
    Query("i_regex_count", "instant", 'count({instance=~"i-1.*"})', repetitions=15),
    Query("j_count_all", "instant", 'count({__name__=~".+"})', repetitions=15),
    Query(
        "k_subquery_100",
        "range",
        f"max_over_time(rate({HUNDRED}[5m])[30m:1m])",
        span_s=3600,
        left_s=2400,
        repetitions=15,
    ),
    Query(
        "l_join_1k", "range", 'node_cpu_usage * on (instance) group_left machine_limit{limit="0"}'
    ),
    Query("m_label_values", "values", "instance", repetitions=60),
    Query("m2_labels", "labels", "", repetitions=60),
    Query("m3_series_5k", "series", X, repetitions=15),
    Query("m4_series_1", "series", ONE, repetitions=60),
    Query("n_sum_raw_10k", "range", 'sum({__name__=~".+"})', repetitions=5),
]
QUICK = ["d2_range_sum_rate_5k_60s"]


@dataclass(frozen=True)
class Timing:
    """Latencies of one query on one server."""

    p50_ms: float
    p95_ms: float
    repetitions: int
    answer_bytes: int


class Asker:
    """A keep-alive connection that asks queries; *extra* parameters go with each."""

    def __init__(self, url: str, extra: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=180)
        self._extra = extra

    def ask(self, query: Query, workload: Workload, repetition: int) -> bytes:
        """The body of a successful answer; RuntimeError for another one."""
        parameters = query.parameters(workload, repetition) | self._extra
        self._connection.request("GET", f"{query.path}?{urlencode(parameters)}")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{query.name}: {answer.status} {body[:300]!r}")
        return body

    def time(self, query: Query, workload: Workload) -> Timing:
        """Asks until the repetitions are done; repetition 0 warms up and is not counted."""
        size = len(self.ask(query, workload, 0))
        took_ms: list[float] = []
        deadline = time.perf_counter() + MOST_S
        for repetition in range(1, query.repetitions + 1):
            began = time.perf_counter()
            self.ask(query, workload, repetition)
            took_ms.append((time.perf_counter() - began) * 1000)
            if len(took_ms) >= 3 and time.perf_counter() > deadline:
                break
        return Timing(statistics.median(took_ms), quantile(took_ms, 0.95), len(took_ms), size)

    def close(self) -> None:
        self._connection.close()


def compare(query: Query, answer: bytes, reference: bytes, *, exact: bool) -> list[str]:
    """What differs from the reference's answer.

    *exact*: labels, times and values to 1e-9. Otherwise, for servers whose rate means another
    thing: equally many series, points within 3 % and the mean of all values within 3 %.
    """
    left, right = (orjson.loads(body)["data"] for body in (answer, reference))
    if query.kind in ("labels", "values", "series"):
        same = sorted(map(repr_sorted, left)) == sorted(map(repr_sorted, right))
        return [] if same else [f"{len(left)} entries, the reference has {len(right)} others"]
    ours, theirs = to_answer(left), to_answer(right)
    if exact:
        return differences(ours, theirs)
    return _loosely(ours, theirs)


def repr_sorted(entry: Any) -> str:
    """A label set or name as comparable text."""
    return repr(sorted(entry.items())) if isinstance(entry, dict) else repr(entry)


def _loosely(ours: Answer, theirs: Answer) -> list[str]:
    if len(ours.series) != len(theirs.series):
        return [f"{len(ours.series)} series instead of {len(theirs.series)}"]
    found = []
    for what, measure in (("points", _count), ("mean", _mean)):
        left, right = measure(ours), measure(theirs)
        if not math.isclose(left, right, rel_tol=0.03):
            found.append(f"{what} {left:.6g} instead of {right:.6g}")
    return found


def _values(answer: Answer) -> Sequence[float]:
    return [v for _, points in answer.series for _, v in points if not math.isnan(v)]


def _count(answer: Answer) -> float:
    return float(sum(len(points) for _, points in answer.series))


def _mean(answer: Answer) -> float:
    return statistics.fmean(_values(answer) or [math.nan])
