"""Limits: the file, what each refuses, and that the rest is stored."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scrape.document import ConfigError
from server.access import limits
from server.access.keys import parse_matcher
from server.access.limits import UNSET, Limits, LimitsFile, parse_limits
from server.access.rates import MAX_BUCKETS, Rates
from tests.server.conftest import NOW_MS, Asker, up
from tests.wire import encode

NAME = (b"__name__", b"up")


@pytest.fixture
def limited(make_asker: Callable[..., Asker], tmp_path: Path) -> Callable[..., Asker]:
    """Opens a server with the given limits by default."""

    def make(text: str = "", **defaults: object) -> Asker:
        path = tmp_path / "limits.yml"
        lines = "".join(f"  {name}: {value}\n" for name, value in defaults.items())
        path.write_text(f"defaults:\n{lines}{text}" if lines else text)
        return make_asker(limits_file=path)

    return make


def series(*labels: tuple[bytes, bytes], count: int = 1) -> encode.Series:
    samples = [(NOW_MS - 1000 * k, 1.0) for k in reversed(range(count))]
    return encode.Series(sorted([NAME, *labels]), samples)


def test_the_file_has_defaults_and_tenants() -> None:
    """A tenant's own limits stand over the common ones, those over Mimir's."""
    config = parse_limits(
        """
defaults:
  max_global_series_per_user: 10
  max_total_query_length: 30d
tenants:
  acme: {ingestion_rate: 5000, accept_ha_samples: true}
  globex:
