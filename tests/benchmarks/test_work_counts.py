"""The hot paths do no more work than they did when their bounds were set.

The bounds stand in work_bounds.json, made by ``python -m tests.benchmarks.work_counts --write``.
"""

import json
import subprocess
import sys

import pytest

from tests.benchmarks.work_counts import BOUNDS, UNITS, Counts, bound, exceeded

BOUNDED: dict[str, Counts] = json.loads(BOUNDS.read_text())


@pytest.fixture(scope="module")
def found() -> dict[str, Counts]:
    """The counts, of a process of their own, as they replace what they count."""
    argv = [sys.executable, "-m", "tests.benchmarks.work_counts", "--json"]
    root = BOUNDS.parents[2]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    counts: dict[str, Counts] = json.loads(done.stdout)
    return counts


@pytest.mark.parametrize("path", BOUNDED)
def test_a_hot_path_does_no_more_work_than_before(found: dict[str, Counts], path: str) -> None:
    """Python calls, kernel calls, reads, syncs and log bytes of one warm request."""
    more = exceeded({path: found[path]}, BOUNDED)
    assert not more, f"more work on a hot path: {more}; if meant: work_counts.py --write"


def test_every_hot_path_is_bounded(found: dict[str, Counts]) -> None:
    """No path and no count is left without a bound, and every one was counted."""
    assert found.keys() == BOUNDED.keys()
    assert all(bounds.keys() == UNITS.keys() for bounds in BOUNDED.values())


def test_what_the_counters_count_is_not_nothing(found: dict[str, Counts]) -> None:
    """Python runs and a kernel too; a range query decodes and reads, a write is synced once."""
    assert all(counts["python"] > 0 for counts in found.values())
    wide = found["wide query d2_range_sum_rate_5k_60s"]
    assert wide["kernels"] > wide["decoding"] > 0
    assert max(counts["first_read_bytes"] for counts in found.values()) > 10_000
    for size in (10_000, 500, 50):
        write = found[f"write of {size} samples of known series"]
        assert write["syncs"] == 1
        assert write["log_bytes"] > 8


def test_a_count_above_its_bound_is_named() -> None:
    """Small counts are bound exactly, larger ones with some room."""
    assert (bound("kernels", 3.0), bound("python", 100.0)) == (3.0, 115)
    assert bound("log_bytes", 10.0) == 11.0
    counts, bounds = {"x": {"kernels": 4.0, "syncs": 1.0}}, {"x": {"kernels": 3.0, "syncs": 1.0}}
    assert exceeded(counts, bounds) == ["x: 4 calls of kernels, at most 3"]
