"""Exemplars that are loaded beside samples: they join those that are kept when the load ends."""

from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.sample import exemplar_file
from tsdb.sample.exemplar_admission import REFUSED, UNKNOWN_SERIES
from tsdb.sample.exemplar_file import Saved
from tsdb.sample.exemplars import Kept, Verdict
from tsdb.state import State


class ExemplarLoader:
    """Gathers exemplars; ``stored`` counts those that are kept, or were there already."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: deque[Kept] = deque(maxlen=state.exemplars.capacity)
        self.stored = 0
        self.refused: Counter[str] = Counter()

    def add(self, batch: SeriesBatch, stored: NDArray[np.bool_]) -> None:
        """Takes the exemplars of *batch* whose rows had samples that were *stored* (bool[S])."""
        exemplars = batch.exemplars
        if exemplars is None:
            return
        columns = zip(exemplars.rows.tolist(), exemplars.times_ms.tolist(), strict=True)
        for at, (row, time_ms) in enumerate(columns):
            if stored[row]:
                value, key = float(exemplars.values[at]), exemplars.key(at)
                self._waiting.append(Kept(batch.key(row), time_ms, value, key))
            else:
                self.refused[UNKNOWN_SERIES[0]] += 1

    def finish(self) -> None:
        """Makes them durable and visible; OSError where the disk refuses, then none is there."""
        if not self._waiting:
            return
        state, ring = self._state, self._state.exemplars
        waiting = [*self._waiting]
        self._waiting.clear()
        with state.commit:
            verdicts = ring.judge(waiting)
            pairs = [*zip(waiting, verdicts, strict=True)]
            taken = [one for one, verdict in pairs if verdict is Verdict.TAKEN]
            if taken:
                if not state.is_stored:
                    state.save_manifest(state.manifest)
                state.wal.close_segment()
                saved = Saved(state.wal.last_number, [*ring.all(), *taken][-ring.capacity :])
                exemplar_file.save(state.directory, saved, state.machine.files)
                state.exemplars_through = saved.through
                ring.add(taken)
        self.refused.update(REFUSED[one][0] for one in verdicts if one in REFUSED)
        self.stored += sum(one not in REFUSED for one in verdicts)
