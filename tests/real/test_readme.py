"""Every command that README.md prints is run as printed, and answers as README.md prints it.

Only addresses and keys are replaced. The commands run in an empty directory that has ``.venv`` and
``examples`` in it, with the shell's environment and ``$KEY``.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.api import Api
from benchmarks.processes import Process, find_program, free_port, wait_for
from tests.harness import readme, servers
from tests.harness.readme import Command
from tests.harness.servers import ROOT, Server
from tests.real.conftest import make_key

pytestmark = pytest.mark.server

ASK, SEND, KEYS = "Ask it something", "Send your metrics", "Keys"
HERE = "127.0.0.1:9090"
"""Where README.md has the server."""
KEY = "hk-…"
"""What stands for a key there."""
RUN = {
    "One command": ["make serve"],
    ASK: [
        ".venv/bin/python examples/inference.py",
        "cat prometheus.yml",
        "prometheus --config.file=prometheus.yml",
        "curl ",
        ".venv/bin/o11y query",
    ],
    SEND: ["export OTEL_EXPORTER_OTLP_ENDPOINT", "printf "],
    KEYS: [".venv/bin/o11y keys create", ".venv/bin/o11y serve", "curl "],
}
"""How the commands begin that the tests below run."""


@dataclass
class Desk:
    """A reader's directory and what the addresses and keys of README.md are there."""

    home: Path
    replaced: dict[str, str] = field(default_factory=dict)
    key: str = ""

    def say(self, text: str) -> str:
        """*text* with this reader's addresses and key."""
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "OTEL" not in name}
        return kept | {"KEY": self.key, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def run(self, text: str) -> str:
        """Runs a command in bash; its output. It must succeed and complain of nothing."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.say(text)],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{self.say(text)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, text: str) -> Process:
        """Starts a command that goes on."""
        line = f"cd {shlex.quote(str(self.home))} && exec {self.say(text)}"
        return Process(["bash", "-c", line], self.home / f"{len(list(self.home.iterdir()))}.log")


def make_desk(home: Path) -> Desk:
    """An empty directory with the programs where README.md has them."""
    (home / ".venv").symlink_to(sys.prefix)
    (home / "examples").symlink_to(ROOT / "examples")
    return Desk(home)


def shape(value: Any, keep: tuple[str, ...]) -> Any:
    """*value* with its types in place of its texts and numbers; those of the keys *keep* remain.

    Of a list, the first element tells.
    """
    if isinstance(value, dict):
        return {
            name: item if name in keep else shape(item, keep)
            for name, item in sorted(value.items())
        }
    if isinstance(value, list):
        return [shape(item, keep) for item in (value[:1] if isinstance(value[0], dict) else value)]
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def printed_json(text: str) -> Any:
    """The JSON that README.md prints, where ``,…]`` stands for more of the same."""
    return json.loads(text.replace(",…]", "]"))


def test_every_command_of_the_readme_is_run_here() -> None:
    """A command that is added to README.md needs a test below."""
    told = {(one.section, one.text) for one in readme.commands()} - {
        ("Figures", text) for text in ("make bench",)
    }
    run = {(s, readme.command(s, begin).text) for s, begins in RUN.items() for begin in begins}
    assert told == run
    curls = re.findall(r"^(?!- ).*\bcurl\b.*http", readme.README.read_text(), re.MULTILINE)
    assert len(curls) == sum("curl" in text for _, text in run)


@pytest.fixture(scope="module")
def asked(warm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The server, and what "Ask it something" starts beside it, once the first answer is there."""
    if find_program("prometheus") is None or find_program("curl") is None:
        pytest.skip("no prometheus or curl here (apt-get install prometheus curl)")
    desk = make_desk(tmp_path_factory.mktemp("ask"))
    example, own = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        log = desk.home / "o11y.log"
        server = stack.enter_context(servers.start_o11y(desk.home / "data-of-ours", log))
        desk.replaced = {
            HERE: server.address,
            "127.0.0.1:8000": example,
            "--port 8000": f"--port {example.rpartition(':')[2]}",
            "127.0.0.1:9091": own,
        }
        program = desk.start(readme.command(ASK, ".venv/bin/python").text)
        stack.enter_context(program)
        file = readme.command(ASK, "cat prometheus.yml").printed
        (desk.home / "prometheus.yml").write_text(desk.say(file))
        stack.enter_context(desk.start(readme.command(ASK, "prometheus").text))
        question = readme.command(ASK, "curl ")
        wait_for(
            lambda: (
                len(json.loads(desk.run(question.text))["data"]["result"]) == 3
                and "NaN" not in desk.run(question.text)
            ),
            "a minute later, an answer for each model",
        )
        yield desk


