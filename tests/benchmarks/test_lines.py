"""Ratios are those to the best peer, and targets are judged by them."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import ingest_rows, report
from benchmarks.compare import main as compare
from benchmarks.lines import Line, find, from_dict
from benchmarks.markdown import write_markdown
from benchmarks.queries import NARROW, QUERIES
from benchmarks.targets import TARGETS, is_met, reached

PEERS = {"prometheus": {"p50": 20.0}, "victoria-metrics": {"p50": 5.0}}


def line(row: str, ours: float | None, cores: int = 1, *, more: bool = False) -> Line:
    servers = PEERS | ({} if ours is None else {"o11y": {"p50": ours, "p95": 7.0}})
    return Line(row, f"the row {row}", cores, "ms", "p50", ("p50", "p95"), more, servers)


def test_the_ratio_is_that_to_the_best_peer() -> None:
    """Of times the smallest, of rates the largest; none without ours or without a peer."""
    assert line("d", 1.0).best_peer == "victoria-metrics"
    assert line("d", 1.0).ratio == 0.2
    assert line("x", 40.0, more=True).best_peer == "prometheus"
    assert line("x", 40.0, more=True).ratio == 2.0
    assert line("d", None).ratio is None
    assert Line("d", "", 1, "ms", "p50", ("p50",), servers={"o11y": {"p50": 1.0}}).ratio is None


@pytest.mark.parametrize(
    ("row", "ours", "cores", "more", "met"),
    [
        ("d", 1.25, 1, False, True),
        ("d", 1.26, 1, False, False),
        ("e", 1.6, 1, False, False),
        ("e", 1.6, 2, False, True),
        ("ingest-10000", 50.0, 1, True, True),
        ("ingest-10000", 49.0, 1, True, False),
        ("ingest-10000", 50.0, 2, True, None),
        ("start-up", 1.5, 2, False, True),
        ("start-up", 1.6, 1, False, False),
        ("disk", 1.0, 1, False, None),
        ("d", None, 1, False, None),
    ],
)
def test_a_target_is_met_by_the_ratio_or_by_our_figure(
    row: str, ours: float | None, cores: int, more: bool, met: bool | None
) -> None:
    """Each on its number of cores; rows without target or figure are neither met nor missed."""
    assert is_met(line(row, ours, cores, more=more)) is met


def test_every_target_is_one_of_a_row_that_is_measured() -> None:
    """No target is without its row, and every query row has one."""
    letters = {query.letter for query in QUERIES}
    ingest = [ingest_rows.LARGE, ingest_rows.MEDIUM, *ingest_rows.SMALL]
    rows = letters | {name for row in ingest for name in row.rows.values()}
    rows |= {f"{letter}-load-cpu" for letter in NARROW}
    assert rows | {"start-up", "memory-idle", "memory-peak"} == set(TARGETS)


RESULTS = {
    "workload": {"samples": 1000, "series": 10, "step_s": 15, "span_s": 3600, "senders": 2}
    | {"seed": 1},
    "machine": {"processor": "a processor", "cores": 2},
    "servers": {
        name: {"kind": name, "version": "1"} for name in ["o11y", "prometheus", "victoria-metrics"]
    },
    "differences": {"d o11y": ["a value <differs>"]},
}


def results(ours: float) -> dict[str, object]:
    lines = [line("d", ours), line("e", 1.6, 2), line("x", None), line("start-up", 9.0)]
    return RESULTS | {"lines": [one.as_dict() for one in lines]}


def test_a_line_of_the_table_says_what_is_wanted_and_whether_it_is_met() -> None:
    """Figures that are not there are dashes, and rows without target say nothing of it."""
    names = ["o11y", "prometheus", "elsewhere"]
    found = report.cells(line("d", 1.3), names)
    assert found[0] == "the row d, ms"
    assert found[2:] == ["1.3 / 7", "20 / -", "- / -", "0.26x", "≤ 0.25x", "NO"]
    assert report.cells(line("d", None), names)[-3:] == ["-", "≤ 0.25x", "-"]
    assert report.cells(line("x", 1.0), names)[-2:] == ["", ""]
    assert report.cells(line("start-up", 1.0), names)[-2:] == ["≤ 1.5 ms", "yes"]


def test_lines_are_read_as_they_were_written() -> None:
    """JSON keeps everything."""
    text = json.dumps(line("d", 1.0).as_dict())
    assert from_dict(json.loads(text)) == line("d", 1.0)
    assert find([line("d", 1.0), line("d", 2.0, 2)], "d", 2) == line("d", 2.0, 2)
    assert reached(line("start-up", 3.0)) == 3.0


def test_a_report_has_every_line_and_drawable_plots(tmp_path: Path) -> None:
    """A table row for each line, the differences, and well-formed SVG for each number of cores."""
    write_markdown(results(1.0), tmp_path / "run.md")
    text = (tmp_path / "run.md").read_text()
    assert text.count("| the row ") == 4
    assert "a value <differs>" in text and "2 targets met, 1 missed" in text
    for cores, bars in ((1, 2), (2, 1)):
        assert f"](run-{cores}.svg)" in text
        root = ElementTree.parse(tmp_path / f"run-{cores}.svg").getroot()
        labels = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
        assert sum(label.startswith("the row") for label in labels) == bars


def test_two_runs_are_compared_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours in both, their quotient, and the ratios to the best peer."""
    for name, ours in (("old", 1.0), ("new", 0.5)):
        report.write_json(results(ours), tmp_path / f"{name}.json")
    assert compare([str(tmp_path / "old.json"), str(tmp_path / "new.json")]) == 0
    row = next(text for text in capsys.readouterr().out.splitlines() if "the row d" in text)
    assert [cell.strip() for cell in row.split("│")[2:-1]] == ["1", "1", "0.5", "0.5", "0.2", "0.1"]
