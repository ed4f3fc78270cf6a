"""Two senders of remote write from PyPI, in a virtual environment of their own.

One of them wants an older protobuf than OpenTelemetry's other packages take, so they do not share
ours. Without a package registry the tests are skipped.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.api import Api
from tests.harness import servers
from tests.real.conftest import make_key

pytestmark = [pytest.mark.server, pytest.mark.long]

PROGRAM = Path(__file__).parent / "remote_writers.py"
PACKAGES = [
    "prometheus-remote-writer==1.1.*",
    "opentelemetry-exporter-prometheus-remote-write==0.66b1",
]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that has both senders."""
    home = tmp_path_factory.mktemp("writers") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], timeout=120, check=True)
    install = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*install, *PACKAGES], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        pytest.skip(f"pip cannot install {', '.join(PACKAGES)}: {done.stderr[-300:]}")
    return home / "bin" / "python"


@pytest.mark.parametrize(
    ("sender", "series"), [("prometheus_remote_writer", 25), ("opentelemetry_remote_write", 10)]
)
def test_what_the_sender_holds_is_answered(
    warm: None, python: Path, tmp_path: Path, sender: str, series: int
) -> None:
    """Every series with all its samples, times and values, a batch that was sent twice but once."""
    keys = tmp_path / "keys.json"
    write_key, read_key = make_key(keys, "acme", "write"), make_key(keys, "acme", "read")
    with servers.start_o11y(tmp_path / "data", tmp_path / "log", "--keys", str(keys)) as server:
        done = subprocess.run(
            [str(python), str(PROGRAM), sender, f"{server.url}/api/v1/write", write_key],
            env={"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        held = {
            tuple(sorted(labels.items())): [(t / 1000, float(v)) for t, v in samples]
            for labels, samples in json.loads(done.stdout)
        }
        api = Api(server.url, {"Authorization": f"Bearer {read_key}"})
        answer = api.instant('{__name__!=""}[10m]', time.time() + 1)
        assert answer.by_labels == held
        assert len(held) >= series
