"""The limit on series of one metric, against a dict of sets."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.batch import build_batch
from series.labels import Labels
from tests.examples import examples
from tests.tsdb.databases import HOUR_MS, NOW_MS, open_store
from tsdb.admission import SeriesLimit
from tsdb.metric_kernels import hash_metric_names
from tsdb.metric_limit import MetricLimit

names = st.sampled_from(["", "a", "b", "long_" * 40, "é"])
others = st.dictionaries(st.sampled_from(["A", "__n", "__name", "z"]), st.text("xy", max_size=3))


def labels_of(name: str, rest: dict[str, str]) -> Labels:
    return Labels.of({"__name__": name, **rest})


@given(st.lists(st.builds(labels_of, names, others), max_size=12))
def test_metric_names_are_found_and_told_apart(series: list[Labels]) -> None:
    """Wherever the name stands among the labels; equal names have equal hashes."""
    batch = build_batch((labels, [1], [1.0]) for labels in series)
    hashes = np.empty(len(series), dtype=np.uint64)
    spans = np.empty((len(series), 2), dtype=np.int64)
    hash_metric_names(batch.keys, batch.key_starts, batch.key_ends, np.uint64(7), hashes, spans)
    found = [batch.keys[a:b].tobytes().decode() if a >= 0 else "" for a, b in spans.tolist()]
    assert found == [labels.metric for labels in series]
    by_name = {labels.metric: one for labels, one in zip(series, hashes.tolist(), strict=True)}
    assert [by_name[labels.metric] for labels in series] == hashes.tolist()
    assert len(set(by_name.values())) == len(by_name)


@given(st.binary(max_size=40))
def test_nothing_is_read_beyond_a_malformed_key(key: bytes) -> None:
    """What is no key has no metric name, or one within it."""
    keys = np.frombuffer(key + b"\x0a\x7f" * 8, dtype=np.uint8).copy()
    hashes = np.empty(1, dtype=np.uint64)
    spans = np.empty((1, 2), dtype=np.int64)
    begin, end = np.zeros(1, dtype=np.int64), np.array([len(key)], dtype=np.int64)
    hash_metric_names(keys, begin, end, np.uint64(7), hashes, spans)
    start, stop = spans[0].tolist()
    assert (start, stop) == (-1, -1) or 0 <= start <= stop <= len(key)


rounds = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=8), max_size=6
)


@examples(30)
@given(rounds, st.integers(1, 4))
def test_each_metric_gets_as_many_series_as_the_limit(
    tmp_path_factory: pytest.TempPathFactory, requests: list[list[tuple[str, int]]], most: int
) -> None:
    """First come, first served; known series are stored, the others counted and named."""
    store = open_store(tmp_path_factory.mktemp("db"))
    db = store.tenant_for_write("acme")
    db.series_limit = SeriesLimit(of_metric=MetricLimit(most, "{metric} has {count}"))
    known: dict[str, set[int]] = {}
    for k, request in enumerate(requests):
        refused: Counter[str] = Counter()
        for name, number in request:
            series = known.setdefault(name, set())
            if number in series or len(series) < most:
                series.add(number)
            else:
                refused[name] += 1
        rows = [(labels_of(n, {"z": str(s)}), [NOW_MS - 1000 + k], [1.0]) for n, s in request]
        done = db.append(build_batch(rows)).result(30)
        assert done.samples == len(request) - refused.total()
        assert done.refused.get("max-series-per-metric", 0) == refused.total()
        assert len(done.refusals) == min(10, refused.total())
        for refusal in done.refusals:
            assert refusal.detail == f"{refusal.labels.metric} has {most}"
            assert refused[refusal.labels.metric] > 0
    store.close()


def test_series_that_fell_silent_make_room(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Once their samples are sealed; also where the limit came when they were there already."""
    now = [NOW_MS]
    store = open_store(
        tmp_path_factory.mktemp("db"),
        now_ms=lambda: now[0],
    )
    db = store.tenant_for_write("acme")

    def write(first: int, count: int) -> tuple[int, int]:
        rows = [
            (labels_of("m", {"z": str(n)}), [now[0]], [1.0]) for n in range(first, first + count)
        ]
        done = db.append(build_batch(rows)).result(30)
        return done.samples, done.refused.get("max-series-per-metric", 0)

    assert write(0, 5) == (5, 0)
    db.series_limit = SeriesLimit(of_metric=MetricLimit(3, "{metric} has {count}"))
    assert write(4, 2) == (1, 1)
    now[0] += 12 * HOUR_MS
    assert write(4, 1) == (1, 0)
    for _ in range(4):
        db.maintain()
    assert write(10, 5) == (2, 3)
    store.close()
