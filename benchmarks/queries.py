"""The queries of the benchmark, and when they look.

Every repetition begins 1.7 s later than the one before and carries ``nocache=1``, so that no cache
of results answers. All instants are whole tenths of a second, where no sample of the workload lies,
and no whole minutes, where subqueries look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.http1 import get
from benchmarks.workload import Workload

Kind = Literal["instant", "range", "values", "labels", "series"]

X = "http_requests_total"
SUM_RATE = f"sum by (instance) (rate({X}[5m]))"
SHIFT_S = 1.7
SHIFTS = 30
"""After so many repetitions the shifts begin again."""


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

    @property
    def letter(self) -> str:
        """The short name of its rows."""
        return self.name.partition("_")[0]

    def request(self, url: str, workload: Workload, repetition: int) -> bytes:
        """The bytes that ask the server at *url*."""
        return get(url, self.path, self.parameters(workload, repetition) | {"nocache": "1"})

    def parameters(self, workload: Workload, repetition: int) -> dict[str, str]:
        """What is asked, shifted by the repetition."""
        shift_s = SHIFT_S * (1 + repetition % SHIFTS)
        end_s = workload.end_ms / 1000 - 60 + shift_s
        start_s = workload.start_ms / 1000 + self.left_s + shift_s
        if self.span_s is not None:
            start_s = max(start_s, end_s - self.span_s)
        start_s = min(start_s, end_s)
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
    Query("a_instant_1", "instant", ONE, repetitions=200),
    Query("a2_instant_rate_1", "instant", f"rate({ONE_COUNTER}[5m])", repetitions=200),
    Query("b_instant_sum_rate_5k", "instant", f"sum by (job) (rate({X}[5m]))", repetitions=15),
    Query("c_range_rate_100", "range", f"rate({HUNDRED}[5m])", left_s=300, repetitions=15),
    Query("c2_range_1h_raw_1", "range", ONE, step_s=15, span_s=3600, repetitions=200),
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
    Query("m_label_values", "values", "instance", repetitions=200),
    Query("m2_labels", "labels", "", repetitions=200),
    Query("m3_series_5k", "series", X, repetitions=15),
    Query("m4_series_1", "series", ONE, repetitions=200),
    Query("n_sum_raw_10k", "range", 'sum({__name__=~".+"})', repetitions=5),
]
QUICK = ["d2"]
NARROW = ["a", "a2", "c2", "m", "m2", "m4"]
"""Those that answer with one series or a few names."""


def chosen(letters: Sequence[str] | None) -> list[Query]:
    """The queries of *letters*, all without."""
    return [query for query in QUERIES if letters is None or query.letter in letters]
