"""BlockCache: what the blocks of all tenants share in memory, and its bounds.

Indexes, verified and decompressed frames (about as large as on disk, since they are still byte
planes) and open files. All are kept by last use; threads may use the cache at once.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsdb.files import Files
from tsdb.lru import Lru
from tsdb.memory import memory_bytes

Bytes = NDArray[np.uint8]
FrameKey = tuple[int, int]
"""A block's number in the process and the number of a frame in it."""


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
        open_files: int = 256,
    ) -> None:
        """At most so much is held; of indexes by default an eighth of the memory."""
        self.files = files
        self.frames: Lru[FrameKey, Bytes] = Lru(frame_bytes)
        self.indexes: Lru[int, Any] = Lru(
            memory_bytes() // 8 if index_bytes is None else index_bytes
        )
        """By the block's number in the process; what an index is, is the block's business."""
        self._max_files = open_files
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, _OpenFile] = OrderedDict()
        self._retired: deque[Path] = deque()

    @property
    def open_files(self) -> int:
        """How many files are open."""
        return len(self._open)

    def frame(self, key: FrameKey, load: Callable[[], Bytes]) -> Bytes:
        """The frame *key*, from memory or by *load*."""
        found = self.frames.get(key)
        if found is None:
            found = load()
            self.frames.put(key, found, found.nbytes)
        return found

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

    def retire(self, directory: Path) -> None:
        """Notes that nobody reads the block in *directory* any longer; ``sweep`` removes it.

        Does next to nothing, because it is called wherever the last reader happens to end.
        """
        self._retired.append(directory)

    def sweep(self) -> None:
        """Removes the files of blocks that were retired.

        OSError where the disk refuses; what is left is tried again by the next sweep.
        """
        error: OSError | None = None
        for _ in range(len(self._retired)):
            directory = self._retired.popleft()
            try:
                with self._lock:
                    file = self._open.pop(directory / "data", None)
                if file is not None:
                    self.files.close(file.fd)
                self.files.remove_tree(directory)
            except OSError as refused:
                self._retired.append(directory)
                error = refused
        if error is not None:
            raise error

    def close(self) -> None:
        """Lets go of all; nobody may be reading."""
        self.sweep()
        self.indexes.clear()
        self.frames.clear()
        with self._lock:
            self._close_surplus(0)

    def _close_surplus(self, keep: int) -> None:
        idle = (path for path, file in self._open.items() if file.users == 0)
        for path in list(idle)[: max(0, len(self._open) - keep)]:
            self.files.close(self._open.pop(path).fd)
