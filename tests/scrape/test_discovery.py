"""Discovery by files, HTTP and DNS: what is found, what is kept where a look fails."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from scrape.discovery import Discoverer
from scrape.discovery_config import Discovery, Dns, Files, Http, TargetGroup
from scrape.dns import DnsError, Record
from tests.scrape.worlds import NOW_MS, World, answer, settle

JSON = "application/json"
SD = "http://sd:9/targets"


class Found:
    """What a mechanism has reported: the label sets of each source, as they are now."""

    def __init__(self) -> None:
        self.now: dict[str, list[dict[str, str]]] = {}
        self.updates = 0

    def update(self, source: str, groups: Sequence[TargetGroup]) -> None:
        self.updates += 1
        self.now[source] = [labels for group in groups for labels in group.label_sets()]


def discoverer(
    world: World, found: Found, dynamic: Files | Http | Dns, **more: object
) -> Discoverer:
    return Discoverer(
        Discovery(dynamic=dynamic),
        world.clock,
        found.update,
        world.counters,
        world.around.transport,
        **more,  # type: ignore[arg-type]
    )


def write(file: Path, text: str, age: int) -> None:
    """Writes *text* with a time of change that no other *age* has."""
    file.write_text(text)
    os.utime(file, ns=(NOW_MS, NOW_MS + age))


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    """JSON and YAML, new, changed and gone; unchanged files are not read."""
    world, found = World(), Found()
    files = Files((str(tmp_path / "*.json"), str(tmp_path / "*.yml")))
    watching = discoverer(world, found, files)
    a, b = tmp_path / "a.json", tmp_path / "b.yml"
    write(a, '[{"targets": ["one:1"], "labels": {"zone": "z"}}]', 1)
    write(b, "- targets: [two:1]\n", 1)

    watching.read_files(files)

    assert found.now == {
        str(a): [{"__address__": "one:1", "__meta_filepath": str(a), "zone": "z"}],
        str(b): [{"__address__": "two:1", "__meta_filepath": str(b)}],
    }

    watching.read_files(files)
    assert found.updates == 2

    write(a, "[]", 2)
    b.unlink()
    watching.read_files(files)
    assert found.now == {str(a): [], str(b): []}


@pytest.mark.parametrize(
    "text",
    ["[", "{}", "[1]", '[{"target": []}]', '[{"targets": 1}]', '[{"targets": [1]}]',
     '[{"targets": [], "labels": {"a": 1}}]'],
)  # fmt: skip
def test_a_bad_file_keeps_what_it_held(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted each time, and logged once with its name."""
    world, found = World(), Found()
    file = tmp_path / "a.json"
    files = Files((str(file),))
    watching = discoverer(world, found, files)
    write(file, '[{"targets": ["one:1"]}]', 1)
    watching.read_files(files)

    write(file, text, 2)
    watching.read_files(files)
    watching.read_files(files)

    assert found.updates == 1
    assert world.counters.discovery_failures == {"file": 2}
    assert caplog.text.count(str(file)) == 1


def test_http_is_asked_every_interval() -> None:
    """The groups of the last good answer are in force."""
    world, found = World(), Found()

    async def run() -> None:
        task = asyncio.create_task(discoverer(world, found, Http(SD, 60_000)).run())
        body = b'[{"targets": ["one:1"], "labels": {"a": "b"}}]'
        world.pages[SD] = lambda _: answer(body, JSON)
        await settle()
        for page in (answer(b"", status=500), answer(body, "text/plain"), answer(b"{", JSON)):
            world.pages[SD] = lambda _, page=page: page  # type: ignore[misc]
            await world.clock.advance(60_000)
        task.cancel()

    asyncio.run(run())

    assert found.now == {SD: [{"__address__": "one:1", "__meta_url": SD, "a": "b"}]}
    assert found.updates == 1
    assert world.counters.discovery_failures == {"http": 3}
    assert world.requests[0].headers["x-prometheus-refresh-interval-seconds"] == "60.000000"


@pytest.mark.parametrize(
    ("dns", "records", "expected"),
    [
        (Dns(("_a._tcp.b",)), [Record("host", 81)],
         [{"__address__": "host:81", "__meta_dns_name": "_a._tcp.b",
           "__meta_dns_srv_record_target": "host.", "__meta_dns_srv_record_port": "81"}]),
        (Dns(("b",), "A", 9), [Record("10.0.0.1"), Record("10.0.0.2")],
         [{"__address__": "10.0.0.1:9", "__meta_dns_name": "b"},
          {"__address__": "10.0.0.2:9", "__meta_dns_name": "b"}]),
        (Dns(("b",), "AAAA", 9), [Record("::1")],
         [{"__address__": "[::1]:9", "__meta_dns_name": "b"}]),
        (Dns(("b",), "MX", 9), [Record("mail")],
         [{"__address__": "mail:9", "__meta_dns_name": "b",
           "__meta_dns_mx_record_target": "mail."}]),
        (Dns(("b",), "A", 9), [], []),
    ],
)  # fmt: skip
def test_dns_records_become_targets(
    dns: Dns, records: list[Record], expected: list[dict[str, str]]
) -> None:
    """With the port of SRV or of the configuration, and what the record said."""
    world, found = World(), Found()
    answers: list[list[Record] | None] = [None, records]

    async def resolve(name: str, record_type: str) -> list[Record]:
        assert (name, record_type) == (dns.names[0], dns.record_type)
        result = answers.pop() if answers else None
        if result is None:
            raise DnsError("no answer")
        return result

    async def run() -> None:
        task = asyncio.create_task(discoverer(world, found, dns, resolve=resolve).run())
        await world.clock.advance(60_000)
        task.cancel()

    asyncio.run(run())

    assert found.now == {dns.names[0]: expected}
    assert world.counters.discovery_failures["dns"] >= 1
