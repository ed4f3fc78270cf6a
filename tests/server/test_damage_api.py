"""What damage takes from an answer is said in it; strict askers get an error with the file."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import o11y
from series.ports import StorageError
from server.command.check_cli import check_app
from server.command.cli import app
from tests.server.conftest import NOW_MS, Asker, up
from tests.server.test_read_api import UP
from tests.tsdb.damaged import flip
from tests.wire.test_remote_read import query, request
from tsdb.manifest import NAMES

MINUTE_MS = 60_000
MakeAsker = Callable[..., Asker]
START_S = NOW_MS / 1000 - 5 * 3600


def _blocks(home: Path) -> list[Path]:
    return sorted((home / "data/tenants/default/blocks").iterdir())


@pytest.fixture
def filled(make_asker: MakeAsker, tmp_path: Path) -> Asker:
    """Five hours of ``up{job="a"}``, of which two lie in the first block and one in the log."""
    asker = make_asker()
    values = [float(k) for k in range(300)]
    assert asker.write(up("a", *values, step_ms=MINUTE_MS)).status_code == 204
    asker.house.store.maintain()
    assert len(_blocks(tmp_path)) >= 1
    return asker


def _damage_frame(home: Path) -> Path:
    path = _blocks(home)[0] / "data"
    flip(path, 8 * 40)
    return path


def _lose_block(home: Path) -> Path:
    path = _blocks(home)[0] / "index"
    flip(path, 8 * 30)
    data = path.with_name("data")
    flip(data, 8 * (data.stat().st_size - 60))
    return path


RANGE = {"query": "up", "start": START_S, "end": NOW_MS / 1000, "step": "60"}
MATCH = {"match[]": "up", "start": START_S, "end": NOW_MS / 1000}
READERS = [
    ("/api/v1/query", {"query": "count_over_time(up[5h])", "time": NOW_MS / 1000}),
    ("/api/v1/query_range", RANGE),
]
LISTERS = [
    ("/api/v1/series", MATCH),
    ("/api/v1/labels", MATCH),
    ("/api/v1/label/job/values", MATCH),
]


@pytest.mark.parametrize(("path", "params"), READERS)
def test_a_damaged_frame_is_warned_of(
    make_asker: MakeAsker, filled: Asker, tmp_path: Path, path: str, params: dict[str, str]
) -> None:
    """The rest is answered; strict: 500 ``internal``."""
    damaged = _damage_frame(tmp_path)
    asker = make_asker()
    answer = asker.get(path, **params)
    assert answer.status_code == 200
    assert answer.json()["data"]["result"]
    (warning,) = answer.json()["warnings"]
    assert str(damaged) in warning
    strict = asker.get(path, **params, strict="1")
    assert strict.status_code == 500
    assert strict.json()["errorType"] == "internal" and str(damaged) in strict.json()["error"]
    assert asker.get(path, **params, strict="0").status_code == 200
    page = asker.get("/metrics").text
    assert 'o11y_damage_found_total{what="frame"} 1.0' in page
    assert "o11y_block_damaged_frames 1.0" in page


@pytest.mark.parametrize(("path", "params"), READERS + LISTERS)
def test_a_lost_block_is_warned_of(
    make_asker: MakeAsker, filled: Asker, tmp_path: Path, path: str, params: dict[str, str]
) -> None:
    """Wherever its times are asked for, also where only labels are; the server is up."""
    damaged = _lose_block(tmp_path)
    asker = make_asker()
    for _ in range(2):
        answer = asker.get(path, **params)
        assert answer.status_code == 200
        (warning,) = answer.json()["warnings"]
        assert str(damaged) in warning
        strict = asker.get(path, **params, strict="1")
        assert strict.status_code == 500
        assert strict.json()["errorType"] == "internal" and str(damaged) in strict.json()["error"]
        asker.house.store.maintain()
    assert asker.get("/-/ready").status_code == 200
    late = {"start": NOW_MS / 1000 - 60, "time": NOW_MS / 1000, "query": "up", "strict": "1"}
    fresh = asker.get(path, **{**params, **late})
    assert fresh.status_code == 200 and "warnings" not in fresh.json()
    page = asker.get("/metrics").text
    assert "o11y_lost_ranges 1.0" in page and "o11y_quarantined_files" in page


def test_routes_that_cannot_warn_can_be_strict(
    make_asker: MakeAsker, filled: Asker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Remote read and federation answer what there is, or fail where they are told to; what they
    cannot say is counted, and logged once.
    """
    damaged = _damage_frame(tmp_path)
    asker = make_asker()
    body = request(query(NOW_MS - 300 * MINUTE_MS, NOW_MS, UP))
    for _ in range(2):
        assert asker("POST", "/api/v1/read", content=body).status_code == 200
    assert 'o11y_unheard_warnings_total{door="remote_read"} 2.0' in asker.get("/metrics").text
    (told,) = [one for one in caplog.records if one.message.startswith("an answer has no place")]
    assert str(damaged) in str(vars(told)) and "default" in str(vars(told))
    strict = asker("POST", "/api/v1/read?strict=1", content=body)
    assert strict.status_code == 500 and str(damaged) in strict.text
    assert asker.get("/federate", None, **{"match[]": "up", "strict": "1"}).status_code == 200


