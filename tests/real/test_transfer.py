"""Moving data, with real counterparts: promtool, Debian's Prometheus, and servers of ours."""

import json
import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.processes import Process, find_program
from benchmarks.remote_write import Sender, write_body
from tests.harness import servers
from tests.harness.servers import Absent, Server
from tests.real.conftest import make_key
from tests.wire import encode
from tests.wire.histograms import Sent

pytestmark = pytest.mark.server

Points = dict[tuple[tuple[str, str], ...], dict[int, float]]
"""Samples by the sorted labels of their series and time in ms."""
NOW_MS = int(time.time()) * 1000 // 60_000 * 60_000
_DUMPED = re.compile(r"\{(.*)\} (\S+) (-?\d+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def o11y(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the command line to its end and expects *code*."""
    argv = [str(servers.O11Y), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def promtool(*arguments: object) -> str:
    binary = find_program("promtool")
    if binary is None:
        pytest.skip("no promtool here (apt-get install prometheus)")
    argv = [binary, *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True).stdout


def exported(path: Path, *arguments: object) -> Points:
    """What ``o11y export`` writes to the Parquet file *path*."""
    o11y("export", "-o", path, *arguments)
    return points(pq.read_table(path))


def points(table: pa.Table) -> Points:
    names = table.column_names[: table.column_names.index("timestamp")]
    columns = [table[name].cast(pa.string()).to_pylist() for name in names]
    found: Points = {}
    times_ms = table["timestamp"].cast(pa.int64()).to_pylist()
    rows = zip(*columns, times_ms, table["value"].to_pylist(), strict=True)
    for *texts, time_ms, value in rows:
        pairs = zip(names, texts, strict=True)
        series = tuple((name, text) for name, text in pairs if text is not None)
        samples = found.setdefault(series, {})
        assert time_ms not in samples
        samples[time_ms] = value
    return found


def dumped(directory: Path) -> Points:
    """What promtool reads of the blocks in *directory*."""
    (directory / "wal").mkdir(exist_ok=True)  # promtool looks for a log
    found: Points = {}
    for line in promtool("tsdb", "dump", directory).splitlines():
        match = _DUMPED.fullmatch(line)
        assert match, line
        labels = tuple(sorted((n, json.loads(f'"{v}"')) for n, v in _LABEL.findall(match[1])))
        found.setdefault(labels, {})[int(match[3])] = float(match[2])
    return found


def same(a: Points, b: Points) -> bool:
    """Whether all samples are the same, a NaN like every other."""
    return a.keys() == b.keys() and all(
        a[series].keys() == b[series].keys()
        and np.array_equal(
            [a[series][at] for at in a[series]], [b[series][at] for at in a[series]], equal_nan=True
        )
        for series in a
    )


@pytest.fixture
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Points]:
    """A file of OpenMetrics over nine hours, with odd values and texts, and what it holds."""
    random.seed(11)
    path = tmp_path_factory.mktemp("page") / "page.om"
    expected: Points = {}
    lines = []
    for number in range(30):
        series = (("__name__", f"m{number % 4}"), ("n", str(number)), ("q", 'é"\\'))
        samples = expected.setdefault(series, {})
        at_ms = NOW_MS - 9 * 3_600_000
        while at_ms < NOW_MS:
            at_ms += random.choice([15_000, 15_000, 15_001, 14_750, 60_000])
            value = random.choice(
                [random.random(), float(random.randrange(1000)), 0.0, float("nan"), float("inf")]
            )
            samples[at_ms] = value
            text = {"nan": "NaN", "inf": "+Inf"}.get(repr(value), repr(value))
            labels = f'{{n="{number}",q="é\\"\\\\"}}'
            lines.append(f"m{number % 4}{labels} {text} {at_ms // 1000}.{at_ms % 1000:03d}\n")
    path.write_text("".join(lines) + "# EOF\n")
    return path, expected


def test_blocks_of_promtool_are_imported(page: tuple[Path, Points], tmp_path: Path) -> None:
    """What promtool made of a file is what we make of it, and what it reads of its own blocks."""
    file, expected = page
    promtool("tsdb", "create-blocks-from", "openmetrics", file, tmp_path / "blocks")
    count = sum(map(len, expected.values()))

    said = o11y("import", tmp_path / "blocks", "--data", tmp_path / "a").stdout
    o11y("import", file, "--data", tmp_path / "b")

    assert said.startswith(f"imported {count} samples of 30 series")
    of_blocks = exported(tmp_path / "a.parquet", "--data", tmp_path / "a")
    assert same(of_blocks, expected)
    assert same(dumped(tmp_path / "blocks"), expected)
    assert same(exported(tmp_path / "b.parquet", "--data", tmp_path / "b"), expected)


def test_promtool_makes_blocks_of_our_export(page: tuple[Path, Points], tmp_path: Path) -> None:
    """Our OpenMetrics text is read by promtool, sample for sample."""
    file, expected = page
    o11y("import", file, "--data", tmp_path / "data", "--tenant", "acme")
    o11y("export", "-o", tmp_path / "x.om", "--data", tmp_path / "data", "--tenant", "acme")

    promtool("tsdb", "create-blocks-from", "openmetrics", tmp_path / "x.om", tmp_path / "blocks")

    assert same(dumped(tmp_path / "blocks"), expected)


def test_a_deletion_in_prometheus_is_a_deletion_here(
    page: tuple[Path, Points], tmp_path: Path
) -> None:
    """Tombstones that Prometheus wrote into its blocks hide the samples from the import."""
    file, expected = page
    data = tmp_path / "home" / "data"
    promtool("tsdb", "create-blocks-from", "openmetrics", file, data)
    start_ms, end_ms = NOW_MS - 5 * 3_600_000, NOW_MS - 3 * 3_600_000
    try:
        with servers.start_prometheus(tmp_path / "home", {}, "--web.enable-admin-api") as peer:
            reply = httpx.post(
                f"{peer.url}/api/v1/admin/tsdb/delete_series",
                params={"match[]": "m1", "start": start_ms / 1000, "end": end_ms / 1000},
            )
            assert reply.status_code == 204
            peer.process.terminate()
    except Absent as absent:
        pytest.skip(str(absent))

    o11y("import", data, "--data", tmp_path / "a")

    for series, samples in expected.items():
        if ("__name__", "m1") in series:
            for at_ms in [at for at in samples if start_ms <= at <= end_ms]:
                del samples[at_ms]
    assert same(exported(tmp_path / "a.parquet", "--data", tmp_path / "a"), expected)


def test_native_histograms_of_prometheus_are_imported(tmp_path: Path) -> None:
    """Whole and floating histograms in chunks that Prometheus wrote are those that were sent."""
    random.seed(12)
    sent: dict[str, list[Sent]] = {"whole": [], "float": []}
    for name, histograms in sent.items():
        counts, shift = [0] * 7, 0.5 if name == "float" else 0
        for step in range(150):
            counts = [count + random.choice([0, 0, 1, 9, 5000]) for count in counts]
            histograms.append(
                Sent(
                    is_float=name == "float",
                    schema=2,
                    count=sum(counts) + 7 * shift,
                    sum=random.random() * step,
                    zero_threshold=2.0**-128 if name == "float" else 0.001,
                    zero_count=counts[0] + shift,
                    negative_spans=[(3, 2)],
                    negative=[count + shift for count in counts[1:3]],
                    positive_spans=[(-4, 1), (2, 3)],
                    positive=[count + shift for count in counts[3:]],
                    time_ms=NOW_MS - 600_000 + step * 1000 + random.randrange(300),
                )
            )
    try:
        peer = servers.start_prometheus(
            tmp_path / "home", {}, "--web.enable-admin-api", "--enable-feature=native-histograms"
        )
    except Absent as absent:
        pytest.skip(str(absent))
    with peer:
        for name, histograms in sent.items():
            labels = [(b"__name__", b"h"), (b"kind", name.encode())]
            messages = [one.message() for one in histograms]
            body = encode.snappy(encode.series(encode.Series(labels, [], messages)))
            assert Sender(peer.url).send(body)[0] == 204
        made = httpx.post(f"{peer.url}/api/v1/admin/tsdb/snapshot").json()["data"]["name"]
        snapshot = tmp_path / "home" / "data" / "snapshots" / made
        o11y("import", snapshot, "--data", tmp_path / "a")

    o11y("export", "-o", tmp_path / "a.parquet", "--data", tmp_path / "a")
    table = pq.read_table(tmp_path / "a.parquet")
    found: dict[str, list[tuple[object, ...]]] = {"whole": [], "float": []}
    for row in table.to_pylist():
        one = row["histogram"]
        buckets = tuple((b["negative"], b["index"], b["count"]) for b in one["buckets"])
        found[row["kind"]].append(
            (
                int(row["timestamp"].timestamp() * 1000 + 0.5),
                one["schema"],
                one["count"],
                one["sum"],
                one["zero_threshold"],
                one["zero_count"],
                buckets,
            )
        )
    for name, histograms in sent.items():
        assert found[name] == [
            (
                one.time_ms,
                2,
                one.count,
                one.sum,
                one.zero_threshold,
                one.zero_count,
                (
                    *((True, index, one.negative[index - 3]) for index in (4, 3)),
                    (False, -4, one.positive[0]),
                    *((False, index, one.positive[index + 2]) for index in (-1, 0, 1)),
                ),
            )
            for one in histograms
        ]


@pytest.fixture
def keyed(warm: None, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server with keys and the admin key of acme."""
    key = make_key(tmp_path / "keys", "acme", "admin")
    with servers.start_o11y(
        tmp_path / "data", tmp_path / "log", "--keys", str(tmp_path / "keys")
    ) as server:
        yield server, key


def test_import_into_and_export_from_a_running_server(
    keyed: tuple[Server, str], page: tuple[Path, Points], tmp_path: Path
) -> None:
    """Pushed samples are there at once; the server's own directory is refused while it runs."""
    server, key = keyed
    file, expected = page
    way = ("--url", server.url, "--key", key)

    said = o11y("import", file, *way).stdout

    count = sum(map(len, expected.values()))
    assert said.startswith(f"imported {count} samples of 30 series")
    start = (NOW_MS - 12 * 3_600_000) / 1000
    found = exported(tmp_path / "x.parquet", *way, "--start", start, "--end", NOW_MS / 1000 + 120)
    assert same(found, expected)
    one = exported(
        tmp_path / "y.parquet",
        *way,
        "--start",
        start,
        "--match",
        "m1",
        "--end",
        NOW_MS / 1000 + 120,
    )
    assert same(one, {s: v for s, v in expected.items() if ("__name__", "m1") in s})
    refused = o11y("import", file, "--data", tmp_path / "data", code=2).stderr
    assert f"is in use by process {server.process.pid}" in refused and "--url" in refused
    refused = o11y("export", "-o", "-", "--data", tmp_path / "data", code=2).stderr
    assert f"is in use by process {server.process.pid}" in refused
    assert "401" in o11y("import", file, "--url", server.url, "--key", "hk-no", code=2).stderr


def test_a_backup_while_writing_is_what_was_there_at_one_instant(
    keyed: tuple[Server, str], tmp_path: Path
) -> None:
    """Fault row 38: the snapshot, restored elsewhere, holds all acknowledged before it was asked
    for, and of what came meanwhile a beginning.
    """
    server, key = keyed
    acked: list[int] = []
    stop = threading.Event()

    def write() -> None:
        sender = Sender(server.url, {"Authorization": f"Bearer {key}"})
        for number in range(1 << 30):
            if stop.is_set():
                return
            at_ms = NOW_MS - 86_400_000 + number * 20_000
            series: list[tuple[Mapping[str, str], list[tuple[int, float]]]] = [
                ({"__name__": "w", "n": str(n)}, [(at_ms, number + n / 8)]) for n in range(20)
            ]
            assert sender.send(write_body(series))[0] == 204
            acked.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    taken: list[tuple[int, str, int]] = []
    try:
        while len(taken) < 2:
            before = len(acked)
            if before < 400 * (len(taken) + 1):
                time.sleep(0.01)
                continue
            name = o11y("snapshot", "--url", server.url, "--key", key).stdout.strip()
            taken.append((before, name, len(acked) + 1))
    finally:
        stop.set()
        writer.join()

    for before, name, after in taken:
        restored = tmp_path / f"restored-{before}"
        said = o11y("restore", tmp_path / "data" / "snapshots" / name, "--data", restored).stdout
        assert re.search(r"tenant acme: \d+ samples of 20 series", said)
        found = exported(tmp_path / f"{before}.parquet", "--data", restored, "--tenant", "acme")
        count = len(next(iter(found.values())))
        assert before <= count <= after
        times_ms = [NOW_MS - 86_400_000 + number * 20_000 for number in range(count)]
        assert found == {
            (("__name__", "w"), ("n", str(n))): {
                at_ms: number + n / 8 for number, at_ms in enumerate(times_ms)
            }
            for n in range(20)
        }


def test_a_second_server_on_the_directory_exits(warm: None, tmp_path: Path) -> None:
    """Fault row 11: it names the process that has it, and the path."""
    with servers.start_o11y(tmp_path / "data", tmp_path / "log") as first:
        argv = [str(servers.O11Y), "serve", "--data", str(tmp_path / "data")]
        second = Process([*argv, "--listen", "127.0.0.1:0"], tmp_path / "log2")
        second.wait_until(lambda: not second.running, 120, "the second server ends")

        assert second.terminate() != 0
        assert f"{tmp_path / 'data'} is in use by process {first.process.pid}" in second.output
        assert httpx.get(f"{first.url}/-/ready").status_code == 200
