"""explain and analyze: what a query would cost, and what it did cost."""

from typing import Any

from tests.server.conftest import NOW_MS, Asker, up

NOW = NOW_MS / 1000
QUERY = "sum by (job) (rate(up[1m])) * 2"


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The plan and all below it."""
    return [plan, *(node for child in plan["children"] for node in nodes(child))]


def filled(asker: Asker) -> Asker:
    assert asker.write(*(up(f"j{k}", *range(20)) for k in range(3))).status_code == 204
    return asker


def test_explain_reads_nothing(asker: Asker) -> None:
    """The tree has the estimates of every node and no measurement; no sample is counted."""
    answer = filled(asker).get("/api/v1/query", query=QUERY, time=NOW, explain="1").json()
    plan = answer["data"]["plan"]
    assert [node["node"] for node in nodes(plan)] == [
        "operator *",
        "aggregate sum by (job)",
        "call rate",
        'windows of {__name__="up"} over 1m',
        "number 2.0",
    ]
    by_name = {node["node"].split(" ")[0]: node for node in nodes(plan)}
    assert by_name["aggregate"]["estimated"]["series"] == 3
    assert by_name["windows"]["estimated"]["series"] == 3
    assert by_name["windows"]["expr"] == "up[1m]"
    assert by_name["windows"]["estimated"]["samples"] > 0
    assert all("measured" not in node for node in nodes(plan))
    assert "result" not in answer["data"]


def test_explain_of_a_range_names_its_steps(asker: Asker) -> None:
    """A range query's plan stands over its steps; a bad query is refused as ever."""
    times = {"start": NOW - 60, "end": NOW, "step": 15}
    answer = filled(asker).get("/api/v1/query_range", query="up", explain="1", **times).json()
    assert answer["data"]["plan"]["steps"] == 5
    bad = asker.get("/api/v1/query_range", query="up[5m]", explain="1", **times)
    assert bad.status_code == 400


def test_analyze_answers_and_measures(asker: Asker) -> None:
    """The answer is the same as without; every node says what it gave and read."""
    times = {"start": NOW - 60, "end": NOW, "step": 15}
    plain = filled(asker).get("/api/v1/query_range", query=QUERY, **times).json()["data"]
    analyzed = asker.get("/api/v1/query_range", query=QUERY, analyze="1", **times).json()["data"]
    plan = analyzed.pop("plan")
    assert analyzed == plain
    by_name = {node["node"].split(" ")[0]: node["measured"] for node in nodes(plan)}
    assert by_name["call"]["samples"] >= 3 * 8
    assert by_name["call"]["points"] == 3 * 5
    assert by_name["aggregate"]["series"] == 3
    assert by_name["operator"]["points"] == 3 * 5
    assert all(cost["seconds"] >= 0 for cost in by_name.values())
    assert by_name["call"]["seconds"] > 0
