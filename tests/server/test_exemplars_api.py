"""Exemplars over HTTP: what a panel of Grafana asks."""

from promql.parser import parse
from server.api.exemplars_api import selectors
from tests.server.conftest import NOW_MS, Asker
from tests.wire import encode


def traced(name: str, trace: str, *, at_ms: int = NOW_MS, value: float = 0.25) -> encode.Series:
    """A series of one sample with one exemplar."""
    labels = [(b"__name__", name.encode()), (b"job", b"a")]
    exemplar = encode.exemplar([(b"trace_id", trace.encode())], at_ms, value)
    return encode.Series(labels, [(NOW_MS, 1.0)], exemplars=[exemplar])


def test_exemplars_of_all_selectors(asker: Asker) -> None:
    """Series in label order, each with its exemplars; other series and times are left out."""
    assert asker.write(traced("b", "x"), traced("a", "y"), traced("c", "z")).status_code == 204
    answer = asker.get("/api/v1/query_exemplars", query="rate(b[5m]) / on (job) a")
    assert answer.status_code == 200
    found = [{"labels": {"trace_id": t}, "value": "0.25", "timestamp": NOW_MS / 1000} for t in "yx"]
    assert answer.json()["data"] == [
        {"seriesLabels": {"__name__": "a", "job": "a"}, "exemplars": found[:1]},
        {"seriesLabels": {"__name__": "b", "job": "a"}, "exemplars": found[1:]},
    ]
    later = {"query": "a", "start": NOW_MS / 1000 + 1, "end": NOW_MS / 1000 + 2}
    assert asker.get("/api/v1/query_exemplars", **later).json()["data"] == []


def test_queries_without_selectors_are_204(asker: Asker) -> None:
    """There is nothing to look up, and nothing wrong."""
    assert asker.get("/api/v1/query_exemplars", query="1 + 1").status_code == 204


def test_bad_questions_are_400(asker: Asker) -> None:
    """No query, a broken one, and an end before the start are refused."""
    assert asker.get("/api/v1/query_exemplars").status_code == 400
    assert asker.get("/api/v1/query_exemplars", query="a{").status_code == 400
    turned = asker.get("/api/v1/query_exemplars", query="a", start="2", end="1")
    assert turned.json()["error"] == "end timestamp must not be before start timestamp"


def test_other_tenants_see_none(asker: Asker) -> None:
    """Exemplars belong to the tenant that sent them."""
    assert asker.write(traced("a", "x"), headers={"x-org-id": "acme"}).status_code == 204
    assert asker.get("/api/v1/query_exemplars", query="a").json()["data"] == []


def test_selectors_are_found_everywhere() -> None:
    """In parameters, subqueries, both sides of operators and below signs."""
    text = "topk(scalar(a), -b) + max_over_time((c)[5m:1m]) or label_replace(d, 'x', '', '', '')"
    names = [matchers[-1].value for matchers in selectors(parse(text))]
    assert names == ["a", "b", "c", "d"]
