"""What an exposition page holds, whatever its format."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import Labels
from series.metadata import Metadata
from series.ports import Refusal

MAX_SHOWN_REFUSALS = 10
MALFORMED_LINE = "malformed-line"
"""The reason of a refused line, of which no series is known."""

_NORMAL_NAN_BITS = 0x7FF8000000000001
"""What Prometheus stores for every NaN of a page, so that none is taken for a stale marker."""


@dataclass(slots=True)
class Scraped:
    """One page, or one block of it.

    - ``batch``: a row with one sample for each sample of the page, in its order, with canonical
      keys; a series may occur twice. Samples without a time of their own share one time. Native
      histograms, starts and exemplars come in its columns.
    - ``explicit``: bool[S], whether the page names the sample's time.
    - ``metadata``: by metric family name.
    - ``refused``: what cannot be stored, counted by reason (MALFORMED_LINE counts lines);
      ``refusals`` shows the first ten.
    """

    batch: SeriesBatch
    explicit: NDArray[np.bool_]
    metadata: dict[str, Metadata] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def exemplars(self) -> int:
        """How many exemplars the page brings."""
        return 0 if self.batch.exemplars is None else self.batch.exemplars.size

    def refuse(self, reason: str, detail: str, labels: Labels, time_ms: int) -> None:
        """Counts one sample (or line) as refused."""
        self.refused[reason] = self.refused.get(reason, 0) + 1
        if len(self.refusals) < MAX_SHOWN_REFUSALS:
            self.refusals.append(Refusal(reason, detail, labels, time_ms))


def single_samples(
    keys: Sequence[bytes],
    values: Sequence[float],
    times_ms: Sequence[int | None],
    now_ms: int,
) -> tuple[SeriesBatch, NDArray[np.bool_]]:
    """The ``batch`` and ``explicit`` of a Scraped; None stands for a sample without a time."""
    explicit = np.array([time_ms is not None for time_ms in times_ms], dtype=np.bool_)
    named = [time_ms for time_ms in times_ms if time_ms is not None]
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    batch = SeriesBatch(
        values=normal_nans(np.array(values, dtype=np.float64)),
        times_ms=np.array([now_ms, *named], dtype=np.int64),
        offsets=np.arange(len(keys) + 1, dtype=np.int64),
        time_starts=np.where(explicit, np.cumsum(explicit), 0),
        keys=np.frombuffer(b"".join(keys), dtype=np.uint8),
        key_starts=np.concatenate([np.zeros(1, dtype=np.int64), ends])[: len(keys)],
        key_ends=ends,
    )
    return batch, explicit


def normal_nans(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """*values*, changed in place so that every NaN is Prometheus' normal one."""
    values.view(np.uint64)[np.isnan(values)] = _NORMAL_NAN_BITS
    return values


def with_more(batch: SeriesBatch, more: SeriesBatch, first: int) -> SeriesBatch:
    """*batch* with the histograms, starts and exemplars of *more*, whose rows begin at *first*."""
    ids, starts_ms, exemplars = more.histogram_ids, more.starts_ms, more.exemplars
    within = slice(first, first + more.series_count)
    if ids is not None:
        widened = np.full(batch.sample_count, -1, dtype=np.int64)
        widened[within] = ids
        batch = replace(batch, histogram_ids=widened, histograms=more.histograms)
    if starts_ms is not None:
        widened = np.zeros(batch.sample_count, dtype=np.int64)
        widened[within] = starts_ms
        batch = replace(batch, starts_ms=widened)
    if exemplars is not None:
        batch = replace(batch, exemplars=replace(exemplars, rows=exemplars.rows + first))
    return batch
