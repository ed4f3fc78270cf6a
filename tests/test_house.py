"""The house keeps its own rules: imports, lengths of files, nothing left behind."""

import ast
import graphlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ROOMS = {
    "series": set(),
    "tsdb": {"series"},
    "promql": {"series"},
    "wire": {"series"},
    "scrape": {"series", "wire"},
    "transfer": {"series", "tsdb", "wire"},
    "o11y": {"series", "tsdb", "promql"},
    "benchmarks": {"series", "wire"},
    "server": {"series", "tsdb", "promql", "wire", "scrape", "transfer", "o11y", "benchmarks"},
}
"""Room -> the rooms that it may import besides itself."""

LENGTH_LIMIT = 400
LONGER: dict[str, int] = {}
"""Files that may be longer than the limit, each up to its number of lines."""


def _files(room: str) -> list[pathlib.Path]:
    return sorted((ROOT / room).rglob("*.py"))


def _module(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: pathlib.Path) -> set[str]:
    """The dotted names of the house's own modules that *path* imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    """No file reaches into a room that the import table does not allow."""
    for path in _files(room):
        others = {name.split(".")[0] for name in _imports(path)} - {room}

        assert others <= ROOMS[room], f"{path.relative_to(ROOT)} imports {others}"


def test_no_imports_run_in_a_circle() -> None:
    """The files of the house can be put in one order in which each imports only earlier ones."""
    modules = {_module(path): path for room in ROOMS for path in _files(room)}
    graph = {name: _imports(path) & modules.keys() - {name} for name, path in modules.items()}

    order = list(graphlib.TopologicalSorter(graph).static_order())

    assert len(order) == len(modules)


def test_only_jit_imports_numba() -> None:
    """numba is reached through series/jit.py alone."""
    for room in ROOMS:
        for path in _files(room):
            if re.search(r"^\s*(import|from) (numba|llvmlite)\b", path.read_text(), re.M):
                assert path.relative_to(ROOT).as_posix() == "series/jit.py"


def test_files_stay_short() -> None:
    """No source file grows beyond the limit without a line in LONGER."""
    for room in ROOMS:
        for path in _files(room):
            name = path.relative_to(ROOT).as_posix()
            lines = path.read_text().count("\n")

            assert lines <= LONGER.get(name, LENGTH_LIMIT), f"{name} has {lines} lines"


def test_nothing_is_left_unfinished() -> None:
    """No leftover marker and no stub stands in the product's code."""
    marker = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    for room in ROOMS:
        for path in _files(room):
            assert not marker.search(path.read_text()), path.relative_to(ROOT)


def test_every_kernel_file_is_named_as_one() -> None:
    """Compiled functions live in kernels.py or *_kernels.py, where a reader expects them."""
    for room in ROOMS:
        for path in _files(room):
            if re.search(r"^@kernel\(", path.read_text(), re.M):
                assert path.stem.endswith("kernels"), path.relative_to(ROOT)
