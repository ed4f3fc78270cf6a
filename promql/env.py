"""Env: what a running operator may know besides its inputs."""

from dataclasses import dataclass, replace

from promql.ast import Span
from promql.notes import Notes
from series.grid import Grid
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


@dataclass(frozen=True, slots=True)
class Env:
    """Passed down while a plan runs.

    - ``grid``: the steps that the operator at hand works on (a subquery has its own).
    - ``query``: the Grid of the whole query, for ``start()``, ``end()``, ``step()``, ``range()``.
    - ``is_range``: whether the asker sent a range query (``sort`` warns there).
    - ``span``: the expression at hand, for notes.
    """

    options: Options
    notes: Notes
    context: Context
    grid: Grid
    query: Grid
    is_range: bool
    span: Span

    def at(self, span: Span) -> "Env":
        return replace(self, span=span)

    def warn(self, text: str) -> None:
        self.notes.warn(text, self.span)

    def info(self, text: str) -> None:
        self.notes.info(text, self.span)
