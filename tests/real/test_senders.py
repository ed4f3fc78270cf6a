"""Agents that people run: Debian's Prometheus as an agent, and vmagent."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.api import Api, Refused
from tests.harness.servers import (
    O11Y,
    Absent,
    Server,
    run_config,
    start_agent,
    start_example,
    start_o11y,
    start_vmagent,
)

pytestmark = pytest.mark.server

WAIT_S = 30
"""An agent first scrapes after about five seconds."""


def _agent(home: Path, example: Server, write_url: str, key: str) -> Server:
    remote = {"url": write_url, "authorization": {"credentials": key}}
    return start_agent(home, run_config({"inference": example.address}, [remote]))


def _vmagent(home: Path, example: Server, write_url: str, key: str) -> Server:
    return start_vmagent(home, {"inference": example.address}, write_url, key)


@pytest.mark.parametrize("start", [_agent, _vmagent])
def test_an_agent_feeds_the_organisation_of_its_key(
    tmp_path: Path, start: Callable[[Path, Server, str, str], Server]
) -> None:
    """What the agent scrapes is answered to the key's readers, metadata and rates included."""
    keys = tmp_path / "keys.json"
    command = [str(O11Y), *("keys", "create", "--tenant", "acme", "--role", "admin", "--keys")]
    key = subprocess.run(
        [*command, str(keys)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        with (
            start_o11y(tmp_path / "data", tmp_path / "log", "--keys", str(keys)) as ours,
            start_example(tmp_path / "example.log") as example,
            start(tmp_path / "agent", example, f"{ours.url}/api/v1/write", key) as agent,
        ):
            api = Api(ours.url, {"Authorization": f"Bearer {key}"})

            def rates_answer() -> bool:
                answer = api.call("/api/v1/query", {"query": "rate(inference_requests_total[1m])"})
                return len(answer["result"]) > 0

            agent.process.wait_until(rates_answer, WAIT_S, "the rate of what it forwards")
            up = api.call("/api/v1/query", {"query": 'up{job="inference"}'})["result"]
            with pytest.raises(Refused, match="401"):
                Api(ours.url).call("/api/v1/query", {"query": "up"})

            assert [series["value"][1] for series in up] == ["1"]
            assert up[0]["metric"]["instance"] == example.address
    except Absent as absent:
        pytest.skip(str(absent))
