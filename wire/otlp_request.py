"""MetricsRequest: what one OTLP request comes to, and why some of its points do not."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch, build_batch
from series.labels import METRIC_NAME, Labels
from series.metadata import Metadata
from series.ports import Refusal
from wire.otlp_labels import RefusedError

MAX_SHOWN_REFUSALS = 10

_NOTHING = build_batch(())
_NONE = np.zeros(0, dtype=np.int64)


@dataclass(slots=True)
class MetricsRequest:
    """One decoded request.

    - ``batch``: the samples of the accepted points, with canonical keys; a series may occur twice.
    - ``metadata``: by metric name, of what was not told yet.
    - ``points``: how many data points there were; ``refused`` counts those that cannot be stored,
      by reason; ``refusals`` shows the first.
    - ``skipped``: what is in order and not kept, counted by kind.
    """

    batch: SeriesBatch = _NOTHING
    metadata: dict[str, Metadata] = field(default_factory=dict)
    points: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    told: tuple[NDArray[np.bool_], NDArray[np.int64]] = (_NONE.astype(np.bool_), _NONE)
    """The translator's marks of metrics that need not be told again, and those of ``metadata``."""

    @property
    def refused_points(self) -> int:
        return sum(self.refused.values())

    def confirm(self) -> None:
        """The metadata is stored; the translator need not tell it again."""
        marks, ids = self.told
        marks[ids] = True

    def refuse(self, reason: str, detail: str, metric: str, points: int, time_ms: int) -> None:
        """Counts *points* of *metric* as refused."""
        self.refused[reason] = self.refused.get(reason, 0) + points
        if len(self.refusals) < MAX_SHOWN_REFUSALS:
            labels = Labels.of({METRIC_NAME: metric})
            self.refusals.append(Refusal(reason, f'{detail}, metric "{metric}"', labels, time_ms))

    def refuse_each(
        self,
        points: NDArray[np.int64],
        errors: Sequence[RefusedError],
        times_ms: NDArray[np.int64],
        name: Callable[[int], str],
    ) -> None:
        """Refuses *points*, each by its own error, a line for each error among the first.

        *name* tells what the metric of a point is called.
        """
        counts = Counter(errors)
        firsts = dict(zip(reversed(errors), reversed(points.tolist()), strict=True))
        for error, count in counts.items():
            if len(self.refusals) < MAX_SHOWN_REFUSALS:
                point = firsts[error]
                metric, time_ms = name(point), int(times_ms[point])
                self.refuse(error.reason, error.detail, metric, count, time_ms)
            else:
                self.refused[error.reason] = self.refused.get(error.reason, 0) + count
