"""What is read of a head over some time are the samples in it, and their newest where asked."""

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from series.batch import SeriesBatch
from tests.examples import examples
from tests.tsdb.contents import bits_of
from tests.tsdb.heads import SERIES, append_to, new_head
from tsdb.head.arena import Arena
from tsdb.head.head import Head

_PAGES_FULL = 300
"""Ticks that take several pages of a series."""

Samples = dict[int, dict[int, int]]
"""By series and time: the bits of the value."""


@st.composite
def _heads(draw: st.DrawFn) -> tuple[Head, Samples]:
    """A head whose series share most times, miss some of them, and have late samples."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    ticks = draw(st.sampled_from([0, 1, 63, 64, 65, 200, _PAGES_FULL]))
    missing = draw(st.sampled_from([0.0, 0.02, 0.5]))
    head, model = new_head(Arena(4096)), {s: {0: bits_of(0.0)} for s in range(SERIES)}
    _store(head, model, [(s, 0, 0.0) for s in range(SERIES)])
    for tick in range(1, ticks + 1):
        own = random.random(SERIES) >= missing
        value = float(random.normal())
        _store(head, model, [(s, 10 * tick, value + s) for s in range(SERIES) if own[s]])
    late = random.integers(0, 10 * ticks + 1, draw(st.integers(0, 5)))
    _store(head, model, [(int(t) % SERIES, int(t) // 10 * 10 + 3, 7.0) for t in late])
    return head, model


def _store(head: Head, model: Samples, samples: list[tuple[int, int, float]]) -> None:
    append_to(head, samples)
    for series, time_ms, value in samples:
        model[series].setdefault(time_ms, bits_of(value))


def _rows(batch: SeriesBatch) -> Iterator[dict[int, int]]:
    batch.check(rising=True)
    for row in range(batch.series_count):
        bits = batch.row_values(row).view(np.uint64).tolist()
        yield dict(zip(batch.row_times_ms(row).tolist(), bits, strict=True))


_TIMES = st.integers(-20, 10 * _PAGES_FULL + 20)
_REFS = st.lists(st.integers(0, SERIES - 1), unique=True, max_size=SERIES)


@examples(60)
@given(_heads(), _REFS, _TIMES, _TIMES)
def test_reads_hold_the_samples_of_their_time(
    made: tuple[Head, Samples], refs: list[int], start_ms: int, end_ms: int
) -> None:
    """Exactly those of the range; with *newest* the newest of each row, and none from outside."""
    head, model = made
    snapshot, asked = head.snapshot(), np.array(refs, dtype=np.int64)
    wanted = [
        {time_ms: bits for time_ms, bits in model[ref].items() if start_ms <= time_ms <= end_ms}
        for ref in refs
    ]
    assert [*_rows(snapshot.read(asked, start_ms, end_ms))] == wanted
    newest = [*_rows(snapshot.read(asked, start_ms, end_ms, newest=True))]
    for found, whole in zip(newest, wanted, strict=True):
        assert found.items() <= whole.items()
        assert max(found, default=None) == max(whole, default=None)


def test_the_newest_is_read_alone() -> None:
    """Where nothing came late, one sample a row is all that is read."""
    head, model = new_head(Arena(4096)), {s: dict[int, int]() for s in range(SERIES)}
    for tick in range(_PAGES_FULL):
        _store(head, model, [(s, 10 * tick, float(tick)) for s in range(SERIES)])
    batch = head.snapshot().read(np.arange(SERIES), 0, 2**60, newest=True)
    assert batch.sample_count == SERIES
    assert batch.times_ms.tolist() == [10 * (_PAGES_FULL - 1)]


def test_who_comes_in_the_middle_of_a_seal_expects_what_is_there() -> None:
    """A query goes by it: with nothing expected it would read all series at once."""
    head = new_head(Arena(4096))
    append_to(head, [(series, 1000 * k, 1.0) for k in range(100) for series in range(4)])
    head.hide_sealed(head.freeze(50_000), 50_000)
    snapshot = head.snapshot()
    refs = np.arange(4)
    there = snapshot.read(refs, 50_000, 100_000).sample_count
    assert there == 200
    assert snapshot.estimated_samples(snapshot.samples_of(refs), 50_000, 100_000) >= there
