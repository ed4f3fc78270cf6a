"""Pages of a dozen real programs, scraped by us and by Debian's Prometheus at the same time.

Each program writes the exposition format in its own hand. What both sides store of it must be the
same: series, values that stood still, samples that carry their time, types and help texts. A
program that is not installed skips its tests; ``make test-long-packages`` installs them all.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, push_to_gateway

from benchmarks.api import Api, LabelSet, Points, as_numbers
from benchmarks.processes import free_port, wait_for
from tests.harness import exporters, servers
from tests.harness.servers import Absent, Server

pytestmark = [pytest.mark.server, pytest.mark.long]

WINDOW_S = 10
NETDATA = {"format": ["prometheus"], "source": ["as-collected"], "help": ["yes"], "types": ["yes"]}
PROBE = [
    {"source_labels": ["__address__"], "target_label": "__param_target"},
    {"source_labels": ["__param_target"], "target_label": "instance"},
]


@dataclass(frozen=True)
class Dialect:
    """A program, what its job says besides the target, and how many series it has at least."""

    start: Callable[[Path], AbstractContextManager[Server]]
    least: int
    job: dict[str, object] = field(default_factory=dict)


DIALECTS = {
    "caddy": Dialect(exporters.start_caddy, 60),
    "haproxy": Dialect(exporters.start_haproxy, 150),
    "etcd": Dialect(exporters.start_etcd, 700),
    "netdata": Dialect(
        exporters.start_netdata, 300, {"metrics_path": "/api/v1/allmetrics", "params": NETDATA}
    ),
    "collectd": Dialect(exporters.start_collectd, 10),
    "pushgateway": Dialect(exporters.start_pushgateway, 50, {"honor_labels": True}),
    "process": Dialect(exporters.start_process_exporter, 30),
    "snmp": Dialect(exporters.start_snmp_exporter, 30),
    "apache": Dialect(exporters.start_apache_exporter, 30),
    "redis": Dialect(exporters.start_redis_exporter, 80),
    "nginx": Dialect(exporters.start_nginx_exporter, 12),
    "blackbox": Dialect(exporters.start_blackbox_exporter, 30),
    "victoria-metrics": Dialect(servers.start_victoria_metrics, 200),
}
PROBED, FEDERATED, OWN = "probed", "federated", "o11y"
TIMED = ("netdata", "collectd", FEDERATED)
"""Their samples carry times, so both sides must store the very same points."""
ALL = (*DIALECTS, PROBED, FEDERATED, OWN)


@dataclass
class Sides:
    """Both servers scraping by one file, and why some of the programs are not there."""

    ours: Api
    theirs: Api
    started: dict[str, Server]
    absent: dict[str, str]
    keyed: Server
    pushed: dict[LabelSet, float]

    def both(self, query: str) -> tuple[dict[LabelSet, Points], ...]:
        """The answers of ours and theirs, bounds as numbers."""
        at_s = time.time()
        return tuple(
            {as_numbers(labels): points for labels, points in api.instant(query, at_s).series}
            for api in (self.ours, self.theirs)
        )


def job(name: str, address: str, more: dict[str, object]) -> dict[str, object]:
    targets = {"targets": [address], "labels": {"dialect": name}}
    return {"job_name": name, "static_configs": [targets], **more}


def probe_job(exporter: Server, targets: list[str]) -> dict[str, object]:
    """The blackbox exporter's documented idiom: the target becomes a parameter."""
    address = {"target_label": "__address__", "replacement": exporter.address}
    return {
        "job_name": PROBED,
        "metrics_path": "/probe",
        "params": {"module": ["http_2xx"]},
        "static_configs": [{"targets": targets, "labels": {"dialect": PROBED}}],
        "relabel_configs": [*PROBE, address],
    }


def push(gateway: Server) -> dict[LabelSet, float]:
    """Pushes two groups; what the clients hold of them."""
    held: dict[LabelSet, float] = {}
    for grouping in ({"job": "nightly", "instance": ""}, {"job": "weekly", "instance": "a/b"}):
        registry = CollectorRegistry()
        Gauge("backup_size_bytes", "Size.", registry=registry).set(1234.5)
        Counter("backup_files", "Files.", ["kind"], registry=registry).labels('a "b"\n\\').inc(7)
        Histogram("backup_seconds", "Time.", buckets=(1, 10), registry=registry).observe(3)
        key = {"instance": grouping["instance"]} if grouping["instance"] else {}
        push_to_gateway(gateway.address, grouping["job"], registry, key)
        for family in registry.collect():
            for sample in family.samples:
                labels = {"__name__": sample.name, **sample.labels, **grouping}
                full = {name: value for name, value in labels.items() if value}
                held[as_numbers(tuple(sorted(full.items())))] = sample.value
    return {labels: value for labels, value in held.items() if "_created" not in str(labels)}


