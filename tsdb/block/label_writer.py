"""The labels of a block while it is written."""

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import METRIC_NAME
from tsdb.block.format import Section
from tsdb.block.label_sections import pack_labels
from tsdb.label.interner import Interner

Int64s = NDArray[np.int64]

_METRIC_NAME = np.frombuffer(METRIC_NAME.encode(), dtype=np.uint8)


class LabelWriter:
    """Interns the keys of rows in ascending order of their labels."""

    def __init__(self) -> None:
        self._interner = Interner()
        self._is_metric = np.zeros(0, dtype=np.bool_)

    @property
    def rows(self) -> int:
        return self._interner.rows

    def add(self, batch: SeriesBatch) -> Int64s:
        """Appends the rows of *batch*; returns the number of each one's metric, -1 without one."""
        interner = self._interner
        first = interner.rows
        interner.append(batch.keys, batch.key_starts, batch.key_ends)
        self._find_metrics()
        starts = interner.row_starts[first : interner.rows + 1]
        labels = interner.row_labels[starts[0] : starts[-1]]
        found = np.flatnonzero(self._is_metric[labels])
        metrics = np.full(batch.series_count, -1)
        metrics[np.searchsorted(starts, found + starts[0], side="right") - 1] = labels[found]
        return metrics

    def sections(self) -> dict[Section, list[bytes]]:
        """The sections of the index that hold all labels."""
        return pack_labels(self._interner.table())

    def _find_metrics(self) -> None:
        """Notes which of the labels that are new are values of the metric name."""
        interner, known = self._interner, len(self._is_metric)
        name_starts, name_ends, _ = interner.parts[known : interner.labels].T
        fresh = name_ends - name_starts == len(_METRIC_NAME)
        at = (interner.label_starts[known : interner.labels] + name_starts)[fresh]
        texts = interner.text[at[:, None] + np.arange(len(_METRIC_NAME))]
        fresh[fresh] = (texts == _METRIC_NAME).all(axis=1)
        self._is_metric = np.concatenate((self._is_metric, fresh))
