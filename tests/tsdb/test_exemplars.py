"""Exemplars: the last ones of a tenant, judged as Prometheus does, as durable as samples."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from series.batch import SeriesBatch, build_batch
from series.exemplars import Exemplars
from series.labels import Labels
from series.matcher import Matcher, MatchType
from series.ports import Appended, Exemplar
from tests.tsdb.contents import bits_of
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    FaultyFiles,
    append,
    batch_of,
    everything,
    labels_of,
    open_store,
)
from tsdb.db import Db, DbOptions
from tsdb.log import records
from tsdb.log.records import LoggedExemplars
from tsdb.sample.exemplars import ExemplarRing, Kept
from tsdb.store import Store

_OLD_MS = NOW_MS - 4 * HOUR_MS
_ALL: tuple[Matcher, ...] = ()
_One = tuple[int, int, float, dict[str, str]]
"""Series number, time, value, labels."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def _db(store: Store) -> Db:
    return store.tenant_for_write("t")


def with_exemplars(batch: SeriesBatch, found: list[tuple[int, int, float, bytes]]) -> SeriesBatch:
    """*batch* with exemplars of (row, time, value, key of the labels)."""
    return replace(
        batch,
        exemplars=Exemplars(
            np.array([row for row, *_ in found], dtype=np.int64),
            np.array([time_ms for _, time_ms, _, _ in found], dtype=np.int64),
            np.array([value for _, _, value, _ in found], dtype=np.float64),
            np.frombuffer(b"".join(key for *_, key in found), dtype=np.uint8),
            np.cumsum([len(key) for *_, key in found], dtype=np.int64),
        ),
    )


def _send(db: Db, *found: _One, sample_ms: int = NOW_MS) -> Appended:
    """Appends exemplars with a sample of each of their series."""
    series = sorted({one[0] for one in found})
    batch = batch_of(*((s, sample_ms, 1.0) for s in series))
    rows = [(series.index(s), at, value, Labels.of(x).key) for s, at, value, x in found]
    return db.append(with_exemplars(batch, rows)).result(30)


def _all(db: Db | None, start_ms: int = 0, end_ms: int = 2**60) -> list[_One]:
    assert db is not None
    return [
        (int(of.labels.get("series")), one.time_ms, one.value, one.labels.as_dict())
        for of in db.view().exemplars([_ALL], start_ms, end_ms)
        for one in of.exemplars
    ]


def test_exemplars_are_read_by_series_and_time(store: Store) -> None:
    """Series in the order of their labels, both ends of the range included, any selector."""
    db = _db(store)
    sent = [(2, 5, 1.5, {"trace_id": "a"}), (1, 7, 2.5, {}), (2, 6, 0.5, {"é": "b"})]
    assert _send(db, *sent) == Appended(2, exemplars=3)
    assert _all(db) == [sent[1], sent[0], sent[2]]
    assert _all(db, 6, 7) == [sent[1], sent[2]]
    assert _all(db, 8, 9) == []
    one = Matcher(MatchType.EQUAL, "series", "001")
    two = Matcher(MatchType.REGEX, "series", ".*2")
    none = Matcher(MatchType.EQUAL, "__name__", "n")
    view = db.view()
    (found,) = view.exemplars([(two,)], 0, 5)
    assert found.labels == labels_of(2)
    assert found.exemplars == (Exemplar(Labels.of({"trace_id": "a"}), 1.5, 5),)
    assert len(view.exemplars([(one, none), (two,)], 0, 9)) == 1
    assert len(view.exemplars([(one,), (two,), ()], 0, 9)) == 2
    assert view.exemplars([(one, two), (none,)], 0, 9) == view.exemplars([], 0, 9) == []


def test_repeated_exemplars_are_dropped_without_a_word(store: Store) -> None:
    """Also an older one that is sent again beside the newest, and NaN."""
    db = _db(store)
    sent = [(1, 5, 1.0, {"a": "1"}), (1, 6, float("nan"), {"a": "2"}), (1, 6, 2.0, {"a": "3"})]
    for _ in range(2):
        assert _send(db, *sent, sent[0]) == Appended(1, exemplars=4)
    found = _all(db)
    assert [(at, bits_of(value), x) for _, at, value, x in found] == [
        (at, bits_of(value), x) for _, at, value, x in sent
    ]
    assert db.stats().exemplars == 3 and db.stats().appended_exemplars == 8


