"""anchored and smoothed windows against plain Python."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.ast import Edge
from promql.edges import edge_rollup, edge_windows, smooth_lookup
from promql.notes import ExecutionError
from promql.rollup import Windows
from series.batch import SeriesBatch, build_batch
from series.frame import LabelFrame
from series.labels import Labels
from tests.examples import examples
from tests.promql.matrices import Bench

Samples = list[tuple[int, float]]
RANGE_MS, LOOKBACK_MS = 4_000, 6_000
ENDS_MS = np.arange(15, dtype=np.int64) * 2_000

series = st.lists(
    st.dictionaries(
        st.integers(0, 24).map(lambda tick: tick * 1_000),
        st.sampled_from([0.0, 1.0, 2.0, 5.0, 9.0, -1.0]),
        max_size=10,
    ).map(lambda row: sorted(row.items())),
    min_size=1,
    max_size=3,
)


def batch_of(rows: list[Samples]) -> SeriesBatch:
    return build_batch([(Labels(), [t for t, _ in row], [v for _, v in row]) for row in rows])


def line(a: tuple[int, float], b: tuple[int, float], when: int, counter: bool) -> float:
    first = 0.0 if counter and b[1] < a[1] else a[1]
    return first + (b[1] - first) * (when - a[0]) / (b[0] - a[0])


def edges(row: Samples, end: int, smoothed: bool, counter: bool) -> list[float] | None:
    """The values from the left edge to the right one, edges included."""
    begin = end - RANGE_MS
    before = [s for s in row if begin - LOOKBACK_MS < s[0] <= begin][-1:]
    inside = [s for s in row if begin < s[0] <= end]
    after = [s for s in row if end < s[0] <= end + LOOKBACK_MS][:1] if smoothed else []
    if inside and inside[-1][0] == end:
        after = []
    known = before + inside + after
    if not inside and not after:
        return None
    values = [v for _, v in inside]
    if before and smoothed and before[0][0] < begin:
        values.insert(0, line(known[0], known[1], begin, counter))
    elif before:
        values.insert(0, before[0][1])
    if after and len(known) > 1:
        values.append(line(known[-2], known[-1], end, counter))
    elif after:
        values.append(after[0][1])
    return values


def expected(name: str, row: Samples, end: int, smoothed: bool) -> float | None:
    counter = name in ("rate", "increase")
    values = edges(row, end, smoothed, counter)
    if values is None:
        return None
    if name == "changes":
        return float(sum(a != b for a, b in pairwise(values)))
    falls = [a for a, b in pairwise(values) if b < a]
    if name == "resets":
        return float(len(falls))
    rise = values[-1] - values[0] + (sum(falls) if counter else 0.0)
    return rise / (RANGE_MS / 1000) if name == "rate" else rise


@pytest.mark.parametrize(
    ("name", "edge"),
    [(name, Edge.ANCHORED) for name in ("rate", "increase", "delta", "changes", "resets")]
    + [(name, Edge.SMOOTHED) for name in ("rate", "increase", "delta")],
)
@examples(80)
@given(rows=series)
def test_edges_give_the_values_between_which_is_counted(
    name: str, edge: Edge, rows: list[Samples]
) -> None:
    """Anchored edges are samples, smoothed ones lie on the lines between samples."""
    plain = Windows.over(batch_of(rows), ENDS_MS, ENDS_MS, RANGE_MS)
    windows = edge_windows(plain, edge, LOOKBACK_MS)
    values, present = edge_rollup(name, edge).run(windows)
    for r, row in enumerate(rows):
        for k, end in enumerate(ENDS_MS.tolist()):
            want = expected(name, row, end, edge is Edge.SMOOTHED)
            assert present[r, k] == (want is not None)
            assert want is None or math.isclose(values[r, k], want, abs_tol=1e-12)


@examples(80)
@given(series)
def test_smoothed_selectors_interpolate(rows: list[Samples]) -> None:
    """Between samples a line, after the last one its value, before the first one nothing."""
    frame = LabelFrame.empty_labels(len(rows))
    found = smooth_lookup(frame, batch_of(rows), ENDS_MS, LOOKBACK_MS, Bench().env)
    for r, row in enumerate(rows):
        for k, end in enumerate(ENDS_MS.tolist()):
            before = [s for s in row if end - LOOKBACK_MS < s[0] <= end][-1:]
            after = [s for s in row if end < s[0] <= end + LOOKBACK_MS][:1]
            assert found.present[r, k] == bool(before)
            if before:
                exact = not after or before[0][0] == end
                want = before[0][1] if exact else line(before[0], after[0], end, False)
                assert math.isclose(found.values[r, k], want, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("edge", "text"),
    [
        (
            Edge.ANCHORED,
            "anchored modifier can only be used with: changes, delta, increase, rate, resets "
            "- not with deriv",
        ),
        (
            Edge.SMOOTHED,
            "smoothed modifier can only be used with: delta, increase, rate - not with deriv",
        ),
    ],
)
def test_other_functions_refuse_edges(edge: Edge, text: str) -> None:
    """The error names the functions that accept the modifier."""
    with pytest.raises(ExecutionError) as error:
        edge_rollup("deriv", edge)
    assert str(error.value) == text
