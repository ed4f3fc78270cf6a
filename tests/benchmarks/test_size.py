"""The classes of the size benchmark make up the workload, and their entropies are right."""

import cramjam
import pytest

from benchmarks import entropy
from benchmarks.size import CLASSES, MIXES, belongs, bodies_of
from benchmarks.workload import SERIES_PER_INSTANCE, Workload, labels_of

SMALL = Workload(instances=2, span_s=600, start_ms=1_700_000_000_000, samples_per_request=500)


def test_each_series_is_in_one_class_and_in_the_whole_mix() -> None:
    """No series is left out or counted twice; the second mix lacks the noise only."""
    for labels in labels_of(0):
        assert sum(belongs(labels, title) for title in CLASSES) == 1
        assert belongs(labels, "whole mix")
        assert belongs(labels, "without noise") == (labels["__name__"] != "node_cpu_usage")


@pytest.mark.parametrize("title", [*MIXES, *CLASSES])
def test_requests_hold_the_samples_of_their_class(title: str) -> None:
    """Every tick of every series of the class is in the requests, and nothing else."""
    bodies = list(bodies_of(SMALL, title))
    series = sum(belongs(labels, title) for labels in labels_of(0))
    samples = series * SMALL.instances * SMALL.ticks
    assert sum(count for _, count in bodies) == samples
    text = b"".join(bytes(cramjam.snappy.decompress_raw(body)) for body, _ in bodies)
    assert text.count(b"__name__") == samples
    if title == "decimals":
        assert text.count(b"temperature_celsius") == samples


def test_entropies_are_those_of_the_distributions() -> None:
    """Of Poisson variables by sum and by the normal one, of the classes as computed by hand."""
    assert entropy.poisson_bits(1.0) == pytest.approx(1.8825, abs=1e-3)
    assert entropy.poisson_bits(190.0) == pytest.approx(entropy.poisson_bits(210.0), abs=0.08)
    found = entropy.bytes_per_sample(SMALL)
    assert found["memory_used_bytes"] == pytest.approx(0.8764, abs=1e-4)
    assert found["temperature_celsius"] == pytest.approx(0.744, abs=1e-3)
    assert 6.3 < found["node_cpu_usage"] < 6.6
    assert found["times"] * SERIES_PER_INSTANCE == pytest.approx(0.4324, abs=1e-4)
