"""What the tests against real programs share: one warm-up and one scraped scene a session."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.processes import free_port
from tests.harness import servers
from tests.harness.servers import Absent, Server

KEYS_CREATE = [str(servers.O11Y), "keys", "create"]


@dataclass
class Scene:
    """Prometheus scrapes itself, a node exporter and the example every second and writes to us.

    It writes everything twice: to ``plain``, a server without keys, and to ``keyed``, a server
    that only takes keys. ``write_key`` and ``read_key`` belong to one tenant of ``keyed``.
    """

    home: Path
    plain: Server
    keyed: Server
    reference: Server
    write_key: str
    read_key: str
    began_s: float

    def wait_for_age(self, seconds: float) -> None:
        """Until the scene is at least *seconds* old."""
        time.sleep(max(0.0, self.began_s + seconds - time.time()))


def make_key(file: Path, tenant: str, role: str) -> str:
    """``o11y keys create``: the key it prints, which must be all that stdout holds."""
    made = subprocess.run(
        [*KEYS_CREATE, "--tenant", tenant, "--role", role, "--keys", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.fullmatch(r"hk-[^\s]+\n", made.stdout), made.stdout
    return made.stdout.strip()


@pytest.fixture(scope="session")
def warm() -> None:
    """The kernels are compiled, so that every later start is a warm one."""
    subprocess.run(
        [str(servers.O11Y), "warmup"],
        stdout=subprocess.DEVNULL,
        timeout=servers.COMPILE_S,
        check=True,
    )


@pytest.fixture(scope="session")
def scene(warm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The running scene; skips where a counterpart is not installed."""
    home = tmp_path_factory.mktemp("scene")
    keys = home / "keys.json"
    write_key, read_key = make_key(keys, "acme", "write"), make_key(keys, "acme", "read")
    with ExitStack() as stack:
        try:
            node = stack.enter_context(servers.start_node_exporter(home / "node.log"))
            example = stack.enter_context(servers.start_example(home / "example.log"))
            plain = stack.enter_context(
                servers.start_o11y(home / "plain", home / "plain.log", ready_s=servers.READY_S)
            )
            keyed = stack.enter_context(
                servers.start_o11y(home / "keyed", home / "keyed.log", "--keys", str(keys))
            )
            own = free_port()
            config = servers.run_config(
                {
                    "prometheus": f"127.0.0.1:{own}",
                    "node": node.address,
                    "inference": example.address,
                },
                [_remote_write(plain, None), _remote_write(keyed, write_key)],
            )
            reference = stack.enter_context(
                servers.start_prometheus(home / "prometheus", config, address=f"127.0.0.1:{own}")
            )
        except Absent as absent:
            pytest.skip(str(absent))
        scene = Scene(home, plain, keyed, reference, write_key, read_key, time.time())
        try:
            yield scene
        finally:  # the sender first: it would wait for a receiver that is gone
            reference.process.__exit__(None, None, None)
            scene.keyed.process.__exit__(None, None, None)


def _remote_write(server: Server, key: str | None) -> dict[str, object]:
    block: dict[str, object] = {
        "url": f"{server.url}/api/v1/write",
        "queue_config": {"batch_send_deadline": "1s"},
        "metadata_config": {"send_interval": "5s"},
    }
    if key is not None:
        block["authorization"] = {"credentials": key}
    return block
