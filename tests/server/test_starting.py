"""What makes a start quick."""

import gc
import os
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from server import starting, startup
from server.starting import keep_bytecode, rare_collections
from server.startup import ROOT


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as if our sources lay there, without bytecode; the user's cache is another."""
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(starting, "__file__", str(tmp_path / "sources" / "starting.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def is_moved() -> bool:
    return sys.pycache_prefix is not None or not sys.dont_write_bytecode


def test_bytecode_goes_to_the_cache_where_none_is_kept(place: Path) -> None:
    """Below our directory there, and it is written whatever the environment says."""
    keep_bytecode()
    assert sys.pycache_prefix == str(place / "cache" / "hanzo-o11y" / "bytecode")
    assert not sys.dont_write_bytecode


def test_bytecode_beside_the_sources_is_used(place: Path) -> None:
    """As an installation leaves it."""
    kept = Path(cache_from_source(starting.__file__))
    kept.parent.mkdir(parents=True)
    kept.touch()
    keep_bytecode()
    assert not is_moved()


def test_another_place_for_bytecode_is_respected(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever names one knows why."""
    monkeypatch.setattr(sys, "pycache_prefix", str(place))
    keep_bytecode()
    assert sys.pycache_prefix == str(place) and sys.dont_write_bytecode


def test_without_a_cache_all_stays_as_it_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is no directory."""
    (place / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "file"))
    keep_bytecode()
    assert not is_moved()


def test_a_second_process_finds_the_bytecode(tmp_path: Path) -> None:
    """Of what was imported after the call."""
    program = (
        "import sys\n"
        "from server import starting\n"
        "starting.__file__ = sys.argv[1]\n"
        "starting.keep_bytecode()\n"
        "import server.logs\n"
        "print(server.logs.__cached__)\n"
    )
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("PYTHONPYCACHEPREFIX", None)
    argv = [sys.executable, "-c", program, str(tmp_path / "starting.py")]
    kept = set()
    for _ in range(2):
        done = subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        path = Path(done.stdout.strip())
        kept.add((path, path.stat().st_mtime_ns))
    assert len(kept) == 1 and path.is_relative_to(tmp_path)


def test_collections_are_rare_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where that ends by an error; what was made until then is not looked at again."""
    frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.get_threshold()[0]))
    usual = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold()[0] > usual[0] and not frozen
    assert gc.get_threshold() == usual
    with pytest.raises(KeyError), rare_collections():
        raise KeyError
    assert gc.get_threshold() == usual
    assert len(frozen) == 2 and min(frozen) > usual[0]


def test_collections_are_as_usual_where_kernels_are_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which shows by the time that it takes."""
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(startup, "_compile_beside", lambda: None)
    usual = gc.get_threshold()
    progress = startup.KernelProgress()
    with rare_collections():
        progress.ready("quick")
        assert gc.get_threshold() != usual
        monkeypatch.setattr(startup, "SLOW_SECONDS", 0)
        progress.ready("slow")
        assert gc.get_threshold() == usual
    assert "preparing kernels" in capsys.readouterr().err
