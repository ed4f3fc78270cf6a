"""docs/operating.md leaves nothing out: every option, setting, route and metric stands in it."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from prometheus_client.core import Metric

from server.access.auth import make_gate
from server.command import cli
from server.doors.scrape_door import start_scraping
from server.house import House
from server.routes import ROUTES
from server.settings import Settings

TEXT = (Path(__file__).parent.parent / "docs" / "operating.md").read_text()
SPANS = set(re.findall(r"`([^`\n]+)`", TEXT))
"""All that is set in code type."""
ENDINGS = ("_bucket", "_count", "_sum")


def section(title: str) -> str:
    """The text under a heading, up to the next one of its kind."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/operating.md has no section {title}"
    return found[1]


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Metric]]:
    """All families of /metrics by the name that a query uses."""
    home = tmp_path_factory.mktemp("docs")
    config = home / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    settings = Settings(data_dir=home / "data", config_file=config)
    house = House.open(settings, make_gate(settings))
    start_scraping(house)
    found = list(house.metrics.families())
    yield {f"{one.name}_total" if one.type == "counter" else one.name: one for one in found}
    house.close()


def test_every_setting_is_told() -> None:
    """Each option of ``o11y serve`` and each field of Settings stands under Settings."""
    command = typer.main.get_command(cli.app)
    serve = command.commands["serve"]  # type: ignore[attr-defined]
    options = {option for one in serve.params for option in one.opts} - {"--help"}
    fields = {field.name for field in dataclasses.fields(Settings)}
    told = set(re.findall(r"`([^`\n]+)`", section("Settings")))
    missing = (options | fields) - told
    assert not missing


def test_no_option_is_invented() -> None:
    """Each option that the Settings table lists exists."""
    command = typer.main.get_command(cli.app)
    serve = command.commands["serve"]  # type: ignore[attr-defined]
    options = {option for one in serve.params for option in (*one.opts, *one.secondary_opts)}
    assert set(re.findall(r"^\| `(--[^`]+)`", section("Settings"), re.MULTILINE)) <= options


def test_every_route_is_told() -> None:
    """Each path of the table with its methods and who may ask, and none that does not exist."""
    told = set()
    row = re.compile(r"^\| (`/.*?) \| (.*?) \| (.*?) \|", re.MULTILINE)
    for paths, methods, who in row.findall(section("Routes")):
        for path in re.findall(r"`([^`]+)`", paths):
            told.add((path, methods, "nothing" if who == "all" else who))
    routes = {(route.path, ", ".join(route.methods), route.need.value) for route in ROUTES}
    missing, invented = routes - told, told - routes
    assert not missing
    assert not invented


def test_every_metric_is_told(families: dict[str, Metric]) -> None:
    """Each family of /metrics stands in a table by its name."""
    missing = families.keys() - {span.partition("{")[0] for span in SPANS}
    assert not missing


def test_labels_and_types_are_those_of_the_page(families: dict[str, Metric]) -> None:
    """What the tables say of a family is so."""
    rows = re.findall(r"^\| (`(?:o11y|process)_.*?) \| (\w+) \|", TEXT, re.MULTILINE)
    assert rows
    for cell, kind in rows:
        for name, _, labels in re.findall(r"`(\w+)({([\w,]+)})?`", cell):
            family = families[name]
            assert family.type == kind, name
            for sample in family.samples:
                assert sample.labels.keys() - {"le"} <= set(labels.split(",")), name


def test_no_metric_is_invented(families: dict[str, Metric]) -> None:
    """Each name of ours that the text uses, also in expressions, is on /metrics."""
    for name in set(re.findall(r"\bo11y_\w+", TEXT)):
        base = next((name.removesuffix(end) for end in ENDINGS if name.endswith(end)), name)
        assert name in families or base in families, name
