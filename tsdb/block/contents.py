"""Contents: numbers for distinct stretches of int64 numbers, over many calls."""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsdb.block import layout_kernels as kernels

Int64s = NDArray[np.int64]


class Numbered(NamedTuple):
    """``ids`` int64[n] of the stretches; ``firsts`` int64[new], where each new id came first."""

    ids: Int64s
    firsts: Int64s


class Contents:
    """Distinct stretches are numbered from 0 in the order of their first appearance.

    They are told apart by 128-bit hashes under a seed that nobody knows who could choose the
    numbers; so the stretches themselves need not be kept to be compared: that two of 2**40 meet by
    chance has a probability of 2**-49.
    """

    def __init__(self, seed: bytes) -> None:
        words = hashlib.blake2b(seed, digest_size=32, person=b"block contents").digest()
        self._seed = np.frombuffer(words, dtype=np.uint64)
        self._slots = np.zeros((64, 3), dtype=np.uint64)
        self._state = np.zeros(2, dtype=np.int64)

    @property
    def count(self) -> int:
        """How many are known."""
        return int(self._state[0])

    def number(self, numbers: Int64s, starts: Int64s, counts: Int64s) -> Numbered:
        """The numbers of the stretches ``numbers[starts[k] : starts[k] + counts[k]]``."""
        ids, firsts = np.empty((2, len(starts)), dtype=np.int64)
        self._state[1] = 0
        done = 0
        while True:
            done = kernels.number_contents(
                numbers, starts, counts, done, self._seed, self._slots, ids, firsts, self._state
            )
            if done == len(starts):
                return Numbered(ids, firsts[: self._state[1]])
            larger = np.zeros((4 * len(self._slots), 3), dtype=np.uint64)
            kernels.move_contents(self._slots, larger)
            self._slots = larger
