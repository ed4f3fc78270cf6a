"""What docs/format.md says suffices to write a reader."""

import inspect
import math
import random
import re
from pathlib import Path

from series.labels import Labels
from tests.test_house import ROOMS
from tests.tsdb import frame_reader, independent_reader
from tests.tsdb.contents import Started, Value
from tests.tsdb.databases import HOUR_MS, NOW_MS, append, everything, open_store
from tests.tsdb.test_histograms import histogram
from tsdb.db import Db

MOST_LINES = 60
_IMPORT = re.compile(r"(from|import) ")


def _fill(db: Db) -> None:
    """Some hours of everything that a frame can hold, with late samples and conflicts of blocks."""
    chance = random.Random(4)
    start_ms = NOW_MS - 12 * HOUR_MS
    walk = [0.0] * 40
    for k in range(2200):
        time_ms = start_ms + 15_000 * k
        rows: list[tuple[int, int, Value]] = []
        for s in range(40 if k % 20 == 0 else 8):
            walk[s] += chance.choice((0, 1, 1, 2, 5, 90_000 if s == 3 else 7))
            values = (
                walk[s], walk[s] / 100, 4096.0 * walk[s], 7.25, chance.random(),
                chance.gauss(0, 1e-9), math.nan if k % 90 == 1 else walk[s],
                -0.0 if k % 5 else 1e300,
            )  # fmt: skip
            rows.append((s, time_ms + (s == 5) * chance.randrange(900), values[s % 8]))
        rows += [(50, time_ms, histogram(k)), (51, time_ms, Started(1.0, start_ms))] * (k % 40 == 0)
        append(db, *rows)
        if k % 700 == 699:
            append(db, (0, start_ms + 7, 99.0), (1, start_ms, -1.0))
            db.maintain()


def test_a_reader_written_from_the_document_reads_what_we_read(tmp_path: Path) -> None:
    """Every float of every block, bit for bit, before and after merges; by checksums, too."""
    store = open_store(tmp_path)
    db = store.tenant_for_write("t")
    _fill(db)
    db.seal_head(math.inf)
    expected = everything(db)
    for merges in (False, True):
        if merges:
            db.merge(math.inf)
            assert db.stats().merges
        found = independent_reader.read_tenant(tmp_path / "tenants/t")
        assert {Labels.of(dict(labels)) for labels in found} == expected.keys()
        for labels, own in found.items():
            ours = expected[Labels.of(dict(labels))]
            assert own.keys() == ours.keys()
            for time_ms, bits in own.items():
                is_ticket = bits >> 48 == 0x7FFF and isinstance(ours[time_ms], tuple)
                assert bits == ours[time_ms] or is_ticket
    store.close()


def test_the_reader_is_short_and_knows_nothing_of_ours() -> None:
    """At most 60 lines of code; neither it nor what reads its frames imports the program."""
    sources = [inspect.getsource(one) for one in (independent_reader, frame_reader)]
    for source in sources:
        imports = [line.split()[1] for line in source.splitlines() if _IMPORT.match(line)]
        assert imports
        assert not {name.split(".")[0] for name in imports} & set(ROOMS)
    code = re.sub(r'\s*""".*?"""', "", sources[0], flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= MOST_LINES
