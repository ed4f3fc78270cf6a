"""Senders of remote write that people run: Debian's Prometheus, also as an agent, and vmagent."""

import itertools
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from benchmarks.api import Api, LabelSet, Refused
from benchmarks.processes import wait_for
from tests.harness.pages import ODD, RecordingPage, bits
from tests.harness.servers import (
    Absent,
    Server,
    run_config,
    start_agent,
    start_o11y,
    start_prometheus,
    start_vmagent,
)
from tests.real.conftest import make_key

pytestmark = pytest.mark.server

JOB = "recorded"
SENT = tuple(v for v in ODD if v != 0 or math.copysign(1, v) > 0)
"""Without -0: these senders leave a value of either zero out of their messages."""
PAGES = 10
"""How many pages are shown at least."""
Start = Callable[[Path, RecordingPage, str, str], Server]


def _config(page: RecordingPage, write_url: str, key: str) -> dict[str, object]:
    remote = {
        "url": write_url,
        "authorization": {"credentials": key},
        "queue_config": {"batch_send_deadline": "1s"},
        "metadata_config": {"send_interval": "2s"},
    }
    return run_config({JOB: page.address}, [remote])


def _prometheus(home: Path, page: RecordingPage, write_url: str, key: str) -> Server:
    return start_prometheus(home, _config(page, write_url, key))


def _agent(home: Path, page: RecordingPage, write_url: str, key: str) -> Server:
    return start_agent(home, _config(page, write_url, key))


def _vmagent(home: Path, page: RecordingPage, write_url: str, key: str) -> Server:
    return start_vmagent(home, {JOB: page.address}, write_url, key)


def counts(server: Server, name: str, headers: dict[str, str] | None = None) -> float:
    """The sum of a counter of *server*'s own page, 0 where it is not there."""
    page = httpx.get(f"{server.url}/metrics", headers=headers, trust_env=False)
    assert page.status_code == 200, page.text
    values = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", page.text, re.MULTILINE)
    return sum(float(value) for value in values)


@pytest.mark.parametrize(
    ("start", "lost"),
    [
        (_prometheus, "prometheus_remote_storage_samples_(?:failed|dropped)_total"),
        (_agent, "prometheus_remote_storage_samples_(?:failed|dropped)_total"),
        (_vmagent, "vmagent_remotewrite_packets_dropped_total"),
    ],
    ids=["prometheus", "agent", "vmagent"],
)
def test_what_a_sender_scraped_is_answered(
    warm: None, tmp_path: Path, start: Start, lost: str
) -> None:
    """Every value that the target showed, bit for bit and in order, to the key's readers only."""
    keys = tmp_path / "keys.json"
    key = make_key(keys, "acme", "admin")
    headers = {"Authorization": f"Bearer {key}"}
    try:
        with (
            start_o11y(tmp_path / "data", tmp_path / "log", "--keys", str(keys)) as ours,
            RecordingPage(SENT) as page,
            start(tmp_path / "sender", page, f"{ours.url}/api/v1/write", key) as sender,
        ):
            api = Api(ours.url, headers)

            def raw() -> dict[LabelSet, list[tuple[float, float]]]:
                query = f'{{__name__=~"shown_.*", job="{JOB}", instance="{page.address}"}}[10m]'
                return {
                    tuple(pair for pair in labels if pair[0] not in ("job", "instance")): points
                    for labels, points in api.instant(query, time.time()).series
                }

            def stored() -> dict[LabelSet, list[str]]:
                return {labels: bits([v for _, v in points]) for labels, points in raw().items()}

            def up() -> list[float]:
                answer = api.instant(f'up{{job="{JOB}"}}', time.time())
                return [points[0][1] for _, points in answer.series]

            wait_for(lambda: page.pages >= PAGES, f"{PAGES} pages are shown")
            wait_for(lambda: up() == [1], "the target is known to be up")
            page.close_page()
            held = {labels: bits(values) for labels, values in page.shown.items()}
            wait_for(lambda: up() == [0], "the target is known to be down", 30)
            wait_for(lambda: stored().keys() == held.keys(), "all series are there", 10)
            assert stored() == held
            times = [t for t, _ in raw()[(("__name__", "shown_total"),)]]
            assert all(0.5 < b - a < 1.6 for a, b in itertools.pairwise(times))
            ended = api.instant('{__name__=~"shown_.*"}', time.time())
            assert ended.series == [], "the markers of the end were lost"
            if start is not _vmagent:  # 1.79 sends no metadata
                told = api.call("/api/v1/metadata")["shown_total"]
                assert told == [{"type": "counter", "help": "Pages shown.", "unit": ""}]

            assert counts(sender, lost) == 0
            assert counts(ours, "o11y_ingest_refused_samples_total", headers) == 0
            with pytest.raises(Refused, match="401"):
                Api(ours.url).call("/api/v1/query", {"query": "up"})
    except Absent as absent:
        pytest.skip(str(absent))
