"""Federation: what a scraping Prometheus finds."""

from series.batch import STALE_NAN
from series.labels import Labels
from series.matcher import Matcher, MatchType
from series.ports import Context, Hints
from server.api.federate_api import Newest
from tests.memory_source import MemorySource
from tests.server.conftest import NOW_MS, Asker, up
from tests.wire import encode
from tests.wire.test_exposition_write import messages


def test_the_newest_samples_sorted_by_name(asker: Asker) -> None:
    """Each series once with its own time, union of all selectors, stale and old ones left out."""
    other = encode.Series([(b"__name__", b"b"), (b"job", b"x")], [(NOW_MS - 299_999, 1e6)])
    old = encode.Series([(b"__name__", b"b"), (b"job", b"old")], [(NOW_MS - 300_000, 1.0)])
    assert asker.write(up("b", 1, 2), up("a", 1.5), up("s", 1, STALE_NAN)).status_code == 204
    assert asker.write(other, old).status_code == 204
    answer = asker.get("/federate?match[]=up&match[]={job%3D~%22.%2B%22}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.text.splitlines() == [
        "# TYPE b untyped",
        f'b{{job="x",instance=""}} 1e+06 {NOW_MS - 299_999}',
        "# TYPE up untyped",
        f'up{{job="a",instance=""}} 1.5 {NOW_MS}',
        f'up{{job="b",instance=""}} 2 {NOW_MS}',
    ]


def test_series_without_a_name_are_left_out() -> None:
    """A page has no place for them; imported blocks may hold some."""
    series = [Labels.of({"job": "x"}), Labels.of({"__name__": "up", "job": "x"})]
    source = MemorySource({labels: [(NOW_MS, 2.0)] for labels in series})
    hints, found = Hints(NOW_MS - 1000, NOW_MS), Newest()
    found.add(source.resolve((Matcher(MatchType.EQUAL, "job", "x"),), hints), hints, Context())
    assert [one.labels for one in found.samples()] == series[1:]
    assert found.text().splitlines()[1:] == [f'up{{job="x",instance=""}} 2 {NOW_MS}'.encode()]


def test_protobuf_on_request(asker: Asker) -> None:
    """Who accepts protobuf gets it."""
    assert asker.write(up("a", 1.5)).status_code == 204
    accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;q=0.7"
    answer = asker.get("/federate?match[]=up", {"accept": accept})
    assert answer.headers["content-type"].startswith("application/vnd.google.protobuf")
    (family,) = messages(answer.content)
    assert family[1] == [b"up"]


def test_bad_selectors_are_400(asker: Asker) -> None:
    """What is no selector is refused in plain text; without any there is nothing."""
    answer = asker.get("/federate?match[]=up{")
    assert answer.status_code == 400
    assert "parse error" in answer.text
    assert asker.get("/federate").text == ""
