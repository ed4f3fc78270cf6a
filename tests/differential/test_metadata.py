"""Series, labels, formatted queries and refusals over HTTP are those of Debian's Prometheus."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from benchmarks.api import Api
from benchmarks.remote_write import Sender
from tests.differential.data import SPAN_MS, Data, make_data
from tests.differential.dialect import FLAGS
from tests.differential.generate import Writer
from tests.differential.mistakes import MISTAKES
from tests.differential.sides import write_body
from tests.harness.servers import Absent, start_o11y, start_prometheus

pytestmark = pytest.mark.server

SEED = 20260817
ROUNDS = 3
BAD_SELECTORS = ("{}", "g[5m]", "g{", 'g{job=~"("}', '{job=~".*"}', "sum(g)", "", "g offset")


@dataclass(frozen=True)
class Servers:
    """Ours and the reference, which hold the same *rounds*."""

    ours: Api
    reference: Api
    rounds: list[Data]

    def both(self, path: str, **parameters: Any) -> tuple[list[Any], list[Any]]:
        """Status, errorType and data of a GET on either side; lists of data sorted."""
        ours, theirs = (
            _told(api.http.get(path, params=parameters)) for api in (self.ours, self.reference)
        )
        return ours, theirs


def _told(answer: Any) -> list[Any]:
    body = answer.json()
    data = body.get("data")
    if isinstance(data, list):
        data = sorted(data, key=lambda row: sorted(row.items()) if isinstance(row, dict) else row)
    return [answer.status_code, body.get("errorType"), data]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both with the data of three rounds, hours apart; skips where there is no Prometheus."""
    home = tmp_path_factory.mktemp("metadata")
    try:
        reference = start_prometheus(home / "reference", None, *FLAGS)
    except Absent as absent:
        pytest.skip(str(absent))
    with reference, start_o11y(home / "ours", home / "log", "--retention", "0") as ours:
        rounds = [make_data(Random(f"{SEED}/{number}"), number) for number in range(ROUNDS)]
        for url in (ours.url, reference.url):
            sender = Sender(url)
            for data in rounds:
                status, text = sender.send(write_body(data))
                assert status in (200, 204), text
            sender.close()
        pair = Servers(Api(ours.url), Api(reference.url), rounds)
        yield pair
        pair.ours.close()
        pair.reference.close()


def _selector(random: Random, data: Data) -> str:
    names = ("g", "h", "c_total", "odd", "lat_bucket", "build", "native", "rule:shapes:sum", "none")
    return Writer(random, data, half=False).braced(random.choice(names))


def _seconds(time_ms: int) -> str:
    return f"{time_ms / 1000:.3f}"


def test_series_are_the_references(servers: Servers) -> None:
    """The label sets that one or some selectors find, in all rounds and before the first."""
    random = Random(SEED)
    found = 0
    for _ in range(200):
        selectors = [
            _selector(random, servers.rounds[0]) for _ in range(random.choice((1, 1, 2, 3)))
        ]
        # Between the rounds either side finds what its newest blocks and chunks reach over.
        first = servers.rounds[0].start_ms - SPAN_MS
        last = random.choice((first, *4 * (servers.rounds[-1].end_ms,)))
        times = {"start": _seconds(first), "end": _seconds(last)}
        ours, theirs = servers.both("/api/v1/series", **{"match[]": selectors}, **times)
        assert ours == theirs, (selectors, times)
        found += bool(ours[2])
    assert found >= 100


def test_labels_and_their_values_are_the_references(servers: Servers) -> None:
    """Names and values, of everything and of what selectors match."""
    random = Random(SEED + 1)
    names, _ = servers.both("/api/v1/labels")
    assert len(names[2]) >= 28
    found = 0
    for number in range(150):
        parameters: dict[str, Any] = {}
        if number % 5:
            count = random.choice((1, 1, 2))
            parameters["match[]"] = [_selector(random, servers.rounds[0]) for _ in range(count)]
        if number % 3 == 0:
            parameters |= {
                "start": _seconds(servers.rounds[0].start_ms),
                "end": _seconds(servers.rounds[-1].end_ms),
            }
        name = random.choice((*names[2], "nolabel"))
        for path in ("/api/v1/labels", f"/api/v1/label/{name}/values"):
            ours, theirs = servers.both(path, **parameters)
            assert ours == theirs, (path, parameters)
            found += bool(ours[2])
    assert found >= 150


def test_refused_selectors_are_the_references(servers: Servers) -> None:
    """What is no selector is refused alike by all three."""
    for selector in BAD_SELECTORS:
        for path in ("/api/v1/series", "/api/v1/labels", "/api/v1/label/job/values"):
            ours, theirs = servers.both(path, **{"match[]": selector})
            assert ours[:2] == theirs[:2] == [400, "bad_data"], (path, selector, ours, theirs)
    for parameters in (
        {},
        {"match[]": "g", "start": "x"},
        {"match[]": "g", "start": "2", "end": "1"},
    ):
        ours, theirs = servers.both("/api/v1/series", **parameters)
        assert ours[:2] == theirs[:2], (parameters, ours, theirs)


def test_refused_queries_are_the_references(servers: Servers) -> None:
    """Status and errorType of what cannot be parsed or evaluated, as instant and range query."""
    data = servers.rounds[0]
    at, until = _seconds(data.start_ms + 600_000), _seconds(data.start_ms + 900_000)
    for query in MISTAKES:
        old = query.replace("double_exponential_smoothing", "holt_winters")
        for path, times in (
            ("/api/v1/query", {"time": at}),
            ("/api/v1/query_range", {"start": at, "end": until, "step": "60"}),
        ):
            ours = _told(servers.ours.http.get(path, params={"query": query, **times}))
            theirs = _told(servers.reference.http.get(path, params={"query": old, **times}))
            assert ours[:2] == theirs[:2], (path, query, ours, theirs)
            assert ours[0] in (400, 422)


def test_formatted_queries_are_the_references(servers: Servers) -> None:
    """Short and long expressions are printed alike."""
    random = Random(SEED + 2)
    broken = 0
    for number in range(400):
        writer = Writer(random, servers.rounds[0], half=bool(number % 2))
        query = writer.vector(random.choice((0, 1, 2, 3, 4)))
        # Long numbers had an exponent, and one function another name.
        if "1e6" in query or "double_exponential_smoothing" in query:
            continue
        ours, theirs = servers.both("/api/v1/format_query", query=query)
        assert ours == theirs, query
        broken += "\n" in ours[2]
    assert broken >= 50
