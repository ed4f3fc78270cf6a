"""Measures what series and tenants cost a server process in memory, and how long writes wait.

python -m benchmarks.memory                      all rows
python -m benchmarks.memory million seal         some of them
python -m benchmarks.memory --share 0.05         the same, with a twentieth of the series
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.memory_load import SERIES_PER_POD, Fleet, Probe
from benchmarks.processes import cpu_seconds, memory_bytes, wait_for
from benchmarks.remote_write import Sender, write_body
from benchmarks.send import quantile, settle
from benchmarks.servers import Server, start_o11y

MIB = 1 << 20
STEP_MS = 15_000
WINDOW_MS = 2 * 3_600_000
REQUEST_PODS = 100
LIVES_TICKS = 4
"""A pod of the churn is scraped so many times."""

Row = dict[str, float | str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="what to measure")
    parser.add_argument("--share", type=float, default=1.0, help="of the series and tenants")
    parser.add_argument("--minutes", type=float, default=10, help="of churn")
    parser.add_argument("--speed", type=float, default=4, help="how much faster they pass")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    found: dict[str, Row] = {}
    for name in options.rows or ROWS:
        found[name] = ROWS[name](options)
        print(name)
        for what, value in found[name].items():
            print(f"  {what}: {value if isinstance(value, str) else format(value, ',.1f')}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return 0


@contextmanager
def _server() -> Iterator[Server]:
    with (
        tempfile.TemporaryDirectory(prefix="o11y-memory-") as home,
        start_o11y(Path(home, "data"), Path(home, "log")) as server,
    ):
        _write_once(server, "warm", time.time_ns() // 1_000_000)
        settle(server)
        yield server


def million(options: argparse.Namespace) -> Row:
    """A million series with 8 labels, three samples each, then queries."""
    pods = round(10_000 * options.share)
    series = pods * SERIES_PER_POD
    fleet = Fleet("aa")
    now_ms = time.time_ns() // 1_000_000
    row: Row = {"series": series}
    with _server() as server:
        pid = server.process.pid
        before = memory_bytes(pid)
        row["empty_mib"] = before / MIB
        sender = Sender(server.url, timeout_s=120)
        slowest_s = 0.0
        for scrape in range(3):
            cpu_s = cpu_seconds(pid)
            for first in range(0, pods, REQUEST_PODS):
                some = range(first, min(pods, first + REQUEST_PODS))
                body = fleet.body(some, now_ms - (3 - scrape) * STEP_MS)
                began = time.monotonic()
                _expect_stored(*sender.send(body))
                slowest_s = max(slowest_s, time.monotonic() - began)
            row[f"scrape_{scrape}_cpu_ns_per_sample"] = (cpu_seconds(pid) - cpu_s) / series * 1e9
            row[f"scrape_{scrape}_mib"] = memory_bytes(pid) / MIB
        row["slowest_write_ms"] = slowest_s * 1000
        row["written_peak_mib"] = memory_bytes(pid, "VmHWM") / MIB
        row["bytes_per_series"] = (memory_bytes(pid) - before) / series
        for name, query, wanted in (
            ("count", 'count({cluster="eu-central-production"})', series),
            ("rate", "sum(rate(http_server_requests_total[1m]))", 0),
        ):
            began = time.monotonic()
            answer = _ask(server, query, (now_ms - STEP_MS) / 1000)
            row[f"{name}_s"] = time.monotonic() - began
            if answer != wanted:
                raise RuntimeError(f"{query} is {answer}, not {wanted}")
            row[f"{name}_peak_mib"] = memory_bytes(pid, "VmHWM") / MIB
        settle(server)
        row["at_rest_mib"] = memory_bytes(pid) / MIB
    return row


def churn(options: argparse.Namespace) -> Row:
    """100k new series a minute, each scraped four times, beside 10k that stay."""
    ticks: int = round(options.minutes * 4)
    new_pods = round(250 * options.share)
    steady = range(round(100 * options.share))
    fleet, stays = Fleet("bb"), Fleet("cc")
    begin_ms = time.time_ns() // 1_000_000 - ticks * STEP_MS
    bodies: list[list[bytes]] = []
    for tick in range(ticks):
        time_ms = begin_ms + tick * STEP_MS
        alive = range(max(0, tick - LIVES_TICKS + 1) * new_pods, (tick + 1) * new_pods)
        cut = [
            range(at, min(alive.stop, at + REQUEST_PODS))
            for at in range(alive.start, alive.stop, REQUEST_PODS)
        ]
        bodies.append([stays.body(steady, time_ms), *(fleet.body(one, time_ms) for one in cut)])
    series = ticks * new_pods * SERIES_PER_POD
    row: Row = {"new_series": series, "minutes": options.minutes, "speed": options.speed}
    with _server() as server:
        pid = server.process.pid
        row["empty_mib"] = memory_bytes(pid) / MIB
        sender = Sender(server.url, timeout_s=120)
        cpu_s, began_s = cpu_seconds(pid), time.monotonic()

        def timeline_ms() -> int:
            passed_s: float = (time.monotonic() - began_s) * options.speed
            return begin_ms + round(passed_s * 1000)

        writes_s: list[float] = []
        behind_s, most_series = 0.0, 0.0
        with Probe(server.url, timeline_ms) as probe:
            for tick, due in enumerate(bodies):
                wait_s = began_s + tick * STEP_MS / 1000 / options.speed - time.monotonic()
                time.sleep(max(0.0, wait_s))
                behind_s = max(behind_s, -wait_s)
                for body in due:
                    sent = time.monotonic()
                    _expect_stored(*sender.send(body))
                    writes_s.append(time.monotonic() - sent)
                most_series = max(most_series, _metric(server, "o11y_head_series"))
        row["cpu_s"] = cpu_seconds(pid) - cpu_s
        row["behind_s"] = behind_s
        row |= _latencies("write", sorted(writes_s))
        row |= _latencies("probe", probe.between(0, time.monotonic()))
        row |= {"probe_errors": len(probe.errors), "probe_error": "".join(probe.errors[:1])}
        row["most_head_series"] = most_series
        row["head_series_at_end"] = _metric(server, "o11y_head_series")
        row["seals"] = _metric(server, "o11y_seal_duration_seconds_count")
        row["peak_mib"] = memory_bytes(pid, "VmHWM") / MIB
        row["at_end_mib"] = memory_bytes(pid) / MIB
    return row


def seal(options: argparse.Namespace) -> Row:
    """How long small writes wait while 10k and a million series are sealed."""
    row: Row = {}
    for series in (round(10_000 * options.share), round(1_000_000 * options.share)):
        row |= {f"{series}_{what}": value for what, value in _sealed(series).items()}
    return row


def _sealed(series: int) -> Row:
    now_ms = time.time_ns() // 1_000_000
    window_ms = (now_ms // WINDOW_MS - 2) * WINDOW_MS
    fleet, pods = Fleet("dd"), series // SERIES_PER_POD
    jump_ms = [0]
    with _server() as server:
        sender = Sender(server.url, timeout_s=120)
        for scrape in range(3):
            for first in range(0, pods, REQUEST_PODS):
                some = range(first, min(pods, first + REQUEST_PODS))
                _expect_stored(*sender.send(fleet.body(some, window_ms + scrape * STEP_MS)))
        began_s = time.monotonic()

        def clock_ms() -> int:
            since_ms = round((time.monotonic() - began_s) * 1000)
            return window_ms + 4 * STEP_MS + since_ms + jump_ms[0]

        with Probe(server.url, clock_ms) as probe:
            time.sleep(5)
            jumped_s = time.monotonic()
            jump_ms[0] = 3 * 3_600_000
            wait_for(lambda: _metric(server, "o11y_seal_duration_seconds_count") > 0, "a seal", 60)
            sealed_s = time.monotonic()
            time.sleep(3)
        row: Row = {"seal_s": _metric(server, "o11y_seal_duration_seconds_sum")}
        row |= _latencies("before", probe.between(0, jumped_s))
        row |= _latencies("during", probe.between(jumped_s, sealed_s + 3))
        row |= {"probe_errors": len(probe.errors), "probe_error": "".join(probe.errors[:1])}
        row["peak_mib"] = memory_bytes(server.process.pid, "VmHWM") / MIB
        row["at_rest_mib"] = memory_bytes(server.process.pid) / MIB
    return row


def tenants(options: argparse.Namespace) -> Row:
    """1,000 tenants that wrote once."""
    count = round(1000 * options.share)
    now_ms = time.time_ns() // 1_000_000
    names = [f"tenant-{number:04d}" for number in range(count)]
    row: Row = {"tenants": count}
    with tempfile.TemporaryDirectory(prefix="o11y-memory-") as home:
        data, log = Path(home, "data"), Path(home, "log")
        with start_o11y(data, log) as server:
            settle(server)
            _write_once(server, "first", now_ms)
            before = memory_bytes(server.process.pid)
            for name in names:
                _write_once(server, name, now_ms)
            settle(server)
            row["open_mib"] = (memory_bytes(server.process.pid) - before) / MIB
            row["open_fds"] = _open_files(server)
        began = time.monotonic()
        with start_o11y(data, log) as server:
            row["start_s"] = time.monotonic() - began
            settle(server)
            row["restarted_mib"] = (memory_bytes(server.process.pid) - before) / MIB
            row["restarted_fds"] = _open_files(server)
            row["restarted_open_tenants"] = _metric(server, "o11y_open_tenants")
    return row


def _write_once(server: Server, tenant: str, now_ms: int) -> None:
    sender = Sender(server.url, {"X-Org-Id": tenant})
    rows = [
        ({"__name__": "up", "instance": f"i-{number}"}, [(now_ms, 1.0)]) for number in range(10)
    ]
    _expect_stored(*sender.send(write_body(rows)))
    sender.close()


def _open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def _latencies(name: str, ascending_s: list[float]) -> Row:
    if not ascending_s:
        return {f"{name}_writes": 0}
    return {
        f"{name}_writes": len(ascending_s),
        f"{name}_p50_ms": quantile(ascending_s, 0.5) * 1000,
        f"{name}_p99_ms": quantile(ascending_s, 0.99) * 1000,
        f"{name}_p999_ms": quantile(ascending_s, 0.999) * 1000,
        f"{name}_max_ms": ascending_s[-1] * 1000,
    }


def _expect_stored(status: int, text: str) -> None:
    if status // 100 != 2:
        raise RuntimeError(f"a write was refused: {status} {text[:300]}")


def _ask(server: Server, query: str, time_s: float) -> float:
    parameters: dict[str, str | float] = {"query": query, "time": time_s}
    answer = httpx.get(f"{server.url}/api/v1/query", params=parameters, timeout=120).json()
    return float(answer["data"]["result"][0]["value"][1])


def _metric(server: Server, name: str) -> float:
    for line in httpx.get(f"{server.url}/metrics", timeout=120).text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise RuntimeError(f"no {name} in /metrics")


ROWS = {"million": million, "churn": churn, "seal": seal, "tenants": tenants}

if __name__ == "__main__":
    raise SystemExit(main())