def test_the_curl_line_answers_as_printed(asked: Desk) -> None:
    """The same JSON: keys, labels, type of the answer, and the values as texts."""
    question = readme.command(ASK, "curl ")
    answer = json.loads(asked.run(question.text))
    expected = printed_json(asked.say(question.printed))
    keep = ("status", "resultType", "instance", "job")
    assert shape(answer, keep) == shape(expected, keep)
    assert expected["data"]["result"][0]["metric"] in [
        row["metric"] for row in answer["data"]["result"]
    ]
    for row in answer["data"]["result"]:
        assert 0.01 <= float(row["value"][1]) <= 10
        assert abs(row["value"][0] - time.time()) < 60


def test_the_query_line_prints_the_table(asked: Desk) -> None:
    """Its head has the columns that README.md shows, and there is a row for each model."""
    question = readme.command(ASK, ".venv/bin/o11y query")
    head = re.findall(r"\w+", question.printed)
    lines = asked.run(question.text).splitlines()
    assert [re.findall(r"\w+", line) for line in lines if line.startswith("┃")] == [head]
    assert sorted(re.findall(r'\{model="(\w+)"\}', "".join(lines))) == ["large", "medium", "small"]


def test_the_share_of_failures_prints_its_rows(asked: Desk) -> None:
    """The query with a sum on both sides gives rows like those that README.md prints."""
    query, printed = (
        block for block in readme.blocks(ASK) if block.startswith(("100 *", "│ {model"))
    )
    output = asked.run(f"{question_of(asked)} {shlex.quote(query)} --url http://{HERE}")
    row = re.compile(
        r'^│ \{model="(\w+)"\} +│ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 │ +([\d.]+) +│$',
        re.MULTILINE,
    )
    assert [name for name, _ in row.findall(printed)] == [name for name, _ in row.findall(output)]
    assert all(0 <= float(value) < 100 for _, value in row.findall(output))


def question_of(desk: Desk) -> str:
    """The program and verb of the ``o11y query`` line."""
    return " ".join(readme.command(ASK, ".venv/bin/o11y query").text.split()[:2])


def test_without_the_sums_every_answer_is_100(asked: Desk) -> None:
    """As the text says, of Prometheus too."""
    [query] = re.findall(r"`(100 \* rate[^`]+)`", readme.sections()[ASK])
    own = asked.replaced["127.0.0.1:9091"]

    def answered(url: str) -> set[float]:
        answer = Api(url).instant(query, time.time())
        return {points[0][1] for _, points in answer.series if points[0][1] == points[0][1]}

    wait_for(lambda: answered(f"http://{asked.replaced[HERE]}"), "an error to count")
    for url in (f"http://{asked.replaced[HERE]}", f"http://{own}"):
        assert {round(value, 9) for value in answered(url)} == {100}


def test_the_promtool_line_answers(asked: Desk) -> None:
    """``up`` of the one target that is scraped."""
    [line] = re.findall(r"`(promtool query instant [^`]+)`", readme.sections()[ASK])
    output = asked.run(line)
    assert re.fullmatch(r'up\{instance="[\d.:]+", job="inference"\} => 1 @\[[\d.]+\]\n', output)


@pytest.fixture(scope="module")
def keyed(warm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Server]]:
    """What "Keys" tells to do, done as far as the server that it starts."""
    desk = make_desk(tmp_path_factory.mktemp("keys"))
    create = readme.command(KEYS, ".venv/bin/o11y keys create")
    printed = desk.run(create.text)
    assert re.fullmatch(re.escape(create.printed).replace("…", r"[\w-]+"), printed)
    desk.key = printed.strip()
    make_key(desk.home / "keys.json", "org_123", "admin")
    address = f"127.0.0.1:{free_port()}"
    serve = readme.command(KEYS, ".venv/bin/o11y serve").text
    with desk.start(f"{serve} --listen {address}") as process:
        process.wait_for_output("Ready after", servers.COMPILE_S)
        desk.replaced = {HERE: address, KEY: desk.key}
        yield desk, Server(process, f"http://{address}")


def test_the_script_line_stores_what_it_sends(keyed: tuple[Desk, Server]) -> None:
    """It prints nothing, and both samples are there for the key's organization."""
    desk, server = keyed
    assert desk.run(readme.command(SEND, "printf ").text) == ""
    api = Api(server.url, {"Authorization": f"Bearer {desk.key}"})
    answer = api.instant('{__name__=~"deploys_total|build_seconds"}', time.time())
    assert {labels: points[0][1] for labels, points in answer.series} == {
        (("__name__", "deploys_total"), ("service", "api")): 3,
        (("__name__", "build_seconds"),): 12.5,
    }


def test_the_script_line_shows_a_refusal(keyed: tuple[Desk, Server]) -> None:
    """With a wrong key it prints why, so the test before would notice."""
    desk, _ = keyed
    stranger = Desk(desk.home, desk.replaced, "hk-wrong")
    assert stranger.run(readme.command(SEND, "printf ").text) != ""


