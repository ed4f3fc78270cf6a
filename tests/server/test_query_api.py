"""Queries over HTTP: shapes, parameters, errors."""

import asyncio
from collections.abc import Callable

import pytest

from promql.answer import Answer
from promql.engine import Engine
from series.ports import Context, Source
from server.api.asked import MAX_POINTS
from server.http import Message
from server.settings import PROMETHEUS_VERSION
from tests.server.conftest import NOW_MS, Asker, up
from tests.wire import encode

NOW = NOW_MS / 1000


@pytest.fixture
def filled(asker: Asker) -> Asker:
    """Two series of four samples."""
    assert asker.write(up("a", 1, 2, 3, 4), up("b", 10, 20, 30, 40)).status_code == 204
    return asker


def error(asker: Asker, path: str, **params: str) -> tuple[int, str, str]:
    answer = asker.get(path, **params)
    body = answer.json()
    assert body["status"] == "error" and answer.headers["content-type"] == "application/json"
    return answer.status_code, body["errorType"], body["error"]


@pytest.mark.parametrize("path", ["/api/v1/query", "/v1/metrics/query", "/v1/o11y/query"])
def test_instant_vectors(filled: Asker, path: str) -> None:
    """Every spelling of the route answers GET, form POST and JSON POST alike."""
    params = {"query": 'up{job="a"}', "time": str(NOW)}
    expected = {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [{"metric": {"__name__": "up", "job": "a"}, "value": [NOW, "4"]}],
        },
    }
    assert filled.get(path, **params).json() == expected
    assert filled.post(path, **params).json() == expected
    assert filled("POST", path, json={"query": params["query"], "time": NOW}).json() == expected
    assert filled("POST", path, params=params, headers={"content-type": "application/json"}).json()


@pytest.mark.parametrize("path", ["/api/v1/query_range", "/v1/metrics/query_range"])
def test_range_queries(filled: Asker, path: str) -> None:
    """Both ends of the range count; series are sorted."""
    params = {"query": "up", "start": NOW - 30, "end": NOW, "step": "15"}
    answer = filled.post(path, **params).json()
    assert answer["data"]["resultType"] == "matrix"
    assert answer["data"]["result"] == [
        {
            "metric": {"__name__": "up", "job": job},
            "values": [[NOW - 30, values[0]], [NOW - 15, values[1]], [NOW, values[2]]],
        }
        for job, values in (("a", "234"), ("b", ("20", "30", "40")))
    ]


def test_rate(filled: Asker) -> None:
    """The walk's query: a rate over what was just written."""
    values = filled.values('rate(up{job="a"}[1m])')
    assert {job: float(value) for job, value in values.items()} == {"a": pytest.approx(1 / 15)}


@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("1+1", {"resultType": "scalar", "result": [NOW, "2"]}),
        ("vector(1)", {"resultType": "vector", "result": [{"metric": {}, "value": [NOW, "1"]}]}),
        ('"a\\"b"', {"resultType": "string", "result": [NOW, 'a"b']}),
        ("nothing", {"resultType": "vector", "result": []}),
        ("nothing[1m]", {"resultType": "matrix", "result": []}),
        (
            'up{job="a"}[20s]',
            {
                "resultType": "matrix",
                "result": [
                    {
                        "metric": {"__name__": "up", "job": "a"},
                        "values": [[NOW - 15, "3"], [NOW, "4"]],
                    }
                ],
            },
        ),
    ],
)
def test_result_types(filled: Asker, query: str, data: object) -> None:
    """Scalars, strings, vectors, raw samples, and their empty forms."""
    assert filled.get("/api/v1/query", query=query, time=NOW).json()["data"] == data


def test_the_time_defaults_to_now(filled: Asker) -> None:
    """An instant query without time asks for now."""
    result = filled.get("/api/v1/query", query="up").json()["data"]["result"]
    assert [row["value"][0] for row in result] == [NOW, NOW]


def test_limits_cut_and_say_so(filled: Asker) -> None:
    """limit keeps the first series and adds a warning; 0 is none."""
    cut = filled.get("/api/v1/query", query="up", limit=1).json()
    assert len(cut["data"]["result"]) == 1
    assert cut["warnings"] == ["results truncated due to limit"]
    ranged = filled.get("/api/v1/query", query="up[1m]", limit=1).json()
    assert len(ranged["data"]["result"]) == 1
    whole = filled.get("/api/v1/query", query="up", limit=0).json()
    assert len(whole["data"]["result"]) == 2
    assert "warnings" not in whole


def test_infos_are_answered(filled: Asker) -> None:
    """The engine's annotations stand beside the data."""
    assert "infos" in filled.get("/api/v1/query", query="rate(up[1m])", time=NOW).json()


