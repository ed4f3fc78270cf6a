"""Kernels: compiled once, kept on disk, loaded when they are needed."""

import importlib.util
import pathlib
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
