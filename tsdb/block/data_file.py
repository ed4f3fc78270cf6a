"""DataFile: the data file of a block while it is written."""

from pathlib import Path

import numpy as np

from tsdb.block.codec import frame_number
from tsdb.block.format import (
    DATA_HEADER,
    FrameKind,
    pack_column,
    pack_data_header,
    pack_trailer,
)
from tsdb.files import Files

_WRITE_BYTES = 1 << 20
_SYNC_BYTES = 16 << 20
"""After so much a sync: the log shares the disk, and would wait for gigabytes at the end."""


class DataFile:
    """Takes frames, one after the other; nothing counts before ``finish`` has returned."""

    def __init__(self, files: Files, path: Path, sequence: int) -> None:
        """Makes the file at *path* for block *sequence*; OSError as from all its methods."""
        self._files = files
        self._fd = files.create(path)
        self._is_open = True
        self._waiting = [pack_data_header(sequence)]
        self._waiting_bytes = DATA_HEADER.size
        self._unsynced_bytes = 0
        self.size_bytes = DATA_HEADER.size
        self.frame_bytes: list[int] = []
        self.frame_kinds: list[int] = []

    @property
    def next_frame(self) -> int:
        """The number of the frame that is added next."""
        return len(self.frame_bytes)

    def add(self, rest: bytes, kind: FrameKind) -> None:
        """Adds the next frame, of which *rest* is what follows its number."""
        number = frame_number(self.next_frame, rest)
        self.frame_bytes.append(len(number) + len(rest))
        self.frame_kinds.append(kind)
        self._write(number)
        self._write(rest)

    def section(self) -> list[bytes]:
        """What the index says of the frames."""
        return [
            pack_column(np.array(self.frame_bytes, dtype=np.int64)),
            pack_column(np.array(self.frame_kinds, dtype=np.int64)),
        ]

    def finish(self, index: bytes) -> None:
        """Writes what is left and a copy of the *index*; returns when all is durable."""
        self._write(index)
        self._write(pack_trailer(len(index)))
        self._flush()
        self._files.fdatasync(self._fd)

    def close(self) -> None:
        """Fine also where it was closed before."""
        if self._is_open:
            self._is_open = False
            self._files.close(self._fd)

    def _write(self, part: bytes) -> None:
        self._waiting.append(part)
        self._waiting_bytes += len(part)
        self.size_bytes += len(part)
        if self._waiting_bytes >= _WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._files.write(self._fd, self._waiting)
        self._unsynced_bytes += self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0
        if self._unsynced_bytes >= _SYNC_BYTES:
            self._files.fdatasync(self._fd)
            self._unsynced_bytes = 0