def test_refused_exemplars_leave_samples_and_others_alone(store: Store) -> None:
    """Each is named by its series and its reason, in Prometheus' words."""
    db = _db(store)
    _send(db, (1, 10, 1.0, {}))
    longest, too_long = {"a": "é" * 64, "b": "x" * 62}, {"a": "é" * 64, "b": "x" * 63}
    batch = build_batch([(labels_of(1), [NOW_MS + 1], [1.0]), (labels_of(7), [], [])])
    appended = db.append(
        with_exemplars(
            batch,
            [
                (0, 9, 1.0, Labels.of({"a": "late"}).key),
                (0, 10, 0.5, Labels.of({"a": "lower"}).key),
                (0, 12, 1.0, Labels.of(too_long).key),
                (0, 11, 1.0, Labels.of(longest).key),
                (0, 13, 1.0, b"no key"),
                (1, 14, 1.0, b""),
                (0, 14, 1.0, b""),
            ],
        )
    ).result(30)
    assert appended.samples == 1 and appended.exemplars == 2
    assert appended.refused == {
        "exemplar-out-of-order": 2,
        "exemplar-too-long": 1,
        "exemplar-malformed": 1,
        "exemplar-unknown-series": 1,
    }
    texts = {one.time_ms: (one.detail, one.labels) for one in appended.refusals}
    assert texts[9] == ("out of order exemplar", labels_of(1))
    assert texts[12] == (
        "label length for exemplar exceeds maximum of 128 UTF-8 characters",
        labels_of(1),
    )
    assert texts[14] == ("unknown series for exemplar", labels_of(7))
    assert [at for _, at, _, _ in _all(db)] == [10, 11, 14]
    assert db.stats().refused_samples == appended.refused


def test_exemplars_may_come_without_samples_of_known_series(store: Store) -> None:
    """As senders of remote write 1.0 do, in a row of their own."""
    db = _db(store)
    append(db, (1, NOW_MS, 1.0))
    batch = build_batch([(labels_of(1), [], []), (labels_of(2), [NOW_MS], [1.0])] * 2)
    sent = with_exemplars(batch, [(0, 5, 1.0, b""), (1, 6, 2.0, b""), (2, 7, 3.0, b"")])
    assert db.append(sent).result(30) == Appended(2, exemplars=3)
    assert _all(db) == [(1, 5, 1.0, {}), (1, 7, 3.0, {}), (2, 6, 2.0, {})]


def test_the_oldest_makes_place_for_the_newest(tmp_path: Path) -> None:
    """Over all series; where none are wanted none are kept."""
    store = open_store(tmp_path, options=DbOptions(max_exemplars=3))
    for k in range(5):
        _send(_db(store), (k % 2, 10 + k, float(k), {}))
    assert _all(_db(store)) == [(0, 12, 2.0, {}), (0, 14, 4.0, {}), (1, 13, 3.0, {})]
    store.close()
    store = open_store(tmp_path, options=DbOptions(max_exemplars=0))
    assert _send(_db(store), (0, 99, 1.0, {})) == Appended(1)
    assert _all(_db(store)) == []
    store.close()
    store = open_store(tmp_path, options=DbOptions(max_exemplars=1))
    assert _all(store.tenant("t")) == [(0, 14, 4.0, {})]
    store.close()


def test_ring_judges_a_series_that_was_pushed_out_as_new() -> None:
    """An older exemplar of it is no longer out of order."""
    ring = ExemplarRing(1)
    first, other, older = Kept(b"a", 5, 1.0, b""), Kept(b"b", 1, 1.0, b""), Kept(b"a", 4, 1.0, b"")
    ring.add([first])
    assert [one.name for one in ring.judge([older, other])] == ["OUT_OF_ORDER", "TAKEN"]
    ring.add([other])
    assert [one.name for one in ring.judge([older, first, older])] == [
        "TAKEN",
        "TAKEN",
        "DUPLICATE",
    ]
    assert ring.all() == [other] and ring.count == 1


# Durability


