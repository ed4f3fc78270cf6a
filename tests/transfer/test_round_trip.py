"""What is exported and imported again is what was there, bit for bit."""

import gzip
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from series.labels import Labels
from series.matcher import Matcher, MatchType
from tests.tsdb.contents import Value, build
from tests.tsdb.databases import Bits, everything
from tests.tsdb.test_histograms import histogram
from tests.wire import prometheus_block as slow
from tests.wire.prometheus_block import Chunk
from transfer.exporting import Wanted, from_directory
from transfer.importing import import_all
from transfer.sinks import DirectorySink
from transfer.sources import UnknownSource, find_sources
from transfer.tally import Tally
from transfer.writing import output
from tsdb.db import DbOptions
from tsdb.store import Store
from wire.errors import Malformed

NOW_MS = 1_800_000_000_000
STALE, ODD = 0x7FF0000000000002, 0xFFF800000000BEEF
Row = tuple[Labels, list[int], list[Value]]


def float_of(bits: int) -> float:
    return float(np.array([bits], dtype=np.uint64).view(np.float64)[0])


def labels(**pairs: str) -> Labels:
    return Labels.of({"__name__": "m", **pairs})


PLAIN: list[Row] = [
    (labels(a="1"), [NOW_MS - 9_999_123, NOW_MS - 5, NOW_MS], [1.5, -0.0, 1e300]),
    (labels(a="2", b='x"\\\né'), [NOW_MS - 7], [float("inf")]),
    (labels(value="v", timestamp="t"), [NOW_MS], [0.1]),
    (Labels.of({"__name__": "näme.x", "l-1": "y"}), [NOW_MS - 1, NOW_MS], [5e-324, -1e-7]),
]
ODDITIES: list[Row] = [
    (labels(a="nan"), [NOW_MS - 3, NOW_MS - 2, NOW_MS - 1], list(map(float_of, (STALE, ODD, 1)))),
    (labels(a="h"), [NOW_MS - 3, NOW_MS - 2, NOW_MS], [histogram(1), 2.0, histogram(3)]),
    (Labels.of({"nameless": "yes"}), [NOW_MS], [3.0]),
]


def fill(data: Path, rows: Sequence[Row]) -> Bits:
    """A data directory with *rows*; returns what it holds."""
    store = Store.open(data, DbOptions(), lambda: NOW_MS)
    db = store.tenant_for_write("default")
    assert db.append(build(rows)).result(30).refused == {}
    found = everything(db)
    store.close()
    return found


def held(data: Path, tenant: str = "default") -> Bits:
    store = Store.open_read_only(data, lambda: NOW_MS)
    try:
        return everything(store.tenant(tenant))
    finally:
        store.close()


def export(data: Path, path: Path, *, start_ms: int = -(2**60), end_ms: int = 2**60) -> Tally:
    tally = Tally()
    wanted = Wanted(((),), (), start_ms, end_ms)
    with output(path, io.BytesIO()) as out:
        is_parquet = path.suffix == ".parquet"
        assert not from_directory(
            data, "default", wanted, out, is_parquet, tally, lambda samples: None
        )
    return tally


def bring_in(data: Path, *paths: Path) -> tuple[Tally, list[str]]:
    tally = Tally()
    sources, _ = find_sources(list(paths))
    sink = DirectorySink(data, "default", 15 * 86_400_000, lambda: NOW_MS, tally)
    try:
        failures = import_all(sources, sink, tally, lambda name, done, total: None)
    finally:
        sink.close()
    return tally, failures


def test_parquet_holds_everything(tmp_path: Path) -> None:
    """Payloads of NaN, stale markers, histograms and labels of any name come back."""
    before = fill(tmp_path / "a", [*PLAIN, *ODDITIES])

    out = export(tmp_path / "a", tmp_path / "x.parquet")
    tally, failures = bring_in(tmp_path / "b", tmp_path / "x.parquet")

    assert held(tmp_path / "b") == before
    assert (failures, tally.refused) == ([], {})
    samples = sum(map(len, before.values()))
    assert (out.series, out.samples) == (tally.series, tally.samples) == (len(before), samples)


def test_start_times_come_back_through_parquet(tmp_path: Path) -> None:
    """A sample's start is a column of its own."""
    store = Store.open(tmp_path / "a", DbOptions(), lambda: NOW_MS)
    starts_ms = np.array([7, 0, NOW_MS], dtype=np.int64)
    db = store.tenant_for_write("default")
    db.append(replace(build([PLAIN[0]]), starts_ms=starts_ms)).result(30)
    before = everything(db)
    store.close()

    export(tmp_path / "a", tmp_path / "x.parquet")
    bring_in(tmp_path / "b", tmp_path / "x.parquet")

    assert held(tmp_path / "b") == before
    table = pq.read_table(tmp_path / "x.parquet")
    assert table["start_timestamp"].cast(pa.int64()).to_pylist() == [7, None, NOW_MS]


