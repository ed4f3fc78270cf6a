"""The scripts over the real database: head and blocks answer what the memory source answers."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from series.batch import build_batch
from series.ports import Source
from tests.promql.test_own_scripts import SCRIPTS
from tests.promqltest_runner import MakeSource, run_script
from tests.promqltest_runner import Store as Loaded
from tsdb.db import DbOptions
from tsdb.store import Store

LONG_AFTER_MS = 10**12
READING = [
    path
    for path in SCRIPTS
    if path.stem
    in (
        "selectors",
        "modifiers",
        "subqueries",
        "rates",
        "over_time",
        "histograms",
        "native_histograms",
    )
]
"""The scripts in which it matters how samples are read."""


@pytest.fixture(params=["head", "blocks"])
def make_source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeSource]:
    """Makes a tenant of its own for each set of series; in "blocks" its samples are sealed."""
    now_ms = LONG_AFTER_MS
    options = DbOptions(retention_ms=0)
    store = Store.open(tmp_path, options, lambda: now_ms, monotonic=lambda: now_ms / 1000)
    numbers = count()

    def make(loaded: Loaded) -> Source:
        nonlocal now_ms
        db = store.tenant_for_write(f"t{next(numbers)}")
        rows = [
            (labels, [time_ms for time_ms, _ in row], [value for _, value in row])
            for labels, row in loaded.rows().items()
        ]
        appended = db.append(build_batch(rows)).result(timeout=30)
        assert appended.refused == {}
        if request.param == "blocks":
            now_ms += LONG_AFTER_MS
            store.maintain()
            assert db.stats().blocks > 0 or not rows
        return db.view()

    yield make
    store.close()


@pytest.mark.parametrize("path", READING, ids=[path.stem for path in READING])
def test_script(path: Path, make_source: MakeSource) -> None:
    """Every eval of the script passes over the database too."""
    failed = [o for o in run_script(path.name, path.read_text(), make_source) if not o.passed]
    assert not failed, "\n".join(f"{o.place} {o.expr}\n    {o.reason}" for o in failed)