scrape_tenants: {node: acme}
""",
        "limits.yml",
    )
    assert config.defaults.max_global_series_per_user == 10
    assert config.defaults.max_total_query_length == 30 * 86_400_000
    assert config.defaults.max_label_names_per_series == Limits().max_label_names_per_series == 30
    acme = config.tenants["acme"]
    assert (acme.ingestion_rate, acme.accept_ha_samples) == (5000, True)
    assert acme.max_global_series_per_user == 10
    assert config.tenants["globex"] == config.defaults
    assert config.scrape_tenants == {"node": "acme"}


def test_without_a_file_series_and_rates_are_free() -> None:
    """The sizes of labels are bounded all the same."""
    free = LimitsFile().of("anybody")
    assert free is UNSET
    assert free.max_global_series_per_user == free.ingestion_rate == 0
    assert free.max_label_value_length == 2048
    assert parse_limits("", "limits.yml").defaults == Limits()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("defaults:\n  max_series: 1\n", 2),
        ("defaults:\n  ingestion_rate: many\n", 2),
        ("defaults:\n  ingestion_rate: -1\n", 2),
        ("defaults:\n  series_limit_status: 503\n", 2),
        ("tenants:\n  acme: {}\n  a/b: {}\n", 3),
        ("tenants:\n  acme:\n    accept_ha_samples: 7\n", 3),
        ("tenants: [1]\n", 1),
        ("scrape_tenants:\n  node: ../x\n", 1),
        ("limits: {}\n", 1),
        ("defaults: {\n", 2),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, line: int) -> None:
    """Unknown names, bad values and no YAML."""
    with pytest.raises(ConfigError, match=rf"^limits\.yml:{line}: "):
        parse_limits(text, "limits.yml")


def test_the_file_is_read_again(tmp_path: Path) -> None:
    """Within seconds; a bad or missing file keeps the limits read before."""
    now = [0.0]
    path = tmp_path / "limits.yml"
    path.write_text("defaults: {ingestion_rate: 1}")
    file = LimitsFile(path, lambda: now[0])

    def rate() -> int:
        return file.of("acme").ingestion_rate

    path.write_text("defaults: {ingestion_rate: 22}")
    assert rate() == 1, "nothing is looked up before its time"
    now[0] += limits.RECHECK_SECONDS
    assert rate() == 22
    path.write_text("defaults: {ingestion_rate: oops}")
    now[0] += limits.RECHECK_SECONDS
    assert rate() == 22 and not file.last_reload_good
    path.unlink()
    now[0] += limits.RECHECK_SECONDS
    assert rate() == 22 and not file.last_reload_good
    path.write_text("defaults: {ingestion_rate: 333}")
    now[0] += limits.RECHECK_SECONDS
    assert rate() == 333 and file.last_reload_good
    assert limits.RECHECK_SECONDS <= 10


def test_a_bad_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    """Nobody runs with limits that he did not mean."""
    path = tmp_path / "limits.yml"
    path.write_text("defaults:\n  nonsense: 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        LimitsFile(path)
    with pytest.raises(FileNotFoundError):
        LimitsFile(tmp_path / "none.yml")


def test_series_are_capped_and_known_ones_stay(limited: Callable[..., Asker]) -> None:
    """At the cap new series are refused by name; known ones and other tenants go on."""
    asker = limited(max_global_series_per_user=3)
    assert asker.write(*(up(f"j{k}", 1) for k in range(3))).status_code == 204
    answer = asker.write(*(up(f"j{k}", 2, step_ms=1) for k in range(2, 6)))
    assert answer.status_code == 400, "the conflict and the surplus are named"
    fresh = [encode.Series([NAME, (b"job", b"j%d" % k)], [(NOW_MS - 1, 7.0)]) for k in range(6)]
    answer = asker.write(*fresh)
    assert answer.status_code == 400
    assert "err-max-series-per-tenant: tenant default has 3 of 3 series;" in answer.text
    assert "refused: 3 max-series-per-tenant; stored: 3" in answer.text
    assert asker.values("count(up)") == {"": "3"}
    assert asker.write(*fresh, headers={"x-org-id": "other"}).status_code == 400
    assert asker.values("count(up)", {"x-org-id": "other"}) == {"": "3"}


def test_the_cap_counts_distinct_series_of_one_request(limited: Callable[..., Asker]) -> None:
    """A new series that stands twice in a request takes one place."""
    asker = limited(max_global_series_per_user=2)
    twice = [encode.Series([NAME, (b"job", b"a")], [(NOW_MS - k, 1.0)]) for k in (2, 1)]
    answer = asker.write(*twice, up("b", 1), up("c", 1), *twice)
    assert answer.status_code == 400
    assert "refused: 1 max-series-per-tenant" in answer.text
    assert sorted(asker.values("up")) == ["a", "b"]


def metric(name: str, number: int, at_ms: int = NOW_MS) -> encode.Series:
    return encode.Series([(b"__name__", name.encode()), (b"job", b"j%d" % number)], [(at_ms, 1.0)])


def test_series_of_a_metric_are_capped(limited: Callable[..., Asker]) -> None:
    """New series of a full metric are refused by name; known ones and other metrics go on."""
    asker = limited(max_global_series_per_metric=2)
    assert asker.write(metric("up", 1), metric("up", 2)).status_code == 204
    later = [metric("up", k, NOW_MS + 1) for k in range(1, 5)]
    answer = asker.write(*later, metric("down", 1))
    assert answer.status_code == 400
    assert (
        "err-max-series-per-metric: tenant default has 2 of 2 series of the metric up; new ones "
        "are refused, known ones still stored (max_global_series_per_metric) for series "
        '{__name__="up", job="j3"}'
    ) in answer.text
    assert "refused: 2 max-series-per-metric; stored: 3" in answer.text
    assert asker.values("count by (job) ({__name__=~'up|down'})") == {"j1": "2", "j2": "1"}
    page = asker.get("/metrics").text
    name = "o11y_ingest_refused_samples_total"
    assert f'{name}{{door="remote_write",reason="max-series-per-metric"}} 2.0' in page
    assert 'o11y_limits_defaults{limit_name="max_global_series_per_metric"} 2.0' in page


def test_limits_on_series_follow_the_file(limited: Callable[..., Asker], tmp_path: Path) -> None:
    """A limit that was raised or taken away lets the next request in."""
    asker = limited(max_global_series_per_metric=1)
    assert asker.write(metric("up", 1), metric("up", 2)).status_code == 400
    for text in ("{max_global_series_per_metric: 2}", "{max_global_series_per_metric: 0}"):
        (tmp_path / "limits.yml").write_text(f"defaults: {text}\n")
        asker.house.limits = LimitsFile(tmp_path / "limits.yml")
        more = [metric("up", 1, NOW_MS + 1), metric("up", 2)]
        assert asker.write(*more).status_code == 204
    assert asker.write(*(metric("up", k) for k in range(3, 9))).status_code == 204


@pytest.mark.parametrize("limit", ["max_global_series_per_user", "max_global_series_per_metric"])
def test_the_cap_on_series_may_answer_429(limited: Callable[..., Asker], limit: str) -> None:
    """With the same words; only where nothing of the request was stored, with Retry-After."""
    texts = {}
    for status in (400, 429):
        asker = limited(**{limit: 1, "series_limit_status": status})
        assert asker.write(metric("up", 1)).status_code in (204, 400)
        full = asker.write(metric("up", 2))
        assert full.status_code == status
        assert full.headers.get("retry-after") == ("60" if status == 429 else None)
        partly = asker.write(metric("up", 1), metric("up", 2))
        assert (partly.status_code, "retry-after" in partly.headers) == (400, False)
        assert "stored: 1" in partly.text
        texts[status] = full.text, partly.text
    assert texts[400] == texts[429]


def test_an_import_goes_on_behind_a_full_block(limited: Callable[..., Asker]) -> None:
    """Lines of known series behind new ones are stored, whatever the cap answers."""
    asker = limited(max_global_series_per_user=1, series_limit_status=429)
    assert asker.write(metric("up", 1)).status_code == 204
    new = "".join(f'more{{n="{k:06}"}} 1 {NOW_MS}\n' for k in range(60_000))
    text = f'{new}up{{job="j1"}} 1 {NOW_MS}\n'
    answer = asker("POST", "/api/v1/import/prometheus", content=text.encode())
    assert answer.status_code == 400
    assert "refused: 60000 max-series-per-tenant; stored: 1" in answer.text
    answer = asker("POST", "/api/v1/import/prometheus", content=new.encode())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            series(*((b"l%02d" % k, b"x") for k in range(30))),
            "err-max-label-names-per-series: received a series whose number of labels exceeds the "
            "limit (actual: 31, limit: 30)",
        ),
        (
            series((b"n" * 1025, b"x")),
            "err-label-name-too-long: received a series whose label name length exceeds the limit",
        ),
        (
            series((b"long", "é".encode() * 1025)),
            "err-label-value-too-long: received a series whose label value length exceeds the "
            "limit (label: 'long', actual: 2050, limit: 2048)",
        ),
    ],
)
def test_label_sizes(asker: Asker, bad: encode.Series, words: str) -> None:
    """Mimir's limits hold without a file; the answer stays short, the rest is stored."""
    answer = asker.write(bad, up("good", 1))
    assert answer.status_code == 400
    assert words in answer.text
    assert len(answer.content) < 20_000
    assert asker.values("up") == {"good": "1"}


