"""Long work on matrices in parts, so that a query can be cancelled in between."""

from collections.abc import Iterator

from series.ports import Context

CELLS = 400_000
"""Points of a matrix that are worked on at once: some milliseconds."""

CELLS_PER_SAMPLE = 4
"""A matrix may have this many cells for every sample of a query's budget."""


def step_slices(rows: int, steps: int, context: Context) -> Iterator[slice]:
    """All *steps* of *rows* rows in order; raises where the query must stop."""
    return _slices(steps, CELLS // max(rows, 1), context)


def row_slices(rows: int, steps: int, context: Context) -> Iterator[slice]:
    """All *rows* of *steps* steps in order; raises where the query must stop."""
    return _slices(rows, CELLS // max(steps, 1), context)


def _slices(size: int, at_once: int, context: Context) -> Iterator[slice]:
    at_once = max(at_once, 1)
    for start in range(0, size, at_once):
        context.check()
        yield slice(start, min(start + at_once, size))
