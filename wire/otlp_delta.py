"""Delta sums turned cumulative: one running total a series, in memory.

A total begins at 0 with the first delta that is seen, so a restart looks like a counter reset. The
number of totals is bounded: series without a delta for an hour give way to new ones.
"""

import numpy as np
from numpy.typing import NDArray

from wire import otlp_rows_kernels as kernels
from wire.otlp_keys import KeyTable

Numbers = NDArray[np.int64]

IDLE_MS = 3_600_000
"""A total without a delta for so long may be forgotten."""

_NEVER_MS = np.iinfo(np.int64).min


class DeltaTotals:
    """The running totals of one tenant's series. Not safe for threads."""

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._slots: dict[bytes, int] = {}
        self._free: list[int] = []
        self._totals = np.zeros(0)
        self._last_values = np.zeros(0)
        self._last_ms = np.zeros(0, dtype=np.int64)
        self._slot_of_key = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._slots)

    def forget_numbers(self) -> None:
        """The key table begins anew; the totals stay."""
        self._slot_of_key = np.zeros(0, dtype=np.int64)

    def add(
        self,
        table: KeyTable,
        keys: Numbers,
        times_ms: Numbers,
        values: NDArray[np.float64],
        now_ms: int,
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Replaces the deltas *values* of the series numbered *keys* by totals, in their order.

        Returns bool[n] twice: those that are not newer than the last one of their series, and
        those of series beyond the limit. Their values mean nothing.
        """
        slots = self._find(table, keys, now_ms)
        beyond = slots < 0
        known = np.flatnonzero(~beyond)
        chosen = values[known]
        late = np.zeros(len(known), dtype=np.bool_)
        kernels.accumulate(
            slots[known],
            times_ms[known],
            chosen,
            self._totals,
            self._last_values,
            self._last_ms,
            late.view(np.uint8),
        )
        values[known] = chosen
        old = np.zeros(len(keys), dtype=np.bool_)
        old[known] = late
        return old, beyond

    def _find(self, table: KeyTable, keys: Numbers, now_ms: int) -> Numbers:
        """The slot of each key, a new one where there is room; else negative."""
        missing = table.count - len(self._slot_of_key)
        if missing > 0:
            unasked = np.full(max(missing, len(self._slot_of_key)), -1, dtype=np.int64)
            self._slot_of_key = np.concatenate([self._slot_of_key, unasked])
        slots = self._slot_of_key[keys]
        unknown = np.unique(keys[slots < 0])
        if not len(unknown):
            return slots
        texts = [(key, table.key(key)) for key in unknown.tolist()]
        new = sum(text not in self._slots for _, text in texts)
        if len(self._slots) + new > self._max_series:
            in_use = [self._slots[text] for _, text in texts if text in self._slots]
            self._drop_idle(np.concatenate([slots[slots >= 0], in_use]).astype(np.int64), now_ms)
        for key, text in texts:
            self._slot_of_key[key] = self._slot(text)
        return self._slot_of_key[keys]

    def _slot(self, text: bytes) -> int:
        slot = self._slots.get(text)
        if slot is None:
            if len(self._slots) >= self._max_series:
                return -1
            slot = self._free.pop() if self._free else len(self._slots)
            self._slots[text] = slot
            if slot >= len(self._totals):
                more = max(64, len(self._totals))
                self._totals = np.concatenate([self._totals, np.zeros(more)])
                self._last_values = np.concatenate([self._last_values, np.zeros(more)])
                self._last_ms = np.concatenate([self._last_ms, np.full(more, _NEVER_MS)])
        return slot

    def _drop_idle(self, in_use: Numbers, now_ms: int) -> None:
        """Forgets what got no delta for IDLE_MS, but for the slots *in_use*."""
        idle = (self._last_ms != _NEVER_MS) & (self._last_ms < now_ms - IDLE_MS)
        idle[in_use] = False
        gone = np.flatnonzero(idle)
        if not len(gone):
            return
        self._slots = {text: slot for text, slot in self._slots.items() if not idle[slot]}
        self._free += gone.tolist()
        self._totals[gone] = 0
        self._last_ms[gone] = _NEVER_MS
        self._slot_of_key[(self._slot_of_key >= 0) & idle[self._slot_of_key]] = -1