@pytest.mark.parametrize("name", ["x.om", "x.om.gz", "x.om.zst"])
def test_openmetrics_holds_what_the_format_can(tmp_path: Path, name: str) -> None:
    """Floats come back; what has no place is left out and counted."""
    before = fill(tmp_path / "a", [*PLAIN, *ODDITIES])

    out = export(tmp_path / "a", tmp_path / name)
    tally, failures = bring_in(tmp_path / "b", tmp_path / name)

    assert (failures, tally.refused) == ([], {})
    assert out.skipped == {
        "native histograms": 2,
        "stale markers": 1,
        "samples of series without a name": 1,
    }
    found = held(tmp_path / "b")
    for series, times_ms, _ in PLAIN:
        assert found[series] == before[series]
        assert len(found[series]) == len(times_ms)
    nan = found[labels(a="nan")]
    assert nan == {NOW_MS - 2: 0x7FF8000000000001, NOW_MS - 1: 1}
    assert found[labels(a="h")] == {NOW_MS - 2: before[labels(a="h")][NOW_MS - 2]}


def test_times_bound_an_export(tmp_path: Path) -> None:
    """Both ends are included; series without samples in between are not there."""
    fill(tmp_path / "a", PLAIN)

    tally = export(tmp_path / "a", tmp_path / "x.parquet", start_ms=NOW_MS - 7, end_ms=NOW_MS - 5)

    table = pq.read_table(tmp_path / "x.parquet")
    assert sorted(table["timestamp"].cast(pa.int64()).to_pylist()) == [NOW_MS - 7, NOW_MS - 5]
    assert (tally.series, tally.samples) == (2, 2)


def test_overlapping_selectors_export_a_series_once(tmp_path: Path) -> None:
    """A series that several selectors match comes once."""
    fill(tmp_path / "a", PLAIN)
    one = (Matcher(MatchType.EQUAL, "a", "1"),)
    both = (Matcher(MatchType.NOT_EQUAL, "a", ""),)
    tally = Tally()
    wanted = Wanted((one, both, one), (), -(2**60), 2**60)
    with output(tmp_path / "x.om", io.BytesIO()) as out:
        from_directory(tmp_path / "a", "default", wanted, out, False, tally, lambda samples: None)

    assert (tally.series, tally.samples) == (2, 4)
    assert len((tmp_path / "x.om").read_text().splitlines()) == 5


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """Neither under its name nor aside."""
    fill(tmp_path / "a", PLAIN)
    wanted = Wanted(((),), (), -(2**60), 2**60)
    with pytest.raises(FileNotFoundError), output(tmp_path / "x.om", io.BytesIO()) as out:
        from_directory(tmp_path / "a", "nobody", wanted, out, False, Tally(), lambda n: None)

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_simple_tables_are_read(tmp_path: Path) -> None:
    """Labels as columns of texts or as one map; times in any unit; numbers of any type."""
    times = pa.array([NOW_MS // 1000, NOW_MS // 1000 - 1, None], pa.timestamp("s"))
    columns = pa.table(
        {
            "time": times,
            "__name__": ["t", "t", "t"],
            "host": ["a", None, "a"],
            "value": pa.array([1, 2, 3], pa.int32()),
        }
    )
    maps = pa.table(
        {
            "timestamp": pa.array([NOW_MS - 2, NOW_MS - 1, NOW_MS], pa.int64()),
            "labels": pa.array(
                [[("__name__", "u"), ("k", "v")], [("__name__", "u"), ("k", "v")], []],
                pa.map_(pa.string(), pa.string()),
            ),
            "value": pa.array([1.5, None, 2.5], pa.float32()),
        }
    )
    pq.write_table(columns, tmp_path / "columns.parquet")
    pq.write_table(maps, tmp_path / "maps.parquet")

    tally, failures = bring_in(
        tmp_path / "b", tmp_path / "columns.parquet", tmp_path / "maps.parquet"
    )

    assert failures == []
    assert tally.refused == {"no-sample": 2}
    assert {series: sorted(found) for series, found in held(tmp_path / "b").items()} == {
        Labels.of({"__name__": "t", "host": "a"}): [NOW_MS],
        Labels.of({"__name__": "t"}): [NOW_MS - 1000],
        Labels.of({"__name__": "u", "k": "v"}): [NOW_MS - 2],
        Labels(): [NOW_MS],
    }


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"value": [1.0]}, "needs one column 'timestamp' or 'time'"),
        ({"timestamp": [1], "a": ["x"]}, "needs a column 'value'"),
        ({"timestamp": [1.5], "value": [1.0]}, "neither timestamps nor whole milliseconds"),
        ({"timestamp": [1], "value": ["x"]}, "no numbers"),
        ({"timestamp": [1], "value": [1.0], "port": [80]}, r"columns \['port'\]"),
        ({"timestamp": [1], "value": [1.0], "labels": ["x"]}, "no map of texts"),
    ],
)
def test_other_tables_are_refused_by_name(
    tmp_path: Path, table: dict[str, list[object]], text: str
) -> None:
    """The text says which column is wrong."""
    pq.write_table(pa.table(table), tmp_path / "x.parquet")

    tally, (failure,) = bring_in(tmp_path / "b", tmp_path / "x.parquet")

    assert tally.samples == 0
    with pytest.raises(Malformed, match=text):
        raise Malformed(failure)