@pytest.fixture(scope="module")
def sides(warm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """All programs that there are, once both sides have scraped them for a while."""
    home = tmp_path_factory.mktemp("dialects")
    started: dict[str, Server] = {}
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        for name, dialect in DIALECTS.items():
            (home / name).mkdir()
            try:
                started[name] = stack.enter_context(dialect.start(home / name))
            except Absent as error:
                absent[name] = str(error)
        own, reference = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        (home / "keys.json").write_text("")
        keyed = stack.enter_context(
            servers.start_o11y(home / "k", home / "k.log", "--keys", str(home / "keys.json"))
        )
        jobs = [job(name, started[name].address, DIALECTS[name].job) for name in started]
        matching = {
            "match[]": ['{__name__=~"scrape_duration_seconds|o11y_ingest_.*", dialect="o11y"}']
        }
        jobs.append(job(FEDERATED, reference, {"metrics_path": "/federate", "params": matching}))
        jobs.append(job(OWN, own, {}))
        if "blackbox" in started:
            targets = [f"http://{own}/-/ready", f"{keyed.url}/api/v1/query", "http://127.0.0.1:1/"]
            jobs.append(probe_job(started["blackbox"], targets))
        else:
            absent[PROBED] = absent["blackbox"]
        config = servers.run_config({})
        config["scrape_configs"] = jobs
        try:
            theirs = stack.enter_context(
                servers.start_prometheus(home / "prometheus", config, address=reference)
            )
        except Absent as error:
            pytest.skip(str(error))
        ours = stack.enter_context(
            servers.start_o11y(
                home / "ours",
                home / "ours.log",
                *("--config", str(home / "prometheus" / "prometheus.yml")),
                listen=own,
            )
        )
        pushed = push(started["pushgateway"]) if "pushgateway" in started else {}
        found = Sides(Api(ours.url), Api(theirs.url), started, absent, keyed, pushed)
        count = len(jobs) + 2 * (PROBED not in absent)
        wait_for(
            lambda: all(len(answer) == count for answer in found.both("up")),
            f"{count} targets on both sides",
        )
        time.sleep(WINDOW_S + 2)
        yield found


@pytest.fixture(params=ALL)
def dialect(request: pytest.FixtureRequest, sides: Sides) -> str:
    name: str = request.param
    if name in sides.absent:
        pytest.skip(sides.absent[name])
    return name


def test_both_sides_have_the_same_series(sides: Sides, dialect: str) -> None:
    """Every label set of the page and of its scrape, and no other."""
    query = f'{{dialect="{dialect}"}}'

    def equal() -> bool:
        ours, theirs = sides.both(query)
        return ours.keys() == theirs.keys()

    try:
        wait_for(equal, "the same series", 30)
    except AssertionError:
        ours, theirs = sides.both(query)
        pytest.fail(f"missing {theirs.keys() - ours.keys()}, more {ours.keys() - theirs.keys()}")
    least = DIALECTS[dialect].least if dialect in DIALECTS else 5
    assert len(sides.both(query)[1]) >= least


def test_what_stood_still_has_the_same_value(sides: Sides, dialect: str) -> None:
    """Every series that kept one value for a while on both sides."""
    ours, theirs = sides.both(f'{{dialect="{dialect}", __name__!="up"}}[{WINDOW_S}s]')
    still = {
        labels: (ours[labels][0][1], theirs[labels][0][1])
        for labels in ours.keys() & theirs.keys()
        if len({repr(v) for _, v in ours[labels]}) == len({repr(v) for _, v in theirs[labels]}) == 1
    }
    assert len(still) > (2 if dialect in (*TIMED, PROBED) else 10)
    assert {labels: pair for labels, pair in still.items() if repr(pair[0]) != repr(pair[1])} == {}


@pytest.mark.parametrize("dialect", TIMED, indirect=True)
def test_samples_with_times_are_the_same_points(sides: Sides, dialect: str) -> None:
    """A time that both sides hold has one value, and most times are held by both."""
    ours, theirs = sides.both(f'{{dialect="{dialect}", __name__!~"up|scrape_.*"}}[{WINDOW_S}s]')
    if dialect == FEDERATED:
        ours, theirs = sides.both(f'{{dialect="{dialect}", exported_job="o11y"}}[{WINDOW_S}s]')
    common = 0
    for labels in ours.keys() & theirs.keys():
        left, right = dict(ours[labels]), dict(theirs[labels])
        shared = left.keys() & right.keys()
        assert {t: repr(left[t]) for t in shared} == {t: repr(right[t]) for t in shared}, labels
        common += len(shared)
    assert common > 0.6 * sum(len(points) for points in theirs.values()) > 3


def test_types_and_help_are_the_same(sides: Sides, dialect: str) -> None:
    """What /api/v1/targets/metadata tells of each metric of the target, if anything."""

    def told(api: Api) -> dict[str, tuple[str, str]]:
        asked = {"match_target": f'{{dialect="{dialect}"}}'}
        answer = api.http.get("/api/v1/targets/metadata", params=asked).json()
        if answer["status"] == "error":
            assert answer["error"] == "specified metadata not found"
            return {}
        return {row["metric"]: (row["type"], row["help"]) for row in answer["data"]}

    wait_for(lambda: told(sides.ours).keys() == told(sides.theirs).keys(), "the same metrics", 20)
    assert told(sides.ours) == told(sides.theirs)


def test_pushed_groups_keep_their_labels(sides: Sides) -> None:
    """With honor_labels the page of a Pushgateway is what the pushing clients hold."""
    if not sides.pushed:
        pytest.skip(sides.absent["pushgateway"])
    for side in sides.both('{__name__=~"backup_.*", job=~"nightly|weekly"}'):
        found = {
            tuple(pair for pair in labels if pair[0] != "dialect"): points[0][1]
            for labels, points in side.items()
            if "_created" not in str(labels)
        }
        assert found == sides.pushed


def test_probes_of_ours_tell_what_we_answer(sides: Sides) -> None:
    """Ready is 200, a query without a key is 401, and where nobody listens there is no answer."""
    if PROBED in sides.absent:
        pytest.skip(sides.absent[PROBED])
    expected = {
        f"{sides.ours.url}/-/ready": (1, 200),
        f"{sides.keyed.url}/api/v1/query": (0, 401),
        "http://127.0.0.1:1/": (0, 0),
    }
    for query, position in (("probe_success", 0), ("probe_http_status_code", 1)):
        for side in sides.both(query):
            found = {dict(labels)["instance"]: points[0][1] for labels, points in side.items()}
            assert found == {name: pair[position] for name, pair in expected.items()}