@pytest.mark.parametrize(
    ("query", "per_step"),
    [
        ("up", [2, 2, 2]),
        ("sum_over_time(up[31s])", [4, 6, 6]),
        ("up + up", [4, 4, 4]),
        ("up @ end()", [2, 2, 2]),
        ("max_over_time(up[30s:15s])", [2, 4, 4]),
        ("vector(1)", [0, 0, 0]),
        ("1", [0, 0, 0]),
    ],
)
def test_samples_are_counted_by_step(filled: Asker, query: str, per_step: list[int]) -> None:
    """Each selector counts the samples that its value at a step is made of; all are the sum."""
    times = {"start": NOW - 30, "end": NOW, "step": 15}
    params = {"query": query, "stats": "all", **times}
    stats = filled.get("/api/v1/query_range", **params).json()["data"]["stats"]
    found = stats["samples"]["totalQueryableSamplesPerStep"]
    assert [count for _, count in found] == per_step
    assert stats["samples"]["totalQueryableSamples"] == sum(per_step)
    assert stats["timings"]["execTotalTime"] >= stats["timings"]["execQueueTime"] >= 0


def test_stats(filled: Asker) -> None:
    """stats=true adds them; another word also warns."""
    answer = filled.get("/api/v1/query", query="up", stats="true").json()
    assert set(answer["data"]["stats"]) == {"timings", "samples"}
    assert answer["data"]["stats"]["samples"]["totalQueryableSamples"] == 2
    warned = filled.get("/api/v1/query", query="up", stats="yes").json()
    assert warned["warnings"][0].startswith('value "yes" for parameter "stats" is deprecated')


def test_the_lookback_can_be_set(filled: Asker) -> None:
    """lookback_delta narrows what counts as fresh."""
    params = {"query": "count(up)", "time": str(NOW + 60)}
    assert filled.get("/api/v1/query", **params).json()["data"]["result"]
    short = filled.get("/api/v1/query", lookback_delta="30s", **params)
    assert short.json()["data"]["result"] == []


def test_bad_parameters_are_refused_in_prometheus_words(asker: Asker) -> None:
    """Code, type and text of every check, in the order in which they are made."""
    instant, ranged = "/api/v1/query", "/api/v1/query_range"
    prefix = 'invalid parameter "{}": '
    cases: list[tuple[str, dict[str, str], str]] = [
        (instant, {"limit": "-1"}, prefix.format("limit") + "limit must be non-negative"),
        (
            instant,
            {"time": "abc"},
            prefix.format("time")
            + "invalid time value for 'time': cannot parse \"abc\" to a valid timestamp",
        ),
        (
            instant,
            {"timeout": "x"},
            prefix.format("timeout") + 'cannot parse "x" to a valid duration',
        ),
        (
            instant,
            {"lookback_delta": "x"},
            'error parsing lookback delta duration: cannot parse "x" to a valid duration',
        ),
        (ranged, {"limit": "-1"}, prefix.format("limit") + "limit must be non-negative"),
        (ranged, {}, prefix.format("start") + 'cannot parse "" to a valid timestamp'),
        (ranged, {"start": "1"}, prefix.format("end") + 'cannot parse "" to a valid timestamp'),
        (
            ranged,
            {"start": "2", "end": "1"},
            prefix.format("end") + "end timestamp must not be before start time",
        ),
        (
            ranged,
            {"start": "1", "end": "2"},
            prefix.format("step") + 'cannot parse "" to a valid duration',
        ),
        (
            ranged,
            {"start": "1", "end": "2", "step": "0"},
            prefix.format("step") + "zero or negative query resolution step widths are not "
            "accepted. Try a positive integer",
        ),
        (
            ranged,
            {"start": "0", "end": str(MAX_POINTS + 1), "step": "1"},
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the "
            "query resolution (?step=XX) (11001 points asked for)",
        ),
    ]
    for path, params, text in cases:
        assert error(asker, path, **params) == (400, "bad_data", text)
    code, kind, text = error(asker, instant, query="up +")
    assert (code, kind) == (400, "bad_data")
    assert text.startswith('invalid parameter "query": 1:') and "parse error" in text
    assert error(asker, ranged, query="1", start="0", end=str(MAX_POINTS), step="0.9999")[0] == 400


def test_11000_steps_are_enough(asker: Asker) -> None:
    """Exactly the limit passes, and comes whole."""
    answer = asker.get("/api/v1/query_range", query="1", start="0", end=str(MAX_POINTS), step="1")
    assert len(answer.json()["data"]["result"][0]["values"]) == MAX_POINTS + 1


def test_execution_errors(filled: Asker) -> None:
    """What fails while running is 422; what ran out of time is 503."""
    code, kind, text = error(filled, "/api/v1/query", query="up + on() up", time=str(NOW))
    assert (code, kind) == (422, "execution")
    assert "many-to-many" in text
    assert error(filled, "/api/v1/query", query="up", timeout="0") == (
        503,
        "timeout",
        "query timed out in expression evaluation (timeout: 0s)",
    )
    code, kind, _ = error(filled, "/api/v1/query_range", query='"a"', start="0", end="1", step="1")
    assert (code, kind) == (400, "bad_data")


def test_large_answers_are_streamed_whole(make_asker: Callable[..., Asker]) -> None:
    """An answer of many slices is one JSON document."""
    asker = make_asker()
    asker.write(*(up(f"j{k:03}", 1) for k in range(60)))
    answer = asker.get(
        "/api/v1/query_range",
        query="up",
        start=str(NOW),
        end=str(NOW + 299.99),
        step="0.03",
    )
    assert "content-length" not in answer.headers
    result = answer.json()["data"]["result"]
    assert len(result) == 60
    assert {len(row["values"]) for row in result} == {10_000}