def test_a_damaged_parquet_file_says_so(tmp_path: Path) -> None:
    """What came before the damage is imported."""
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + bytes(100))

    _, (failure,) = bring_in(tmp_path / "b", tmp_path / "x.parquet")

    assert "not a Parquet file that can be read" in failure


OPENMETRICS = b"""# TYPE a counter
a_total{x="1"} 5 1799999000
b 1
c nonsense 1799999000
d 2 1700000000
d 3 1799999000.5
# EOF
"""


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_openmetrics_needs_times_and_loses_nothing_else(
    tmp_path: Path, compress: type[bytes]
) -> None:
    """Lines that cannot be stored are named and counted by reason."""
    (tmp_path / "x").write_bytes(compress(OPENMETRICS))

    tally, failures = bring_in(tmp_path / "b", tmp_path / "x")

    assert failures == []
    assert tally.refused == {"no-timestamp": 1, "malformed-line": 1, "too-old": 1}
    assert any("line 4" in text for text in tally.named)
    assert any("no-timestamp" in text and '{__name__="b"}' in text for text in tally.named)
    assert {series.metric for series in held(tmp_path / "b")} == {"a_total", "d"}
    assert tally.samples == 2


def test_a_line_without_a_time_is_told_by_number(tmp_path: Path) -> None:
    """Where all lines can be read, the number of the line is known."""
    (tmp_path / "x").write_bytes(b"# HELP a text\na 1 1799999000\nb 1\n# EOF\n")

    tally, _ = bring_in(tmp_path / "b", tmp_path / "x")

    assert "line 3: the sample names no timestamp" in tally.named[0]


def test_a_page_without_its_end_says_so(tmp_path: Path) -> None:
    """What is there is imported."""
    (tmp_path / "x").write_bytes(b"a 1 1799999000\n")

    tally, failures = bring_in(tmp_path / "b", tmp_path / "x")

    assert tally.samples == 1
    assert failures == [f"{tmp_path / 'x'}: data does not end with # EOF"]


def test_blocks_that_cannot_be_read_cost_nothing_else(tmp_path: Path) -> None:
    """Each is named; what is sound in others is imported, in order of time, damage is counted."""

    def chunk(first_ms: int) -> Chunk:
        samples = [(first_ms + k, slow.float_bits(float(k))) for k in range(5)]
        return Chunk(first_ms, first_ms + 4, 1, slow.xor_chunk(samples))

    def write(name: str, made: slow.Block, meta: dict[str, object]) -> Path:
        home = tmp_path / "blocks" / name
        (home / "chunks").mkdir(parents=True)
        (home / "index").write_bytes(made.index)
        for number, content in enumerate(made.segments, 1):
            (home / "chunks" / f"{number:06d}").write_bytes(content)
        told = {"ulid": name, "minTime": 1, "maxTime": 2, "version": 1, **meta}
        (home / "meta.json").write_text(json.dumps(told))
        return home

    series = [[("__name__", "m"), ("n", str(n))] for n in range(2)]
    good = slow.block([(one, [chunk(NOW_MS - 100 * n)]) for n, one in enumerate(series)])
    later = slow.block([(one, [chunk(NOW_MS - 50)]) for one in series])
    write("B", good, {})
    damaged = bytearray(later.segments[0])
    damaged[-6] ^= 1
    write("A", slow.Block(later.index, [bytes(damaged)], []), {"minTime": 0})
    write("newer", good, {"version": 2})
    (write("bare", good, {}) / "index").unlink()
    (write("short", good, {}) / "index").write_bytes(good.index[:-9])
    (write("gone", good, {}) / "chunks" / "000001").rename(tmp_path / "blocks" / "x")

    tally, failures = bring_in(tmp_path / "b", tmp_path / "blocks")

    assert tally.refused == {"damaged-chunk": 3}
    assert f"{tmp_path / 'blocks' / 'A'}: damaged-chunk: chunk at offset" in tally.named[0]
    assert [text.rpartition("/")[2].partition(":")[0] for text in sorted(failures)] == [
        "bare",
        "newer",
        "short",
    ]
    assert "has no index" in sorted(failures)[0] and "version 2" in sorted(failures)[1]
    assert (tally.series, tally.samples) == (2, 15)


def test_a_directory_without_blocks_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UnknownSource, match="is no block of Prometheus and holds none"):
        find_sources([tmp_path / "empty"])
