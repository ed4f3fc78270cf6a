"""Kernels: compiled once, kept on disk, loaded when they are needed."""

import importlib.util
import os
import pathlib
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from series import jit

SOURCE = """
from series.jit import helper, kernel

@helper
def twice(x):
    return 2 * x

@kernel("void(f8[::1])")
def double(values):
    for k in range(len(values)):
        values[k] = twice(values[k])
"""
ALLOCATING = """
import sys
import numpy as np
from series.jit import helper, kernel

@helper
def room_for(values):
    if len(values) == 0:
        raise ValueError("no values")
    return np.empty(len(values), np.float64)

@kernel("f8[::1](f8[::1])")
def doubled(values):
    room = room_for(values)
    for k in range(len(values)):
        room[k] = 2 * values[k]
    return room

print(doubled(np.array([1.0, 2.5])).tolist())
try:
    doubled(np.empty(0))
except ValueError as error:
    print(error)
print("numba.cpython.unicode" in sys.modules)
"""


@pytest.fixture
def source(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A file of kernels, with a cache of its own."""
    monkeypatch.setenv("O11Y_KERNEL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "some_kernels.py"
    path.write_text(SOURCE)
    return path


def imported(path: pathlib.Path) -> ModuleType:
    """*path* as a new module, as another process would import it."""
    jit._cache_directory.cache_clear()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def doubled(module: ModuleType) -> list[float]:
    values = np.array([1.0, 2.5])
    module.double(values)
    return [float(value) for value in values]


def test_a_cached_kernel_is_loaded_when_it_is_called(
    source: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first import compiles, the next one waits for a call, and both compute the same."""
    told: list[str] = []
    monkeypatch.setattr(jit, "on_compiled", told.append)
    first = imported(source)
    assert not isinstance(first.double, jit._Kernel)
    second = imported(source)
    waiting = second.double
    assert isinstance(waiting, jit._Kernel)
    assert doubled(first) == doubled(second) == [2.0, 5.0]
    assert not isinstance(second.double, jit._Kernel)
    values = np.array([3.0])
    waiting(values)
    assert values.tolist() == [6.0]
    assert told == ["double", "double"]


def test_everything_can_be_loaded_at_once(source: pathlib.Path) -> None:
    """What a server does in the background."""
    imported(source)
    second = imported(source)
    jit.load_all()
    assert not isinstance(second.double, jit._Kernel)
    assert not jit._cached


def test_a_changed_file_is_compiled_anew(source: pathlib.Path) -> None:
    """Also where only a helper changed."""
    imported(source)
    source.write_text(SOURCE.replace("2 * x", "x + 2"))
    assert doubled(imported(source)) == [3.0, 4.5]


def test_to_load_a_kernel_takes_nothing_that_compiles(tmp_path: pathlib.Path) -> None:
    """It allocates and raises as it did where it was compiled."""
    path = tmp_path / "some_kernels.py"
    path.write_text(ALLOCATING)
    environment = os.environ | {
        "O11Y_KERNEL_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(pathlib.Path(jit.__file__).parent.parent),
    }
    printed = [
        subprocess.run(
            [sys.executable, str(path)],
            env=environment, capture_output=True, text=True, timeout=120, check=True,
        ).stdout.splitlines()
        for _ in range(2)
    ]  # fmt: skip
    assert printed == [["[2.0, 5.0]", "no values", compiles] for compiles in ("True", "False")]


def test_a_kernel_whose_cached_code_is_gone_is_compiled_anew(source: pathlib.Path) -> None:
    """Though its marker is still there."""
    imported(source)
    second = imported(source)
    for file in source.parent.rglob("*.nbc"):
        file.unlink()
    assert doubled(second) == [2.0, 5.0]


def test_a_helper_is_called_from_python_too(source: pathlib.Path) -> None:
    """Compiled for what it is given."""
    module = imported(source)
    assert module.twice(3) == 6 and module.twice(1.5) == 3.0
    assert imported(source).twice(4) == 8


def test_a_changed_helper_of_a_helper_is_noticed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory has another name then, and the same one when nothing changed."""
    monkeypatch.setenv("O11Y_KERNEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "_ROOT", tmp_path)
    room = tmp_path / "room"
    room.mkdir()
    (room / "some_kernels.py").write_text("import re\nfrom room.upper_helpers import a\n")
    (room / "upper_helpers.py").write_text("import re\nfrom room.lower_helpers import b\n")
    names = []
    for text in ("b = 1\n", "b = 1\n", "b = 2\n"):
        (room / "lower_helpers.py").write_text(text)
        jit._cache_directory.cache_clear()
        names.append(jit._cache_directory(str(room / "some_kernels.py")).name)
    assert names[0] == names[1] != names[2]
