"""A data directory as a library: arrays, tables and frames of what a server has written."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import o11y
from promql.errors import ParseError
from series.batch import build_batch
from series.histogram import OFFSET, Histogram
from series.labels import Labels
from tests.tsdb.databases import NOW_MS, open_store
from tsdb.db import DbOptions
from tsdb.store import Store

STEP_MS = 60_000
NOW = NOW_MS / 1000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory whose server has ended: a counter of two jobs and a native histogram."""
    times = [NOW_MS - (9 - k) * STEP_MS for k in range(10)]
    one = Histogram(count=2, sum=3, buckets=((OFFSET + 1, 2.0),))
    store = open_store(tmp_path / "data")
    for tenant, factor in (("default", 1.0), ("acme", 100.0)):
        batch = build_batch(
            [
                (
                    Labels.of({"__name__": "x_total", "job": "a"}),
                    times,
                    [60.0 * k for k in range(10)],
                ),
                (Labels.of({"__name__": "x_total", "job": "b"}), times, [factor] * 10),
                (Labels.of({"__name__": "h"}), times, [one] * 10),
            ]
        )
        store.tenant_for_write(tenant).append(batch).result(timeout=30)
    store.close()
    return tmp_path / "data"


def test_ten_lines_to_a_data_frame(data: Path) -> None:
    """What README shows: open, ask a range, have arrays, Arrow, pandas and polars."""
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    end = datetime.fromtimestamp(NOW, UTC)
    with o11y.open(data) as database:
        result = database.query_range("rate(x_total[5m])", end - timedelta(minutes=2), end, "1m")
        assert result.type == "matrix"
        assert result.labels == [{"job": "a"}, {"job": "b"}]
        np.testing.assert_array_equal(result.values, [[1.0] * 3, [0.0] * 3])
        assert result.times[-1] == np.datetime64(NOW_MS, "ms")
        assert result.to_arrow().num_rows == 6
        frame = result.to_pandas()
        assert isinstance(frame, pandas.DataFrame)
        assert frame.groupby("job", observed=True)["value"].sum().to_dict() == {"a": 3.0, "b": 0.0}
        assert isinstance(result.to_polars(), polars.DataFrame)


def test_instants_default_to_now(data: Path) -> None:
    """Without a time the clock counts; scalars are arrays too; strings and raw samples are not."""
    with o11y.open(data, now_ms=lambda: NOW_MS) as database:
        assert database.query('x_total{job="a"}').values.tolist() == [[540.0]]
        assert database.query("1 + 1").values.tolist() == [[2.0]]
        assert database.label_values("job") == ["a", "b"]
        raw = database.query("x_total[2m]")
        assert raw.to_arrow().num_rows == 4
        with pytest.raises(TypeError, match="to_arrow"):
            _ = raw.values


def test_histograms_come_in_arrow(data: Path) -> None:
    """A native histogram is a struct; as an array it is no number."""
    with o11y.open(data) as database:
        result = database.query("h", NOW)
        assert np.isnan(result.values).all()
        (row,) = result.to_arrow().to_pylist()
        assert row["histogram"]["buckets"] == [{"lower": 1.0, "upper": 2.0, "count": 2.0}]


def test_tenants_are_apart(data: Path) -> None:
    """Each tenant is opened by its name; one that is not there is named."""
    with o11y.open(data, tenant="acme") as database:
        assert database.query('x_total{job="b"}', NOW).values.tolist() == [[100.0]]
    with pytest.raises(FileNotFoundError, match="nobody"):
        o11y.open(data, tenant="nobody")
    with pytest.raises(FileNotFoundError):
        o11y.open(data / "nowhere")


def test_what_is_wrong_is_raised(data: Path) -> None:
    """Broken queries, times without zone and ranges that are none are refused."""
    with o11y.open(data) as database:
        with pytest.raises(ParseError):
            database.query("x_total{")
        with pytest.raises(ValueError, match="time zone"):
            database.query("x_total", datetime(2024, 1, 1))
        with pytest.raises(ValueError, match="positive step"):
            database.query_range("x_total", NOW, NOW, 0)


def test_plans_are_explained(data: Path) -> None:
    """The plan names what would be read."""
    with o11y.open(data) as database:
        plan = database.explain("sum(rate(x_total[5m]))", NOW)
        assert plan["node"] == "aggregate sum by ()"
        assert plan["estimated"]["samples"] >= 10


def test_a_running_server_is_named(data: Path) -> None:
    """While another process writes there, opening fails, says which process, changes nothing."""
    store = open_store(data)
    try:
        with pytest.raises(BlockingIOError, match=r"\d+"):
            o11y.open(data)
    finally:
        store.close()


def test_reading_changes_nothing(data: Path) -> None:
    """Not a byte of the directory is another one afterwards, and two readers get along."""

    def content() -> dict[str, bytes]:
        found = (path for path in data.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in found}

    before = content()
    with o11y.open(data) as first, o11y.open(data) as second:
        assert first.query("h", NOW).labels == second.query("h", NOW).labels
    assert content() == before


def test_the_lines_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What README prints works as it stands there, over the directory of that name."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    store = Store.open(tmp_path / "data", DbOptions(), lambda: now_ms, arena_pages=4096)
    times = [now_ms - k * STEP_MS for k in range(60, 0, -1)]
    up = Labels.of({"__name__": "up", "job": "a"})
    batch = build_batch([(up, times, [float(k) for k in range(60)])])
    store.tenant_for_write("default").append(batch).result(timeout=30)
    store.close()
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(lines, "README.md", "exec"), found)
    assert found["result"].labels == [{"job": "a"}]
    assert len(found["frame"]) > 50
    assert "'job': 'a'" in capsys.readouterr().out