def test_labels_up_to_the_limit_pass(asker: Asker) -> None:
    """The limits themselves are allowed."""
    most = [(b"l%02d" % k, b"x") for k in range(29)]
    answer = asker.write(series(*most), series((b"n" * 1024, b"x")), series((b"v", b"x" * 2048)))
    assert answer.status_code == 204, answer.text


def test_samples_a_second(limited: Callable[..., Asker]) -> None:
    """429 with Retry-After and nothing stored; a request beyond every burst is 400 at once."""
    asker = limited(ingestion_rate=1, ingestion_burst_size=10)
    assert asker.write(series((b"a", b"1"), count=8)).status_code == 204
    answer = asker.write(series((b"a", b"2"), count=5))
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 4
    assert "err-tenant-max-ingestion-rate: " in answer.text
    assert asker.values("count(up)") == {"": "1"}
    assert asker.write(series((b"a", b"2"), count=11)).status_code == 400
    assert asker.write(up("b", 1), headers={"x-org-id": "other"}).status_code == 204


def test_requests_a_second(limited: Callable[..., Asker]) -> None:
    """The rate of requests is another limit."""
    asker = limited(request_rate=1, request_burst_size=2)
    assert [asker.write(up("a", 1)).status_code for _ in range(3)] == [204, 204, 429]


