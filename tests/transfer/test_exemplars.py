"""Exemplars of OpenMetrics text come with the samples, into a directory and to a server."""

from pathlib import Path

import numpy as np
import pytest

from series.labels import Labels
from tests.tsdb.databases import FaultyFiles, append, everything, open_store
from transfer.importing import import_all
from transfer.openmetrics_source import OpenMetricsSource
from transfer.sinks import DirectorySink
from transfer.tally import Tally
from tsdb.store import Store
from wire.remote_read_client import encode_write
from wire.remote_write import decode

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
SECONDS = NOW_MS // 1000
PAGE = f"""\
# TYPE c counter
c_total{{a="1"}} 1 {SECONDS - 60} # {{trace_id="x"}} 0.5 {SECONDS - 61}.5
c_total{{a="1"}} 2 {SECONDS - 30} # {{trace_id="y",z="é"}} 0.25
c_total{{a="2"}} 7 {SECONDS - 30}
c_total{{a="3"}} 7 {SECONDS - 20 * 86_400} # {{trace_id="old"}} 1
# EOF
"""
KEPT = [
    ('{__name__="c_total", a="1"}', NOW_MS - 60_500, 0.5, {"trace_id": "x"}),
    ('{__name__="c_total", a="1"}', NOW_MS - 30_000, 0.25, {"trace_id": "y", "z": "é"}),
]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.om"
    path.write_text(PAGE)
    return path


def _import(data: Path, page: Path) -> Tally:
    tally = Tally()
    sink = DirectorySink(data, "t", 15 * DAY_MS, lambda: NOW_MS, tally)
    try:
        source = OpenMetricsSource(page, "")
        assert import_all([source], sink, tally, lambda name, done, total: None) == []
    finally:
        sink.close()
    return tally


def _held(data: Path) -> list[tuple[str, int, float, dict[str, str]]]:
    store = Store.open_read_only(data, lambda: NOW_MS)
    db = store.tenant("t")
    assert db is not None
    found = [
        (str(series.labels), one.time_ms, one.value, dict(one.labels.pairs))
        for series in db.view().exemplars([()], 0, 2**60)
        for one in series.exemplars
    ]
    store.close()
    return found


def test_exemplars_of_a_page_are_there(page: Path, tmp_path: Path) -> None:
    """Those of stored samples; one of a refused sample is refused; again they are stored once."""
    for _ in range(2):
        tally = _import(tmp_path / "data", page)
        assert tally.exemplars == 2
        assert tally.refused == {"too-old": 1, "exemplar-unknown-series": 1}
        assert "imported 2 exemplars" in tally.lines("imported")
        assert _held(tmp_path / "data") == KEPT


def test_they_join_those_of_the_log(page: Path, tmp_path: Path) -> None:
    """What a server logged stays, and counts as the newer one where it is."""
    data = tmp_path / "data"
    batch = decode(_written(page)).batch
    store = open_store(data, now_ms=lambda: NOW_MS)
    db = store.tenant_for_write("t")
    assert db.append(batch).result(30).exemplars == 2
    append(db, (1, NOW_MS, 1.0))
    store.close()
    assert _import(data, page).exemplars == 2
    assert _held(data) == KEPT
    before = page.read_text().replace('trace_id="y"', 'trace_id="v"').replace("0.25", "0.125")
    page.write_text(before)
    assert _import(data, page).refused["exemplar-out-of-order"] == 1
    assert _held(data) == KEPT


def _written(page: Path) -> bytes:
    (found,) = [one.content.batch for one in OpenMetricsSource(page, "").pages()]
    recent = found.times_ms[found.time_starts] > NOW_MS - DAY_MS
    return encode_write(found.take(recent))


def test_they_travel_by_remote_write(page: Path) -> None:
    """Labels, value and time, with the series that they belong to."""
    batch = decode(_written(page)).batch
    exemplars = batch.exemplars
    assert exemplars is not None
    keys = [exemplars.key(at) for at in range(exemplars.size)]
    assert [
        (str(Labels.from_key(batch.key(row))), time_ms, value, dict(Labels.from_key(key).pairs))
        for row, time_ms, value, key in zip(
            exemplars.rows.tolist(),
            exemplars.times_ms.tolist(),
            exemplars.values.tolist(),
            keys,
            strict=True,
        )
    ] == KEPT
    assert np.array_equal(np.diff(batch.offsets), [2, 1])


@pytest.mark.parametrize("act", ["create", "write", "fdatasync", "rename", "sync_directory"])
def test_a_refused_file_leaves_the_samples_and_those_before(
    page: Path, tmp_path: Path, act: str
) -> None:
    """The import fails, the samples stay; a second one brings the exemplars."""
    files = FaultyFiles()
    store = open_store(tmp_path / "data", files=files, now_ms=lambda: NOW_MS)
    loader = store.tenant_for_write("t").loader()
    for one in OpenMetricsSource(page, "").pages():
        loader.add(one.content.batch)
    loader._flush(last=True)
    loader._publish()
    files.fails = lambda what: what == act
    with pytest.raises(OSError, match="injected"):
        loader.finish()
    files.fails = lambda what: False
    loader.abandon()
    assert len(everything(store.tenant("t"))) == 2
    store.close()
    _import(tmp_path / "data", page)
    assert _held(tmp_path / "data") == KEPT
