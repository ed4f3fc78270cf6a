"""Reports on the running server: shapes that Grafana and promtool read, and who sees what."""

from collections.abc import Callable

import pytest

from tests.server.conftest import NOW_MS, Asker, up


def test_runtime_info_names_the_retention(make_asker: Callable[..., Asker]) -> None:
    """The retention reads as it was set, and times are there as texts."""
    data = make_asker(retention_ms=86_400_000).get("/api/v1/status/runtimeinfo").json()["data"]
    assert data["storageRetention"] == "1d"
    assert data["startTime"] <= data["serverTime"]


def test_flags_are_all_texts(make_asker: Callable[..., Asker]) -> None:
    """Every flag is a text, features among them."""
    features = frozenset({"use-start-timestamps"})
    data = make_asker(features=features).get("/api/v1/status/flags").json()["data"]
    assert all(isinstance(value, str) for value in data.values())
    assert data["enable-feature"] == "use-start-timestamps"
    assert data["storage.tsdb.retention.time"] == "15d"
    assert data["query.timeout"] == "2m"


def test_features_follow_the_options(make_asker: Callable[..., Asker]) -> None:
    """What a flag turns on shows, and every function of the table is there."""
    data = make_asker(features=frozenset({"promql-delayed-name-removal"})).get("/api/v1/features")
    found = data.json()["data"]
    assert found["promql"]["delayed_name_removal"] is True
    assert found["promql"]["type_and_unit_labels"] is False
    assert found["promql_functions"]["histogram_quantiles"] is True
    assert found["promql_operators"]["limitk"] is True


def test_cardinality_counts_series(asker: Asker) -> None:
    """Series are counted by metric, by name and by pair, the largest first, up to the limit."""
    assert asker.write(up("a", 1), up("b", 1), up("c", 1)).status_code == 204
    data = asker.get("/api/v1/status/tsdb").json()["data"]
    assert data["headStats"]["numSeries"] == 3
    assert data["headStats"]["maxTime"] == NOW_MS
    assert data["headStats"]["numLabelPairs"] == 4
    assert data["seriesCountByMetricName"] == [{"name": "up", "value": 3}]
    assert data["labelValueCountByLabelName"][0] == {"name": "job", "value": 3}
    assert data["memoryInBytesByLabelName"][0] == {"name": "__name__", "value": 6}
    assert data["seriesCountByLabelValuePair"][0] == {"name": "__name__=up", "value": 3}
    limited = asker.get("/api/v1/status/tsdb", limit="1").json()["data"]
    assert len(limited["seriesCountByLabelValuePair"]) == 1


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("0", "limit must be a positive number"),
        ("x", "limit must be a positive number"),
        ("10001", "limit must not exceed 10000"),
    ],
)
def test_bad_limits_of_the_cardinality_report(asker: Asker, limit: str, text: str) -> None:
    """A limit that is none is refused in Prometheus' words."""
    answer = asker.get("/api/v1/status/tsdb", limit=limit)
    assert answer.status_code == 400
    assert answer.json()["error"] == text


def test_parse_query_gives_a_tree(asker: Asker) -> None:
    """Selectors carry matchers, ranges in ms and modifiers; calls their signature."""
    data = asker.get("/api/v1/parse_query", query='rate(x{a="b"}[5m] offset 1m)').json()["data"]
    assert data["type"] == "call"
    assert data["func"] == {
        "name": "rate",
        "argTypes": ["matrix"],
        "variadic": 0,
        "returnType": "vector",
    }
    (selector,) = data["args"]
    assert (selector["type"], selector["range"], selector["offset"]) == (
        "matrixSelector",
        300_000,
        60_000,
    )
    assert {"name": "a", "value": "b", "type": "="} in selector["matchers"]
    bad = asker.get("/api/v1/parse_query", query="rate(")
    assert bad.status_code == 400
    assert bad.json()["error"].startswith('invalid parameter "query": 1:6: parse error')


def test_format_query_breaks_long_lines(asker: Asker) -> None:
    """Beyond 100 bytes an expression is laid out over lines."""
    name = "a_metric_with_a_rather_long_name_that_fills_the_line_quickly"
    text = asker.get("/api/v1/format_query", query=f"{name}+{name}").json()["data"]
    assert text == f"  {name}\n+\n  {name}"
