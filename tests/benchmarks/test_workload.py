"""The benchmark's workload holds what its description promises."""

import numpy as np
import pytest

from benchmarks.queries import QUERIES, QUICK
from benchmarks.remote_write import varint
from benchmarks.report import advantage
from benchmarks.workload import Workload, labels_of, scrape_bytes, values_of, varint_columns
from series.labels import Labels
from wire.remote_write import decode

SMALL = Workload(instances=7, span_s=1800, samples_per_request=1000, start_ms=1_700_000_040_000)


@pytest.mark.parametrize("shards", [1, 3])
def test_requests_hold_every_sample_once_and_in_order(shards: int) -> None:
    """Decoded, the requests of all shards are the generated samples, each series in order."""
    seen: dict[bytes, list[tuple[int, float]]] = {}
    shard_of: dict[bytes, int] = {}
    total = 0
    for shard, body, samples in SMALL.bodies(shards):
        batch = decode(body).batch
        assert batch.sample_count == samples <= SMALL.samples_per_request
        total += samples
        for row in range(batch.series_count):
            key = batch.key(row)
            times, values = batch.row_times_ms(row).tolist(), batch.row_values(row).tolist()
            seen.setdefault(key, []).extend(zip(times, values, strict=True))
            assert shard_of.setdefault(key, shard) == shard
    assert total == SMALL.samples
    for instance in range(SMALL.instances):
        times, columns = SMALL.times_ms(instance).tolist(), values_of(SMALL, instance).T
        for column, labels in zip(columns, labels_of(instance), strict=True):
            wanted = list(zip(times, column.tolist(), strict=True))
            assert seen.pop(Labels.of(labels).key) == wanted
    assert not seen


def test_the_same_seed_gives_the_same_bytes() -> None:
    """A workload is made again by its parameters alone."""
    again = Workload(**{name: getattr(SMALL, name) for name in SMALL.__dataclass_fields__})
    assert (scrape_bytes(SMALL, 3) == scrape_bytes(again, 3)).all()
    assert [body for _, body, _ in SMALL.bodies()] == [body for _, body, _ in again.bodies()]


def test_no_sample_lies_near_a_tenth_of_a_second() -> None:
    """Instants at whole tenths are at least 10 ms away from every sample."""
    for instance in range(SMALL.instances):
        rest = SMALL.times_ms(instance) % 100
        assert rest.min() >= 10 and rest.max() <= 90


def test_some_instances_restart_and_counters_only_fall_then() -> None:
    """A counter falls at most once, all counters of an instance together."""
    restarts = 0
    for instance in range(60):
        falls = (np.diff(values_of(SMALL, instance)[:, :70], axis=0) < 0).any(axis=1)
        assert falls.sum() <= 1
        restarts += int(falls.sum())
    assert 4 <= restarts <= 24


def test_an_instance_has_the_series_that_the_description_counts() -> None:
    """100 different series: 50 counters, 20 buckets, 30 gauges."""
    names = [labels["__name__"] for labels in labels_of(11)]
    assert len({Labels.of(labels) for labels in labels_of(11)}) == 100
    assert names.count("http_requests_total") == 50
    assert names.count("http_request_duration_seconds_bucket") == 20


def test_times_are_varints() -> None:
    """The vectorised encoding is the plain one."""
    times = np.array([1 << 35, 1_700_000_000_123, (1 << 42) - 1], dtype=np.int64)
    assert [bytes(row) for row in varint_columns(times)] == [varint(int(t)) for t in times]


def test_queries_stay_inside_the_data_on_whole_tenths() -> None:
    """Every repetition of every query asks instants within the workload."""
    workload = Workload(start_ms=1_700_000_040_000)
    assert set(QUICK) <= {query.name for query in QUERIES}
    for query in QUERIES:
        for repetition in range(query.repetitions + 1):
            asked = query.parameters(workload, repetition)
            for name in {"start", "end", "time"} & asked.keys():
                at_ms = round(float(asked[name]) * 1000)
                assert at_ms % 100 == 0
                assert workload.start_ms <= at_ms <= workload.end_ms


def test_the_advantage_is_over_the_best_peer() -> None:
    """Above 1 where ours is better than every peer, below 1 where one peer is better."""
    row = {"o11y": 10.0, "prometheus": 20.0, "victoria-metrics": 5.0}
    assert advantage(row, more_is_better=False) == 0.5
    assert advantage(row, more_is_better=True) == 0.5
    assert advantage({"o11y": 10.0}, more_is_better=True) is None
