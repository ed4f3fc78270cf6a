"""BlockCache: what the blocks of all tenants share in memory, and its bounds.

Indexes, verified and unpacked frames (one or two bytes a sample of most data) and open files. All
are kept by last use; threads may use the cache at once.
"""

import copy
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tsdb import quarantine
from tsdb.block.frame_cache import FrameCache
from tsdb.block.row_cache import RowCache
from tsdb.damage import DamageNotes
from tsdb.files import Files
from tsdb.lru import Lru
from tsdb.memory import memory_bytes
from tsdb.open_files import kept_open

log = logging.getLogger("o11y.storage")


class CacheUse(NamedTuple):
    """How a cache is used: its size, and how often what was asked for was there, and was not."""

    name: str
    size_bytes: int
    hits: int
    misses: int


class _OpenFile:
    __slots__ = ("fd", "users")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.users = 0


class BlockCache:
    """See the module's head."""

    def __init__(
        self,
        files: Files,
        *,
        frame_bytes: int = 64 << 20,
        index_bytes: int | None = None,
        open_files: int | None = None,
        notes: DamageNotes | None = None,
    ) -> None:
        """At most so much is held; of indexes by default an eighth of the memory, of files 256 or
        an eighth of what the process may have open.

        *notes* hears of damage that is found by reading.
        """
        self.files = files
        self.notes = notes or DamageNotes()
        self.frames = FrameCache(frame_bytes)
        """By the block's number in the process, as all that follow."""
        self.rows = RowCache()
        self.indexes: Lru[int, Any] = Lru(
            memory_bytes() // 8 if index_bytes is None else index_bytes
        )
        """What an index is, is the block's business."""
        self._max_files = open_files or kept_open(256)
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, _OpenFile] = OrderedDict()
        self._retired: deque[tuple[Path, Collection[object]]] = deque()

    def apart(self, frame_bytes: int) -> "BlockCache":
        """This cache, but for frames of its own, up to *frame_bytes*."""
        twin = copy.copy(self)
        twin.frames = FrameCache(frame_bytes)
        return twin

    def uses(self) -> list[CacheUse]:
        """How indexes, frames and rows are used."""
        frames = self.frames
        return [
            use_of("indexes", self.indexes),
            CacheUse("frames", frames.size_bytes, frames.hits, frames.misses),
            use_of("rows", self.rows.held),
        ]

    @property
    def open_files(self) -> int:
        """How many files are open."""
        return len(self._open)

    @contextmanager
    def opened(self, path: Path) -> Iterator[int]:
        """A descriptor of *path* for reading, to be used inside the ``with`` only."""
        with self._lock:
            file = self._open.get(path)
            if file is None:
                file = self._open[path] = _OpenFile(self.files.open(path))
                file.users = 1
                self._close_surplus(self._max_files)
            else:
                self._open.move_to_end(path)
                file.users += 1
        try:
            yield file.fd
        finally:
            with self._lock:
                file.users -= 1

    def retire(self, directory: Path, damage: Collection[object] = ()) -> None:
        """Notes that nobody reads the block in *directory* any longer; ``sweep`` removes it.

        Where there was *damage* in it, its files go to the tenant's quarantine instead. Does next
        to nothing, because it is called wherever the last reader happens to end.
        """
        self._retired.append((directory, damage))

    def sweep(self) -> None:
        """Removes the files of blocks that were retired, or puts them in quarantine.

        OSError where the disk refuses; what is left is tried again by the next sweep.
        """
        error: OSError | None = None
        for _ in range(len(self._retired)):
            directory, damage = self._retired.popleft()
            try:
                with self._lock:
                    file = self._open.pop(directory / "data", None)
                if file is not None:
                    self.files.close(file.fd)
                if damage and self.files.exists(directory):
                    quarantine.keep(directory.parent.parent, directory, self.files)
                else:
                    self.files.remove_tree(directory)
            except OSError as refused:
                self._retired.append((directory, damage))
                error = refused
        if error is not None:
            raise error

    def close(self) -> None:
        """Lets go of all; nobody may be reading.

        Blocks that cannot be removed now go at the next start.
        """
        try:
            self.sweep()
        except OSError as error:
            log.warning("blocks that are no longer needed stay until the next start: %s", error)
        self.indexes.clear()
        self.frames.clear()
        with self._lock:
            self._close_surplus(0)

    def _close_surplus(self, keep: int) -> None:
        idle = (path for path, file in self._open.items() if file.users == 0)
        for path in list(idle)[: max(0, len(self._open) - keep)]:
            self.files.close(self._open.pop(path).fd)


def use_of(name: str, cache: Lru[Any, Any]) -> CacheUse:
    """How *cache* is used, shown as *name*."""
    return CacheUse(name, cache.size_bytes, cache.hits, cache.misses)
