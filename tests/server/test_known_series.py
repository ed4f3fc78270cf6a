"""Which known series a decoder may be told of."""

import dataclasses

import numpy as np
import pytest

from series.batch import build_batch
from series.known import KnownRows
from series.labels import Labels
from server.access.limits import Limits
from server.answers.known_series import within_limits
from server.answers.sifting import Sifted, check_labels
from tests.server.conftest import NOW_MS, Asker
from tests.wire import encode
from tsdb.head.registry import Registry


def registry_of(*series: Labels) -> Registry:
    registry = Registry(b"seed")
    add(registry, *series)
    return registry


def add(registry: Registry, *series: Labels) -> None:
    batch = build_batch((labels, [0], [0.0]) for labels in series)
    ids, fingerprints = registry.look_up(batch)
    registry.add(batch, ids, fingerprints)
    registry.publish()


def named(count: int, **more: str) -> list[Labels]:
    return [Labels.of({"__name__": "m", "n": str(n), **more}) for n in range(count)]


def told(registry: Registry, limits: Limits) -> bool:
    """Whether a decoder is told of the series, all of them if so."""
    known = within_limits(registry.known, limits)
    assert known is None or known is registry.known
    return known is not None


def test_limits_are_asked_anew_when_they_change() -> None:
    """Series that broke them hide all, those that keep them are told of."""
    registry = registry_of(*named(3, long="x" * 50))
    for limits, expected in (
        (Limits(), True),
        (Limits(max_label_value_length=49), False),
        (Limits(max_label_value_length=50), True),
        (Limits(max_label_names_per_series=2), False),
        (Limits(max_label_name_length=7), False),
        (Limits(accept_ha_samples=True), False),
        (Limits(), True),
    ):
        assert told(registry, limits) == expected


def test_series_that_come_later_are_looked_at() -> None:
    """Each of them, before a decoder hears of any."""
    registry = registry_of(*named(3))
    assert told(registry, Limits())
    add(registry, *named(3, more="y"))
    assert told(registry, Limits())
    add(registry, Labels.of({"n": "without a name"}))
    assert not told(registry, Limits())


def test_many_series_are_looked_at_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits for one step only; nobody is told until all are seen."""
    monkeypatch.setattr("server.answers.known_series._STEP_SERIES", 4)
    registry = registry_of(*named(9))
    assert [told(registry, Limits()) for _ in range(4)] == [False, False, True, True]


def test_nothing_is_told_where_nothing_is_known() -> None:
    """An empty registry is no reason to look anything up."""
    assert not told(Registry(b"seed"), Limits())


def test_rows_that_are_all_known_are_not_judged_again() -> None:
    """As one unknown row may break a limit, its batch is judged whole."""
    batch = build_batch((labels, [0], [0.0]) for labels in named(2, long="x" * 50))
    known = registry_of(*named(2, long="x" * 50)).known
    strict = Limits(max_label_value_length=10)
    for ids, kept in (([0, 1], 2), ([0, -1], 0)):
        rows = KnownRows(known.numbering, np.array(ids, dtype=np.int32), min(ids) >= 0)
        sifted = Sifted(dataclasses.replace(batch, known=rows))
        check_labels(sifted, strict)
        assert sifted.batch.series_count == kept


def test_writes_of_known_series_are_stored(asker: Asker) -> None:
    """The first write makes them known, the second is decoded by that, a third brings one more."""
    for at in range(3):
        rows = [
            encode.Series(
                [(b"__name__", b"up"), (b"job", b"%d" % job)], [(NOW_MS - 3000 + at * 1000, at)]
            )
            for job in range(3 + at // 2)
        ]
        assert asker.write(*rows).status_code == 204
    assert asker.values("up") == {"0": "2", "1": "2", "2": "2", "3": "2"}
    assert asker.values("count_over_time(up[5m])") == {"0": "3", "1": "3", "2": "3", "3": "1"}