def test_a_server_starts_without_its_manifests(
    make_asker: MakeAsker, filled: Asker, tmp_path: Path
) -> None:
    """They are made anew, and everything is there."""
    whole = filled.get("/api/v1/query_range", **RANGE).json()["data"]
    for name in NAMES:
        flip(tmp_path / "data/tenants/default" / name, 500)
    asker = make_asker()
    assert asker.get("/api/v1/query_range", **RANGE).json() == {"status": "success", "data": whole}
    assert 'o11y_damage_found_total{what="manifest"} 2.0' in asker.get("/metrics").text


def test_the_library_can_be_strict(make_asker: MakeAsker, filled: Asker, tmp_path: Path) -> None:
    """Else it gives the rest, with a warning."""
    damaged = _damage_frame(tmp_path)
    make_asker(data_dir=tmp_path / "other")
    with o11y.open_database(tmp_path / "data", now_ms=lambda: NOW_MS) as database:
        found = database.query("count_over_time(up[5h])")
        assert any(str(damaged) in text for text in found.warnings)
        for ask in (
            partial(database.query, "count_over_time(up[5h])", strict=True),
            partial(database.query_range, "up", START_S, NOW_MS / 1000, "60s", strict=True),
        ):
            with pytest.raises(StorageError, match=str(damaged)):
                ask()


def test_the_command_line_can_be_strict(
    make_asker: MakeAsker, filled: Asker, tmp_path: Path
) -> None:
    """``--strict`` fails with the file; without it the warning is on stderr."""
    from typer.testing import CliRunner

    damaged = _damage_frame(tmp_path)
    make_asker(data_dir=tmp_path / "other")
    words = ["query", "count_over_time(up[5h])", "--data", str(tmp_path / "data")]
    words += ["--at", str(NOW_MS / 1000)]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0 and str(damaged) in found.output
    strict = CliRunner().invoke(app, [*words, "--strict"])
    assert strict.exit_code == 1 and str(damaged) in strict.output


def _check(*words: object) -> tuple[int, str]:
    from typer.testing import CliRunner

    result = CliRunner().invoke(check_app, ["data", *map(str, words)])
    return result.exit_code, result.output


def test_check_data_says_what_is_damaged(
    make_asker: MakeAsker, filled: Asker, tmp_path: Path
) -> None:
    """Exit codes, findings as objects a line and for people; it changes nothing."""
    data = tmp_path / "data"
    make_asker(data_dir=tmp_path / "other")
    assert _check(data)[0] == 0
    assert _check(data, "--tenant", "nobody")[0] == 2
    assert _check(tmp_path / "nothing")[0] == 2
    damaged = _damage_frame(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    code, text = _check(data)
    assert code == 1 and str(damaged) in text
    code, text = _check(data, "--json", "--tenant", "default")
    finding, summary = map(json.loads, text.splitlines())
    assert code == 1
    assert finding["file"] == str(damaged) and finding["what"] == "frame"
    assert finding["offset"] <= 40 and finding["samples"] > 0 and finding["series_count"] == 1
    assert finding["series"] == ['{__name__="up", job="a"}']
    assert finding["start_ms"] < finding["end_ms"] < NOW_MS
    assert summary["summary"]["findings"] == 1 and summary["summary"]["blocks"] >= 1
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


def test_check_data_looks_at_a_directory_in_use(filled: Asker, tmp_path: Path) -> None:
    """It says who writes there; what the writer changes meanwhile is no damage."""
    command = [sys.executable, "-m", "server", "check", "data", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert "is in use by process" in done.stderr and "All is sound." in done.stdout