def test_exemplars_outlive_restarts_and_seals(tmp_path: Path) -> None:
    """Also where the log that held them is gone, and where a part of them is still in it."""
    store = open_store(tmp_path)
    expected: list[_One] = []
    for round_number in range(4):
        old_ms = NOW_MS - 40 * HOUR_MS + round_number * 10 * HOUR_MS
        for k in range(3):
            one = (k, old_ms + k, float(round_number), {"round": str(round_number)})
            expected.append(one)
            assert _send(_db(store), one, sample_ms=old_ms + k).exemplars == 1
        assert append(_db(store), (9, old_ms + 8 * HOUR_MS, 1.0)).samples == 1
        if round_number:
            store.maintain()
            expected.append((9, round_number, 1.0, {}))
            _send(_db(store), expected[-1], sample_ms=old_ms + 8 * HOUR_MS)
        samples = everything(store.tenant("t"))
        for _ in range(2):
            store.close()
            store = open_store(tmp_path)
            assert _all(store.tenant("t")) == sorted(expected, key=lambda one: one[0])
            assert everything(store.tenant("t")) == samples
    assert (tmp_path / "tenants/t/exemplars").exists()
    assert len(list((tmp_path / "tenants/t/wal").iterdir())) < 8
    store.close()


def test_a_write_that_failed_leaves_no_exemplar(tmp_path: Path) -> None:
    """Nor is one refused later because of it."""
    files = FaultyFiles()
    store = open_store(tmp_path, files=files)
    db = _db(store)
    append(db, (0, NOW_MS, 1.0))
    files.fails = lambda act: act == "fdatasync"
    with pytest.raises(OSError, match="injected"):
        _send(db, (0, 9, 1.0, {}))
    files.fails = lambda act: False
    assert _all(db) == []
    assert _send(db, (0, 8, 1.0, {})).exemplars == 1
    store.close()
    store = open_store(tmp_path)
    assert _all(store.tenant("t")) == [(0, 8, 1.0, {})]
    store.close()


@pytest.mark.parametrize("act", ["create", "write", "fdatasync", "rename", "sync_directory"])
def test_the_log_stays_until_its_exemplars_are_saved(tmp_path: Path, act: str) -> None:
    """Where saving fails, the samples are sealed and the exemplars are still found."""
    files = FaultyFiles()
    store = open_store(tmp_path, files=files, options=DbOptions(wal_segment_bytes=1))
    db = _db(store)
    sent = (0, _OLD_MS, 1.0, {"a": "b"})
    _send(db, sent, sample_ms=_OLD_MS)
    append(db, (1, NOW_MS, 1.0))
    files.fails = lambda what: what == act and db.stats().blocks == 1
    with pytest.raises(ExceptionGroup):
        store.maintain()
    files.fails = lambda what: False
    samples = everything(db)
    store.close()
    for _ in range(2):
        store = open_store(tmp_path)
        assert _all(store.tenant("t")) == [sent]
        assert everything(store.tenant("t")) == samples
        store.close()


def test_a_damaged_file_costs_its_exemplars_only(tmp_path: Path) -> None:
    """Samples and later exemplars are there, and later ones are taken."""
    store = open_store(tmp_path)
    _send(_db(store), (0, 1, 1.0, {}), sample_ms=_OLD_MS)
    store.close()
    store = open_store(tmp_path)
    append(_db(store), (0, NOW_MS, 1.0))
    store.maintain()
    path = tmp_path / "tenants/t/exemplars"
    whole = path.read_bytes()
    _send(_db(store), (1, 2, 2.0, {}))
    samples = everything(store.tenant("t"))
    store.close()
    for content in (whole[:-1], whole[:60] + b"?" + whole[61:], b""):
        path.write_bytes(content)
        store = open_store(tmp_path)
        assert (1, 2, 2.0, {}) in _all(store.tenant("t"))
        assert everything(store.tenant("t")) == samples
        store.close()
    path.write_bytes(whole)
    store = open_store(tmp_path)
    assert _all(store.tenant("t")) == [(0, 1, 1.0, {}), (1, 2, 2.0, {})]
    assert _send(_db(store), (1, 3, 2.0, {})).exemplars == 1
    store.close()


def test_exemplars_survive_the_record() -> None:
    """And a reader that does not know them may skip them."""
    kept = [Kept(b"s", 5, float("nan"), Labels.of({"a": "b"}).key), Kept(b"t", -1, -0.0, b"")]
    section = records.encode_exemplars(LoggedExemplars.of(np.array([3, 2**31]), kept))
    assert not section.required
    (back,) = records.sections(records.encode_record([section])[24:])
    decoded = records.decode_exemplars(back.content)
    assert decoded.ids.tolist() == [3, 2**31]
    named = decoded.named([b"s", b"t"])
    assert all(one.is_same(other) for one, other in zip(named, kept, strict=True))
