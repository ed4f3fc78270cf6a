"""Env: what a running operator may know besides its inputs."""

from dataclasses import dataclass, field, replace

from promql.ast import Span
from promql.notes import Notes
from series.grid import Grid
from series.immutable import immutable
from series.ports import Context


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of the engine; the flags carry the names of Prometheus' feature flags."""

    lookback_ms: int = 300_000
    default_step_ms: int = 60_000
    """The step of a subquery without one (Prometheus: the global evaluation interval)."""
    max_samples: int = 50_000_000
    delayed_name_removal: bool = False
    use_start_timestamps: bool = False
    type_and_unit_labels: bool = False


@immutable
class QueryTimes:
    """The times that the asker named: ``start()``, ``end()``, ``step()`` and ``range()``.

    The end need not fall on a step. ``step_ms`` is 0 in an instant query, whose start and end are
    its one instant.
    """

    start_ms: int
    end_ms: int
    step_ms: int
    grid: Grid = field(init=False, compare=False, repr=False)
    """The instants that the answer has."""

    def __post_init__(self) -> None:
        if self.is_range:
            grid = Grid.between(self.start_ms, self.end_ms, self.step_ms)
        else:
            grid = Grid.instant(self.start_ms)
        object.__setattr__(self, "grid", grid)

    @classmethod
    def instant(cls, at_ms: int) -> "QueryTimes":
        return cls(at_ms, at_ms, 0)

    @property
    def is_range(self) -> bool:
        return self.step_ms > 0

    @property
    def range_ms(self) -> int:
        return self.end_ms - self.start_ms


@immutable
class Env:
    """Passed down while a plan runs.

    - ``grid``: the steps that the operator at hand works on (a subquery has its own).
    - ``query``: the times of the whole query.
    - ``span``: the expression at hand, for notes.
    """

    options: Options
    notes: Notes
    context: Context
    grid: Grid
    query: QueryTimes
    span: Span

    def at(self, span: Span) -> "Env":
        return replace(self, span=span)

    def warn(self, text: str) -> None:
        self.notes.warn(text, self.span)

    def info(self, text: str) -> None:
        self.notes.info(text, self.span)
