"""``o11y import``, ``export``, ``snapshot`` and ``restore``: options, exit codes, what they say."""

import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from server.command.cli import app

NOW_S = int(time.time())
PAGE = f'a{{x="1"}} 5 {NOW_S - 60}\na{{x="2"}} 6 {NOW_S - 30}.5\n# EOF\n'


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.om"
    path.write_text(PAGE)
    return path


def test_import_and_export_say_what_they_did(page: Path, tmp_path: Path) -> None:
    """0 and the counts; the tenant is the named one."""
    said = run("import", page, "--data", tmp_path / "d", "--tenant", "acme")
    assert (said.exit_code, said.stdout.startswith("imported 2 samples of 2 series in")) == (
        0,
        True,
    )

    done = run("export", "--data", tmp_path / "d", "--tenant", "acme", "-o", tmp_path / "x.parquet")
    assert (done.exit_code, done.stderr) == (0, "exported 2 samples of 2 series\n")
    assert sorted(pq.read_table(tmp_path / "x.parquet")["value"].to_pylist()) == [5, 6]
    text = run(
        "export", "--data", tmp_path / "d", "--tenant", "acme", "-o", "-", "--match", 'a{x="2"}'
    )
    assert text.stdout == f'a{{x="2"}} 6.0 {NOW_S - 30}.500\n# EOF\n'


def test_what_is_refused_is_named_and_ends_with_1(page: Path, tmp_path: Path) -> None:
    """The rest is stored."""
    page.write_text("old 1 1000000000\nuntimed 1\n" + PAGE)

    said = run("import", page, "--data", tmp_path / "d")

    assert said.exit_code == 1
    assert said.stdout.startswith("imported 2 samples of 2 series")
    assert "refused 1 no-timestamp" in said.stderr and "refused 1 too-old" in said.stderr
    assert 'line 2: the sample names no timestamp for series {__name__="untimed"}' in said.stderr
    kept = run("import", page, "--data", tmp_path / "d2", "--retention", "0")
    assert kept.stdout.startswith("imported 3 samples")


def test_a_source_that_ends_early_is_named(page: Path, tmp_path: Path) -> None:
    """1; the other sources are imported."""
    bad = tmp_path / "bad.om"
    bad.write_text(f"b 1 {NOW_S}\n")

    said = run("import", bad, page, "--data", tmp_path / "d")

    assert (said.exit_code, said.stdout.startswith("imported 3 samples")) == (1, True)
    assert f"{bad}: data does not end with # EOF" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("import", "{page}"), "--data or a server by --url"),
        (("import", "{page}", "--data", "{d}", "--url", "http://x"), "--data or a server by --url"),
        (("import", "{page}", "--data", "{d}", "--tenant", "a/b"), "a tenant is 1 to 64 of"),
        (("import", "{page}", "--data", "{d}", "--retention", "x"), "--retention"),
        (("import", "{d}/none", "--data", "{d}"), "No such file"),
        (("import", "{page}", "--url", "http://127.0.0.1:9"), "refused"),
        (("export", "-o", "-", "--url", "http://x"), "--url needs --start"),
        (("export", "-o", "-", "--data", "{d}", "--match", "up[5m]"), "not a series selector"),
        (("export", "-o", "-", "--data", "{d}", "--start", "x"), "to a valid timestamp"),
        (("export", "-o", "-", "--data", "{d}/none"), "No such file"),
        (("snapshot", "--data", "{d}/none"), "there is no data directory"),
        (("snapshot",), "--data or a server by --url"),
        (("snapshot", "--url", "http://127.0.0.1:9"), "refused"),
        (("restore", "{d}/none", "--data", "{d}"), "is no snapshot"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_says_why(
    page: Path, tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    """No trace is shown, and nothing is made."""
    data = tmp_path / "d"
    done = run(*(each.format(page=page, d=data) for each in arguments))

    assert done.exit_code == 2, done.output
    assert text in done.output
    assert not (data / "tenants").exists()


def test_snapshot_and_restore_in_place(page: Path, tmp_path: Path) -> None:
    """The path is printed; what is restored is counted."""
    run("import", page, "--data", tmp_path / "d")

    made = run("snapshot", "--data", tmp_path / "d")
    assert made.exit_code == 0
    path = Path(made.stdout.strip())
    assert path.parent == tmp_path / "d" / "snapshots"
    done = run("restore", path, "--data", tmp_path / "e")

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("tenant default: 2 samples of 2 series\nrestored ")
    assert run("snapshot", "--data", tmp_path / "d", "--tenant", "x").exit_code == 2


def test_a_damaged_snapshot_is_restored_and_told(page: Path, tmp_path: Path) -> None:
    """1, and where to look."""
    run("import", page, "--data", tmp_path / "d")
    path = Path(run("snapshot", "--data", tmp_path / "d").stdout.strip())
    file = next(path.rglob("data"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    file.write_bytes(content)

    done = run("restore", path, "--data", tmp_path / "e")

    assert done.exit_code == 1
    assert "places are damaged; see o11y check data" in done.stderr
