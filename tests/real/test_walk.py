"""The documented walk of a first user: real Prometheus data in, answers to real curl out."""

import json
import math
import shutil
import subprocess
import time
from typing import Any

import pytest

from benchmarks.api import Api, Refused, differences, to_answer
from tests.harness import servers
from tests.real.conftest import Scene

pytestmark = pytest.mark.server

RATE = "rate(inference_requests_total[5m])"
P99 = "histogram_quantile(0.99, rate(inference_duration_seconds_bucket[5m]))"
ERRORS = (
    '100 * rate(inference_requests_total{status="error"}[5m]) / rate(inference_requests_total[5m])'
)
ERRORS_BY_MODEL = (
    '100 * sum by (model) (rate(inference_requests_total{status="error"}[5m]))'
    " / sum by (model) (rate(inference_requests_total[5m]))"
)
MODELS = {"small", "medium", "large"}
AGE_S = 25
CURL = ["curl", "-sS", "--max-time", "20"]


@pytest.fixture(scope="module", params=["plain", "keyed"])
def door(request: pytest.FixtureRequest, scene: Scene) -> tuple[str, list[str]]:
    """The URL of a server and curl's arguments to get in; once open, once with a key alone."""
    scene.wait_for_age(AGE_S)
    if request.param == "plain":
        return scene.plain.url, []
    return scene.keyed.url, ["-H", f"Authorization: Bearer {scene.read_key}"]


def curl(door: tuple[str, list[str]], query: str) -> list[dict[str, Any]]:
    """The result rows of the documented curl call."""
    if shutil.which("curl") is None:
        pytest.skip("no curl here (apt-get install curl)")
    url, arguments = door
    done = subprocess.run(
        [*CURL, *arguments, f"{url}/v1/metrics/query", "--data-urlencode", f"query={query}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["status"] == "success", answer
    assert answer["data"]["resultType"] == "vector"
    rows: list[dict[str, Any]] = answer["data"]["result"]
    return rows


def test_request_rates_of_every_model_and_status(door: tuple[str, list[str]]) -> None:
    """The first documented query answers one nameless, positive rate per model and status."""
    rows = curl(door, RATE)
    assert {(row["metric"]["model"], row["metric"]["status"]) for row in rows} == {
        (model, status) for model in MODELS for status in ("success", "error")
    }
    for row in rows:
        assert "__name__" not in row["metric"]
        assert float(row["value"][1]) >= 0
    # 50 a second, over the whole five minutes though the example is younger
    assert 0 < sum(float(row["value"][1]) for row in rows) < 60


def test_p99_durations_lie_where_the_example_puts_them(door: tuple[str, list[str]]) -> None:
    """The second documented query answers a 99th percentile per model, in the models' order."""
    p99 = {row["metric"]["model"]: float(row["value"][1]) for row in curl(door, P99)}
    assert p99.keys() == MODELS
    assert 0.04 < p99["small"] < p99["medium"] < p99["large"] <= 10


def test_error_ratio_keeps_status_on_both_sides(door: tuple[str, list[str]]) -> None:
    """The third documented query yields 100 where errors occurred, since both sides keep status."""
    rows = curl(door, ERRORS)
    assert {row["metric"]["status"] for row in rows} == {"error"}
    ratios = [float(row["value"][1]) for row in rows]
    occurred = [ratio for ratio in ratios if not math.isnan(ratio)]  # 0 / 0 where none did
    assert occurred == pytest.approx([100] * len(occurred), rel=1e-12)
    assert occurred


def test_error_ratio_by_model_is_the_one_people_want(door: tuple[str, list[str]]) -> None:
    """Summed by model, the third query yields the share of errors."""
    share = {row["metric"]["model"]: float(row["value"][1]) for row in curl(door, ERRORS_BY_MODEL)}
    assert share.keys() == MODELS
    assert all(0 <= percent < 40 for percent in share.values())
    assert any(percent > 0 for percent in share.values())


def test_metadata_of_remote_write_is_kept(scene: Scene) -> None:
    """Types and help texts that Prometheus sends beside the samples are readable."""
    scene.wait_for_age(AGE_S)
    api = Api(scene.plain.url)
    [cpu] = api.call("/api/v1/metadata")["node_cpu_seconds_total"]
    assert cpu["type"] == "counter"
    assert cpu["help"].startswith("Seconds the CPUs spent")


def test_the_command_line_asks_a_server(scene: Scene) -> None:
    """``o11y query`` prints the answer of a running server."""
    scene.wait_for_age(AGE_S)
    done = subprocess.run(
        [str(servers.O11Y), "query", 'up{job="inference"}', "--url", scene.plain.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "inference" in done.stdout


def test_without_a_key_nothing_is_told(scene: Scene) -> None:
    """The server with keys answers 401 to who has none and 403 to a key of the wrong role."""
    with pytest.raises(Refused, match="401 unauthorized"):
        Api(scene.keyed.url).instant("up", time.time())
    with pytest.raises(Refused, match="403 forbidden"):
        Api(scene.keyed.url, {"Authorization": f"Bearer {scene.write_key}"}).instant("up", 0)


def test_a_restart_keeps_everything_and_the_sender_goes_on(scene: Scene) -> None:
    """After SIGTERM and a new start, old answers are the same and Prometheus writes on."""
    scene.wait_for_age(AGE_S)
    headers = {"Authorization": f"Bearer {scene.read_key}"}
    api = Api(scene.keyed.url, headers)
    at_s = time.time() - 5
    selector = '{job=~"inference|node|prometheus"}[5m]'
    before = api.instant(selector, at_s)
    assert len(before.series) > 500
    rates = api.instant(RATE, at_s)

    assert scene.keyed.process.terminate() == 0
    scene.keyed = servers.start_o11y(
        scene.home / "keyed",
        scene.home / "keyed-again.log",
        "--keys",
        str(scene.home / "keys.json"),
        listen=scene.keyed.address,
    )
    began_s = time.time()
    assert differences(api.instant(selector, at_s), before, relative=0) == []
    assert differences(api.instant(RATE, at_s), rates, relative=0) == []
    query = 'timestamp(up{job="inference"})'
    scene.keyed.process.wait_until(
        lambda: max(values_now(api, query), default=0) > began_s,
        30,
        "Prometheus wrote samples again",
    )


def values_now(api: Api, query: str) -> list[float]:
    """The values of an instant query now."""
    data = api.call("/api/v1/query", {"query": query})
    return [value for _, points in to_answer(data).series for _, value in points]