def test_queries_are_formatted(asker: Asker) -> None:
    """format_query prints the parsed expression."""
    assert asker.get("/api/v1/format_query", query="sum( up )").json()["data"] == "sum(up)"
    assert error(asker, "/api/v1/format_query", query="sum(")[0] == 400


def test_build_information(asker: Asker) -> None:
    """The Prometheus version whose API this is, and ours."""
    data = asker.get("/api/v1/status/buildinfo").json()["data"]
    assert data["version"] == PROMETHEUS_VERSION
    assert data["o11yVersion"]


def test_series_labels_and_values(filled: Asker) -> None:
    """What there is to query, by selectors, with limits."""
    a, b = ({"__name__": "up", "job": job} for job in "ab")
    assert filled.get("/api/v1/series?match[]=up").json()["data"] == [a, b]
    both = filled("POST", "/api/v1/series", data={"match[]": ['up{job="b"}', "up"]})
    assert both.json()["data"] == [a, b]
    cut = filled.get("/api/v1/series?match[]=up&limit=1").json()
    assert (cut["data"], cut["warnings"]) == ([a], ["results truncated due to limit"])
    assert filled.get("/api/v1/labels").json()["data"] == ["__name__", "job"]
    assert filled.get("/api/v1/labels?match[]=nothing").json()["data"] == []
    assert filled.get("/api/v1/label/job/values").json()["data"] == ["a", "b"]
    assert filled.get('/api/v1/label/job/values?match[]=up{job="a"}').json()["data"] == ["a"]
    assert filled.get("/api/v1/label/nothing/values").json()["data"] == []
    early = filled.get("/api/v1/labels?start=0&end=1")
    assert early.status_code == 200


def test_bad_selectors_are_refused(asker: Asker) -> None:
    """Missing, empty and malformed selectors, in Prometheus' words."""
    assert error(asker, "/api/v1/series") == (400, "bad_data", "no match[] parameter provided")
    prefix = 'invalid parameter "match[]": '
    assert error(asker, "/api/v1/series?match[]={a=~'.*'}")[2] == (
        prefix + "match[] must contain at least one non-empty matcher"
    )
    assert error(asker, "/api/v1/series?match[]=rate(up[1m])")[2].startswith(prefix)
    unclosed = "1:4: parse error: unexpected end of input inside braces"
    assert error(asker, "/api/v1/series?match[]=up{")[2] == prefix + unclosed
    for path in ("/api/v1/labels", "/api/v1/label/job/values"):
        assert error(asker, f"{path}?match[]=up{{") == (400, "bad_data", unclosed)
        empty = "match[] must contain at least one non-empty matcher"
        assert error(asker, f"{path}?match[]={{}}") == (400, "bad_data", empty)


def test_escaped_label_names(asker: Asker) -> None:
    """U__ spells names that a path cannot."""
    pairs = [(b"__name__", b"up"), (b"http.status", b"200")]
    asker.write(encode.Series(pairs, [(NOW_MS, 1.0)]))
    for path in ("U__http_2e_status", "http.status"):
        assert asker.get(f"/api/v1/label/{path}/values").json()["data"] == ["200"]


def test_metadata_comes_from_remote_write(asker: Asker) -> None:
    """Types, help texts and units of the last message."""
    message = encode.metadata(1, b"up_total", b"Ups.", b"") + encode.metadata(2, b"x", b"X.", b"s")
    assert asker.write_body(encode.snappy(message)).status_code == 204
    up_total = [{"type": "counter", "help": "Ups.", "unit": ""}]
    x = [{"type": "gauge", "help": "X.", "unit": "s"}]
    assert asker.get("/api/v1/metadata").json()["data"] == {"up_total": up_total, "x": x}
    assert asker.get("/api/v1/metadata", metric="x").json()["data"] == {"x": x}
    assert asker.get("/api/v1/metadata", limit=1).json()["data"] == {"up_total": up_total}
    assert asker.get("/api/v1/metadata", metric="none").json()["data"] == {}
    assert error(asker, "/api/v1/metadata", limit="x")[2] == "limit must be a number"


def test_leaving_cancels_a_query(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the asker's connection ends, the work for it ends too."""
    ended: list[bool] = []

    def run(
        engine: Engine,
        source: Source,
        query: str,
        at_ms: int,
        context: Context,
        *,
        analyze: bool = False,
    ) -> Answer:
        ended.append(context.cancelled.wait(10))
        context.check()
        raise AssertionError("the check ends a cancelled query")

    monkeypatch.setattr(Engine, "instant", run)
    messages: list[Message] = [{"type": "http.request"}, {"type": "http.disconnect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/query",
        "query_string": b"query=up",
        "headers": [(b"host", b"localhost")],
    }
    asyncio.run(asker.app(scope, receive, send))
    assert ended == [True]
    assert sent[0]["status"] == 499