def test_samples_a_request(limited: Callable[..., Asker]) -> None:
    """A longer request never gets in, so it is 400."""
    asker = limited(max_samples_per_request=5)
    answer = asker.write(series((b"a", b"2"), count=6))
    assert (answer.status_code, asker.values("up")) == (400, {})
    assert "err-max-samples-per-request: 6 samples exceed the limit of 5" in answer.text


def test_queries(limited: Callable[..., Asker]) -> None:
    """Each limit answers 422 with its name, the use and the limit."""
    asker = limited(
        max_query_expression_size_bytes=40,
        max_total_query_length="1h",
        max_fetched_series_per_query=2,
        max_samples_per_query=3,
    )
    assert asker.write(*(up(job, 1, 2) for job in "abc")).status_code == 204
    ranged = {"start": NOW_MS / 1000 - 7200, "end": NOW_MS / 1000, "step": 60}
    for words, path, params in (
        ("err-max-query-expression-size-bytes", "query", {"query": "up + " * 10 + "up"}),
        ("err-max-total-query-length", "query_range", {"query": "up", **ranged}),
        ("err-max-fetched-series-per-query", "query", {"query": "up", "time": NOW_MS / 1000}),
        (
            "too many samples into memory in query execution (max_samples_per_query: at least 4 "
            "samples, at most 3 are allowed)",
            "query",
            {"query": 'up{job=~"a|b"}[5m]', "time": NOW_MS / 1000},
        ),
    ):
        answer = asker.get(f"/api/v1/{path}", None, **params)
        assert (answer.status_code, answer.json()["errorType"]) == (422, "execution")
        assert words in answer.json()["error"]
    assert asker.values('up{job="a"}') == {"a": "2"}
    page = asker.get("/metrics").text
    assert 'o11y_limited_requests_total{limit="max-fetched-series-per-query"} 1.0' in page
    assert 'o11y_limited_requests_total{limit="max-samples-per-query"} 1.0' in page
    assert 'o11y_limits_defaults{limit_name="max_samples_per_query"} 3.0' in page
    assert "o11y_limits_last_reload_successful 1.0" in page


