"""The requests that Grafana's Prometheus data source sends, as it sends them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from server.settings import PROMETHEUS_VERSION
from tests.server.conftest import NOW_MS, Asker
from tests.wire import encode

FORM = {"content-type": "application/x-www-form-urlencoded"}
END_S = NOW_MS // 1000
START_S = END_S - 3600
WITHIN = {"start": str(START_S), "end": str(END_S)}
MOST = {"limit": "40000"}
API = {"__name__": "http_requests_total", "instance": "api:80", "job": "api"}
WEB = {"__name__": "http_requests_total", "instance": "web:80", "job": "web"}


@pytest.fixture
def grafana(make_asker: Callable[..., Asker]) -> Asker:
    """A server with an hour of two counters: 5 and 2 more a minute."""
    asker = make_asker()
    for labels, more in ((API, 5.0), (WEB, 2.0)):
        pairs = [(name.encode(), value.encode()) for name, value in labels.items()]
        samples = [(NOW_MS - 60_000 * (60 - k), more * k) for k in range(61)]
        assert asker.write(encode.Series(pairs, samples)).status_code == 204
    return asker


def posted(asker: Asker, path: str, form: dict[str, str]) -> Any:
    """``data`` of the answer to a form, which is the only thing in a good answer besides status."""
    answer = asker("POST", f"/api/v1/{path}", headers=FORM, content=urlencode(form))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"status", "data"}
    return answer.json()["data"]


def got(asker: Asker, path: str, parameters: dict[str, str]) -> Any:
    answer = asker("GET", f"/api/v1/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"status", "data"}
    return answer.json()["data"]


def test_saving_a_data_source_checks_it(grafana: Asker) -> None:
    """To save and test one evaluates ``1+1`` at an instant and asks which Prometheus this is."""
    data = posted(grafana, "query", {"query": "1+1", "time": f"{END_S}"})
    assert data == {"resultType": "scalar", "result": [END_S, "2"]}
    assert got(grafana, "status/buildinfo", {})["version"] == PROMETHEUS_VERSION


def test_a_panel_asks_for_a_range(grafana: Asker) -> None:
    """A time series panel: POST of a form, times in seconds, a step in seconds."""
    form = {"query": "rate(http_requests_total[5m])", **WITHIN, "step": "60"}
    data = posted(grafana, "query_range", {**form, "start": f"{END_S - 120}"})
    assert data["resultType"] == "matrix"
    assert [row["metric"]["job"] for row in data["result"]] == ["api", "web"]
    for row, a_second in zip(data["result"], (5 / 60, 2 / 60), strict=True):
        assert [t for t, _ in row["values"]] == [END_S - 120, END_S - 60, END_S]
        assert [float(v) for _, v in row["values"]] == pytest.approx([a_second] * 3)


def test_a_panel_without_data_is_empty(grafana: Asker) -> None:
    """No series is no error."""
    form = {"query": "nothing_like_this", **WITHIN, "step": "15"}
    assert posted(grafana, "query_range", form) == {"resultType": "matrix", "result": []}


def test_a_table_asks_for_an_instant(grafana: Asker) -> None:
    """A table or a single number: the value at the end of the dashboard's range."""
    form = {"query": "sort_desc(http_requests_total)", "time": f"{END_S}.000"}
    data = posted(grafana, "query", form)
    assert data == {
        "resultType": "vector",
        "result": [
            {"metric": API, "value": [END_S, "300"]},
            {"metric": WEB, "value": [END_S, "120"]},
        ],
    }


def test_a_broken_query_is_explained(grafana: Asker) -> None:
    """The panel shows the error's text, for which Grafana reads status, errorType and error."""
    form = urlencode({"query": "rate(http_requests_total)", **WITHIN, "step": "15"})
    answer = grafana("POST", "/api/v1/query_range", headers=FORM, content=form)
    assert answer.status_code == 400
    assert answer.json() == {
        "status": "error",
        "errorType": "bad_data",
        "error": 'invalid parameter "query": 1:6: parse error: expected type range vector in call '
        'to function "rate", got instant vector',
    }


def test_the_query_builder_looks_around(grafana: Asker) -> None:
    """Metrics, label names and label values, alone and below a selector."""
    chosen = {"match[]": '{__name__="http_requests_total"}'}
    names = ["__name__", "instance", "job"]
    assert posted(grafana, "labels", {**WITHIN, **MOST}) == names
    assert posted(grafana, "labels", {**WITHIN, **MOST, **chosen}) == names
    assert got(grafana, "label/__name__/values", {**WITHIN, **MOST}) == ["http_requests_total"]
    assert got(grafana, "label/job/values", {**WITHIN, **MOST, **chosen}) == ["api", "web"]
    narrow = {"match[]": 'http_requests_total{job="web"}'}
    assert got(grafana, "label/instance/values", {**WITHIN, **narrow}) == ["web:80"]
    assert posted(grafana, "series", {**WITHIN, **MOST, **chosen}) == [API, WEB]
    assert posted(grafana, "series", {**WITHIN, **MOST, **narrow}) == [WEB]


def test_a_template_variable_outside_of_the_data_is_empty(grafana: Asker) -> None:
    """Values are those of the dashboard's range, not of all times."""
    before = {"start": f"{START_S - 864_000}", "end": f"{START_S - 863_000}"}
    assert got(grafana, "label/job/values", {**before, "match[]": "http_requests_total"}) == []


def test_metadata_and_exemplars(grafana: Asker) -> None:
    """Help texts of the metrics browser, and the exemplars of a panel that asks for them."""
    assert got(grafana, "metadata", {"limit": "40000"}) == {}
    form = {"query": "rate(http_requests_total[5m])", **WITHIN}
    assert posted(grafana, "query_exemplars", form) == []


def test_there_are_no_rules(grafana: Asker) -> None:
    """Grafana lists a data source's rules and alerts; none can be configured, so none are told."""
    assert got(grafana, "rules", {}) == {"groups": []}
    assert got(grafana, "rules", {"type": "alert"}) == {"groups": []}
    assert got(grafana, "rules", {"type": "record", "file[]": "a.yml", "rule_name[]": "b"}) == {
        "groups": []
    }
    assert got(grafana, "alerts", {}) == {"alerts": []}
    nobody: dict[str, list[str]] = {"activeAlertmanagers": [], "droppedAlertmanagers": []}
    assert got(grafana, "alertmanagers", {}) == nobody


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"type": "other"}, 'invalid parameter "type": not supported value "other"'),
        ({"group_limit": "x"}, 'invalid parameter "group_limit": '),
        ({"group_limit": "0"}, 'invalid parameter "group_limit": '),
        (
            {"group_next_token": "x"},
            'invalid parameter "group_next_token": group_limit needs',
        ),
        ({"group_next_token": "x", "group_limit": "1"}, 'invalid parameter "group_next_token": '),
        ({"exclude_alerts": "perhaps"}, 'invalid parameter "exclude_alerts": '),
        ({"match[]": "{"}, 'invalid parameter "match[]": '),
    ],
)
def test_wrong_filters_of_rules_are_refused(
    asker: Asker, parameters: dict[str, str], text: str
) -> None:
    """That there are no rules does not make every question a good one."""
    answer = asker("GET", "/api/v1/rules", params=parameters)
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    assert answer.json()["error"].startswith(text)
