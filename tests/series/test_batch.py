"""SeriesBatch and Grid."""

import numpy as np
import pytest

from series.batch import STALE_NAN, STALE_NAN_BITS, build_batch
from series.grid import Grid
from series.labels import Labels


def test_a_built_batch_holds_its_rows() -> None:
    """Rows, keys and times come back as they were given, the stale marker bit for bit."""
    up, down = Labels.of({"__name__": "up"}), Labels.of({"__name__": "down", "a": "b"})
    batch = build_batch([(up, [1, 2], [1.0, STALE_NAN]), (down, [], [])])

    batch.check(rising=True)
    assert (batch.series_count, batch.sample_count) == (2, 2)
    assert Labels.from_key(batch.key(1)) == down
    assert batch.row_times_ms(0).tolist() == [1, 2]
    assert batch.row_values(0).view(np.uint64)[1] == STALE_NAN_BITS
    assert build_batch([]).series_count == 0


def test_rows_of_unequal_columns_are_refused() -> None:
    """A row needs as many times as values."""
    with pytest.raises(ValueError, match="as many times as values"):
        build_batch([(Labels(), [1], [])])


def test_a_grid_includes_its_end_only_on_a_step() -> None:
    """Steps are start + k * step up to and including the end."""
    grid = Grid.between(1_000, 10_500, 3_000)

    assert grid.times_ms().tolist() == [1_000, 4_000, 7_000, 10_000]
    assert (grid.end_ms, grid.shifted(-500).start_ms) == (10_000, 500)
    assert Grid.between(5, 4, 1).count == 0
    assert Grid.instant(7).times_ms().tolist() == [7]