def test_queries_reach_back_so_far(limited: Callable[..., Asker]) -> None:
    """Older samples and series are not seen, older steps are left out, and the answer says so."""
    asker = limited(max_query_lookback="1h")
    now_s = NOW_MS // 1000
    assert asker.write(
        up("new", *range(20), step_ms=600_000),  # the last 190 minutes
        encode.Series([(b"__name__", b"gone"), (b"job", b"old")], [(NOW_MS - 7_200_000, 1.0)]),
    ).is_success

    def ask(path: str, **params: object) -> tuple[object, list[str]]:
        answer = asker.get(f"/api/v1/{path}", None, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"], answer.json().get("warnings", [])

    cut = "results truncated: what is older than 1h is out of reach (max_query_lookback)"
    data, warnings = ask("query", query="up[3h]", time=now_s)
    times = [time for time, _ in data["result"][0]["values"]]  # type: ignore[index]
    assert times == [now_s - 600 * k for k in range(6, -1, -1)]
    assert warnings == [cut]
    assert ask("query", query="count_over_time(up[30m])", time=now_s)[1] == []
    assert ask("query", query="up offset 2h", time=now_s)[0]["result"] == []  # type: ignore[index]
    assert ask("query", query="up", time=now_s - 7200)[0]["result"] == []  # type: ignore[index]
    steps = {"start": now_s - 10_000, "end": now_s, "step": 900}
    data, warnings = ask("query_range", query="absent(gone)", **steps)
    times = [time for time, _ in data["result"][0]["values"]]  # type: ignore[index]
    assert times == [now_s - 10_000 + 900 * k for k in range(8, 12)], (
        "the asked steps that are left"
    )
    assert warnings == [cut]
    steps = {"start": now_s - 10_000, "end": now_s - 8_000, "step": 900}
    data, warnings = ask("query_range", query="absent(up)", **steps)
    assert (data, warnings) == ({"resultType": "matrix", "result": []}, [cut])
    assert asker.get("/api/v1/query_range", None, query="up +", **steps).status_code == 400
    assert ask("query_range", query="up", start=now_s - 3000, end=now_s, step=900)[1] == []


def test_names_reach_back_so_far(limited: Callable[..., Asker]) -> None:
    """Series, label names and values of what is wholly out of reach stay unseen."""
    asker = limited(max_query_lookback="1h")
    old = {"start": NOW_MS // 1000 - 9000, "end": NOW_MS // 1000 - 8000}
    assert asker.write(up("new", 1, 2, step_ms=8_500_000)).is_success
    for path in ("series", "labels", "label/job/values"):
        every = {"match[]": "up"}
        answer = asker.get(f"/api/v1/{path}", None, **every)
        assert answer.json()["data"] != [] and "warnings" not in answer.json()
        assert asker.get(f"/api/v1/{path}", None, **every, **old).json()["data"] == []


def test_metadata(limited: Callable[..., Asker]) -> None:
    """Long or surplus metadata is not kept, and no error."""
    asker = limited(max_metadata_length=10, max_global_metadata_per_user=2)
    told = [(b"a", b"short"), (b"b", b"x" * 11), (b"c", b"ok"), (b"d", b"ok")]
    body = b"".join(encode.metadata(1, name, text, b"") for name, text in told)
    assert asker.write_body(encode.snappy(body)).status_code == 204
    assert set(asker.get("/api/v1/metadata").json()["data"]) == {"a", "c"}
    page = asker.get("/metrics").text
    assert 'o11y_ingest_skipped_total{door="remote_write",kind="metadata"} 2.0' in page


def test_of_a_pair_one_replica_is_heard(limited: Callable[..., Asker]) -> None:
    """The replica label goes, the other replica's samples are skipped without an error."""
    asker = limited(accept_ha_samples="true", ha_max_clusters=1)

    def pair(replica: bytes, value: float, cluster: bytes = b"eu") -> encode.Series:
        labels = [(b"__replica__", replica), (b"cluster", cluster), NAME]
        return encode.Series(sorted(labels), [(NOW_MS, value)])

    assert asker.write(pair(b"a", 1)).status_code == 204
    assert asker.write(pair(b"b", 2), up("alone", 3)).status_code == 204
    answer = asker.get("/api/v1/query", None, query="up", time=NOW_MS / 1000).json()["data"]
    assert [(row["metric"], row["value"][1]) for row in answer["result"]] == [
        ({"__name__": "up", "cluster": "eu"}, "1"),
        ({"__name__": "up", "job": "alone"}, "3"),
    ]
    answer = asker.write(pair(b"a", 1, b"us"))
    assert answer.status_code == 400
    assert "err-tenant-too-many-ha-clusters" in answer.text
    page = asker.get("/metrics").text
    assert 'o11y_ingest_skipped_total{door="remote_write",kind="ha-deduplicated"} 1.0' in page


def test_a_conflict_explains_itself(asker: Asker) -> None:
    """Two replicas without that setting hear what to do."""
    assert asker.write(up("a", 1)).status_code == 204
    answer = asker.write(up("a", 2))
    assert answer.status_code == 400
    assert "accept_ha_samples" in answer.text


def test_rates_fill_up_again() -> None:
    """A bucket gives what has come in since, no more than it holds; names come and go."""
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert rates.take("a", 10, 2, 10) == 0
    assert rates.take("a", 4, 2, 10) == 2
    now[0] = 2
    assert rates.take("a", 4, 2, 10) == 0
    now[0] = 1000
    assert rates.take("a", 10, 2, 10) == 0 < rates.take("a", 1, 2, 10)
    assert rates.take("a", 10**9, 0, 0) == 0, "no rate is no limit"
    for k in range(2 * MAX_BUCKETS):
        assert rates.take(f"n{k}", 1, 1, 1) == 0


def test_matchers_of_keys() -> None:
    """All four kinds; nonsense is a ValueError."""
    texts = ['env="prod"', 'env!="prod"', 'env=~"a|b"', 'env!~"a.*"']
    assert [str(parse_matcher(text)) for text in texts] == texts
    for bad in ("", "env", "env=prod", 'env="', 'env=~"("', '{env="a"}', 'env="a",b="c"'):
        with pytest.raises(ValueError, match=r"\S"):
            parse_matcher(bad)