def test_the_line_with_a_key_answers(keyed: tuple[Desk, Server]) -> None:
    """The query with the key in its header succeeds, and without the header it does not."""
    desk, _ = keyed
    question = readme.command(KEYS, "curl ").text
    answer = json.loads(desk.run(question))
    assert answer["status"] == "success"
    assert answer["data"]["resultType"] == "vector"
    bare = re.sub(r"-H '[^']+' ", "", question)
    assert bare != question
    assert json.loads(desk.run(bare))["errorType"] == "unauthorized"


@pytest.mark.parametrize("with_keys", [True, False])
def test_the_environment_lines_are_enough_for_opentelemetry(
    warm: None, tmp_path: Path, with_keys: bool
) -> None:
    """An SDK program that knows nothing of us reaches org_123, by the route that the SDK makes."""
    desk = make_desk(tmp_path)
    more: tuple[str, ...] = ()
    headers = {"X-Org-Id": "org_123"}
    if with_keys:
        desk.key = make_key(tmp_path / "keys.json", "org_123", "admin")
        headers["Authorization"] = f"Bearer {desk.key}"
        more = ("--keys", str(tmp_path / "keys.json"))
    program = f"{sys.executable} -m tests.real.otlp_program 2"
    lines = readme.command(SEND, "export ").text
    with servers.start_o11y(tmp_path / "data", tmp_path / "log", *more) as server:
        desk.replaced = {HERE: server.address}
        held = json.loads(desk.run(f"{lines}\ncd {shlex.quote(str(ROOT))}\n{program}"))
        assert held["answers"] == [True, True]
        api = Api(server.url, headers)
        answer = api.instant("sum by (http_route) (http_server_requests_total)", time.time())
        found = {dict(labels)["http_route"]: points[0][1] for labels, points in answer.series}
        assert found == held["requests"]
        page = api.http.get("/metrics").text
        assert 'o11y_http_requests_total{code="200",path="/v1/v1/metrics"}' in page


def test_the_scraping_line_visits_the_targets_of_the_file(asked: Desk, tmp_path: Path) -> None:
    """The file of "Ask it something" is taken as it is."""
    [line] = re.findall(r"`(o11y serve --config [^`]+)`", readme.sections()[SEND])
    desk = make_desk(tmp_path)
    (tmp_path / "prometheus.yml").write_text((asked.home / "prometheus.yml").read_text())
    address = f"127.0.0.1:{free_port()}"
    with desk.start(f".venv/bin/{line} --listen {address}") as process:
        process.wait_for_output("Ready after", servers.COMPILE_S)
        api = Api(f"http://{address}")

        def up() -> list[float]:
            answer = api.instant('up{job="inference"}', time.time())
            return [points[0][1] for _, points in answer.series]

        wait_for(lambda: up() == [1], "the target of the file is up", 30)


def test_the_remote_write_block_is_enough(keyed: tuple[Desk, Server], tmp_path: Path) -> None:
    """Prometheus with the printed block, key included, writes to the key's organization."""
    if find_program("prometheus") is None:
        pytest.skip("no prometheus here (apt-get install prometheus)")
    desk, server = keyed
    [block] = [text for text in readme.blocks(SEND) if text.startswith("remote_write:")]
    own = f"127.0.0.1:{free_port()}"
    config = servers.run_config({"itself": own}) | yaml.safe_load(desk.say(block))
    api = Api(server.url, {"Authorization": f"Bearer {desk.key}"})
    with servers.start_prometheus(tmp_path / "prometheus", config, address=own):
        wait_for(
            lambda: (
                [p[0][1] for _, p in api.instant('up{job="itself"}', time.time()).series] == [1]
            ),
            "what Prometheus scraped of itself",
        )


def test_the_first_screen_is_as_printed(warm: None, tmp_path: Path) -> None:
    """What ``o11y serve``, which ``make serve`` runs, prints until it is ready."""
    serve: Command = readme.command("One command", "make serve")
    made = subprocess.run(
        ["make", "--dry-run", "--old-file=.venv/.installed", "serve"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "exec .venv/bin/o11y serve" in made.stdout
    desk = make_desk(tmp_path)
    address = f"127.0.0.1:{free_port()}"
    with desk.start(f".venv/bin/o11y serve --listen {address}") as process:
        process.wait_for_output("Ready after", servers.COMPILE_S)
        printed = serve.printed.replace(HERE, address)
        assert without_numbers(process.output) == without_numbers(printed)


def without_numbers(text: str) -> str:
    """*text* without what differs from run to run: the process and the seconds."""
    return re.sub(r"process \d+|after [\d.]+ s", "", text)
