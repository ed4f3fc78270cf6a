"""``python -m tests.tsdb.make_golden``: makes the golden directory of the present format.

It is made once a version of the format, and never again: what a release has written must open for
ever. Beside the data ``expected.json`` says what is in it.
"""

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from series.batch import SeriesBatch
from series.histogram import OFFSET
from series.labels import Labels
from series.metadata import Metadata
from tests.tsdb.contents import Content, Started, Value
from tests.tsdb.databases import HOUR_MS, NOW_MS, append, batch_of, everything, open_store
from tests.tsdb.test_deletions import series_is
from tests.tsdb.test_exemplars import with_exemplars
from tests.tsdb.test_histograms import histogram
from tsdb.db import Db, DbOptions
from tsdb.manifest import MANIFEST_VERSION

ROOT = Path(__file__).parent / "golden"
OPTIONS = DbOptions(retention_ms=0, max_late_samples=2, wal_segment_bytes=1500)
_MINUTE_MS = 60_000
_EXEMPLAR_LABELS = Labels.of({"trace_id": "ä1"}).key


def contents(db: Db | None) -> dict[str, Any]:
    """All that is in a database, in the form of ``expected.json``."""
    assert db is not None
    series = [
        [dict(labels), [[time_ms, _plain(one)] for time_ms, one in own.items()]]
        for labels, own in sorted(everything(db).items())
    ]
    exemplars = [
        [dict(of.labels), [[one.time_ms, one.value, dict(one.labels)] for one in of.exemplars]]
        for of in db.view().exemplars([()], 0, 2**60)
    ]
    metadata = {
        name: [known.type, known.help, known.unit] for name, known in sorted(db.metadata().items())
    }
    return {"series": series, "exemplars": exemplars, "metadata": metadata}


def _plain(one: Content) -> Any:
    return [_plain(part) for part in one] if isinstance(one, tuple) else one  # type: ignore[arg-type]


def _values(k: int) -> list[Value]:
    count = float(k * k * 7919 % 10_007)
    alike = tuple((OFFSET + at, count) for at in range(3))
    return [
        float(k * 7), k / 100, 7.25, float(4096 * (k % 90)), (k * 0.7310585786300049) % 1,
        float("nan") if k % 90 == 1 else k / 8, Started(float(k), NOW_MS - 50 * HOUR_MS),
        histogram(k % 40, buckets=alike),
    ]  # fmt: skip


def exemplified(batch: SeriesBatch, time_ms: int) -> SeriesBatch:
    """*batch* with an exemplar of its first row."""
    return with_exemplars(batch, [(0, time_ms, time_ms % 97 / 2, _EXEMPLAR_LABELS)])


def _fill(db: Db, first_ms: int, last_ms: int, step_ms: int) -> None:
    for time_ms in range(first_ms, last_ms, step_ms):
        k = (time_ms - first_ms) // step_ms
        samples = [(s, time_ms, value) for s, value in enumerate(_values(k))]
        batch = batch_of(*samples)
        db.append(batch if k % 20 else exemplified(batch, time_ms)).result(30)


def fill(data: Path) -> dict[str, Any]:
    """Makes the data: a merged block, blocks of two hours, a late one, a deletion, a log."""
    now = [NOW_MS - 40 * HOUR_MS]

    def until(hours_ago: int, step_minutes: int) -> None:
        last_ms = NOW_MS - hours_ago * HOUR_MS
        while now[0] < last_ms:
            _fill(db, now[0], now[0] + 2 * HOUR_MS, step_minutes * _MINUTE_MS)
            now[0] += 2 * HOUR_MS
            db.maintain()

    with mock.patch("tsdb.manifest.os.urandom", lambda count: bytes(range(count))):
        store = open_store(data, options=OPTIONS, now_ms=lambda: now[0])
        db = store.tenant_for_write("golden")
        db.put_metadata({"m": Metadata("gauge", "in the manifest", "seconds")}).result(30)
        until(16, 20)
        db.merge(float("inf"))
        assert db.stats().merges
        until(8, 12)
        _fill(db, now[0], now[0] + 2 * HOUR_MS, 10_001)
        now[0] += 4 * HOUR_MS
        late_ms = now[0] - 30 * HOUR_MS
        append(db, *((s, late_ms + s, 99.0) for s in range(3)), (0, now[0], 1.0))
        db.maintain()
        assert db.delete(series_is(1, 6), NOW_MS - 20 * HOUR_MS, NOW_MS - 10 * HOUR_MS)
        now[0] = NOW_MS - _MINUTE_MS
        for _ in range(2):
            _fill(db, now[0], now[0] + 3 * _MINUTE_MS, _MINUTE_MS)
            now[0] += 3 * _MINUTE_MS
        append(db, (0, NOW_MS - 39 * HOUR_MS, 5.0), (9, NOW_MS, float("inf")))
        db.put_metadata({"logged": Metadata("counter", "ä", "")}).result(30)
        assert {block.late for block in db.blocks} == {False, True}
        assert len(db.blocks) > 5 and db.stats().deletions_waiting == 1
        found = contents(db)
        store.close()
    (data / "lock").unlink()
    return found


def main() -> None:
    """Makes the directory; what is there already stays as it is, and that is an error."""
    directory = ROOT / f"v{MANIFEST_VERSION}"
    if directory.exists():
        sys.exit(f"{directory} is there: a golden directory is made once")
    found = fill(directory / "store")
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    (directory / "expected.json").write_text(text.replace("]],", "]],\n") + "\n")


if __name__ == "__main__":
    main()
