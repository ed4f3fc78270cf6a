"""Lru: what is worth keeping in memory, up to a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Values with their sizes, of which those stay that were used last; for all threads."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        """How often ``get`` found something, and how often not."""
        self.misses = 0
        self._bytes = 0
        self._lock = threading.Lock()
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """The size of all that is held."""
        return self._bytes

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._held.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._held.move_to_end(key)
            return found[0]

    def size_of(self, key: K) -> int:
        """The size of what is held as *key*; 0 for nothing. Does not count as a use."""
        found = self._held.get(key)
        return found[1] if found else 0

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Holds *value*, in the place of what was held as *key*.

        What is larger than all there is room for is not held, and drives nothing else away.
        """
        with self._lock:
            self._drop(key)
            if size_bytes > self.max_bytes:
                return
            self._held[key] = value, size_bytes
            self._bytes += size_bytes
            while self._bytes > self.max_bytes:
                self._drop(next(iter(self._held)))

    def drop(self, key: K) -> None:
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        with self._lock:
            self._held.clear()
            self._bytes = 0

    def _drop(self, key: K) -> None:
        _, size_bytes = self._held.pop(key, (None, 0))
        self._bytes -= size_bytes
