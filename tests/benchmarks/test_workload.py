"""The benchmark's workload holds what its description promises."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.queries import QUERIES
from benchmarks.remote_write import varint
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
    for query in QUERIES:
        for repetition in range(query.repetitions + 1):
            asked = query.parameters(workload, repetition)
            for name in {"start", "end", "time"} & asked.keys():
                at_ms = round(float(asked[name]) * 1000)
                assert at_ms % 100 == 0
                assert workload.start_ms <= at_ms <= workload.end_ms


@pytest.mark.parametrize("samples", [30, 50, 100, 150])
def test_small_requests_hold_parts_of_scrapes_in_order(samples: int) -> None:
    """No request is larger than asked for; together they hold every sample, in order."""
    small = Workload(instances=2, span_s=60, samples_per_request=samples, start_ms=SMALL.start_ms)
    seen: dict[bytes, list[int]] = {}
    for _, body, count in small.bodies():
        batch = decode(body).batch
        assert batch.sample_count == count <= samples
        for row in range(batch.series_count):
            seen.setdefault(batch.key(row), []).extend(batch.row_times_ms(row).tolist())
    assert len(seen) == 200
    for instance in range(2):
        for labels in labels_of(instance):
            assert seen[Labels.of(labels).key] == small.times_ms(instance).tolist()


def test_replaced_instances_go_on_under_another_name() -> None:
    """With churn every instance stops at its tick, and its successor's counters begin at 0."""
    churned = replace(SMALL, churn=1.0)
    assert churned.series == 2 * SMALL.series and churned.samples == SMALL.samples
    ends: dict[bytes, list[int]] = {}
    for _, body, _ in churned.bodies():
        batch = decode(body).batch
        for row in range(batch.series_count):
            ends.setdefault(batch.key(row), []).extend(batch.row_times_ms(row).tolist())
    for instance in range(SMALL.instances):
        at = churned.replaced_at(instance)
        assert at is not None
        times = churned.times_ms(instance).tolist()
        assert ends[Labels.of(labels_of(instance)[0]).key] == times[:at]
        assert ends[Labels.of(labels_of(instance, successor=True)[0]).key] == times[at:]
        assert (values_of(churned, instance)[at, :70] == 0).all()
        assert values_of(churned, instance)[:, :70].min() >= 0


def test_only_the_chosen_classes_are_sent() -> None:
    """Counts of series and samples are those of the classes."""
    noise = replace(SMALL, classes=("noise", "constants"))
    assert noise.series == SMALL.instances * 15
    keys: set[bytes] = set()
    total = 0
    for _, body, count in noise.bodies():
        batch = decode(body).batch
        total += count
        keys |= {batch.key(row) for row in range(batch.series_count)}
    assert total == noise.samples
    assert keys == {
        Labels.of(labels).key
        for instance in range(SMALL.instances)
        for labels in labels_of(instance)
        if labels["__name__"] in ("node_cpu_usage", "machine_limit")
    }
