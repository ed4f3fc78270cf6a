"""A source without what is old, against a filter in plain Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from series.batch import build_batch
from series.labels import Labels
from server.api.recent import without_earlier

rows = st.lists(st.sets(st.integers(0, 20), max_size=8).map(sorted), max_size=6)


@given(rows, st.integers(0, 21))
def test_earlier_samples_are_taken_out(times: list[list[int]], earliest_ms: int) -> None:
    """Row for row, with their values; a batch without any stays as it is."""
    batch = build_batch(
        (Labels.of({"n": str(n)}), row, [n * 100.0 + t for t in row]) for n, row in enumerate(times)
    )
    kept = without_earlier(batch, earliest_ms)
    kept.check(rising=True)
    assert kept.series_count == len(times)
    for n, row in enumerate(times):
        left = [t for t in row if t >= earliest_ms]
        assert kept.row_times_ms(n).tolist() == left
        assert kept.row_values(n).tolist() == [n * 100.0 + t for t in left]
    if all(t >= earliest_ms for row in times for t in row):
        assert kept is batch


def test_rows_that_share_their_times_get_their_own() -> None:
    """The shared stretch is cut for each of them."""
    batch = build_batch([(Labels.of({"n": n}), [1, 2, 3], [1.0, 2.0, 3.0]) for n in "ab"])
    shared = type(batch)(
        batch.values, batch.times_ms[:3], batch.offsets, np.zeros(2, dtype=np.int64)
    )
    kept = without_earlier(shared, 3)
    kept.check(rising=True)
    assert [kept.row_times_ms(n).tolist() for n in range(2)] == [[3], [3]]
    assert kept.values.tolist() == [3.0, 3.0]
