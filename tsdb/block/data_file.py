"""DataFile: the data file of a block while it is written."""

from pathlib import Path

from tsdb.block.format import DATA_HEADER, pack_data_header
from tsdb.files import Files

_WRITE_BYTES = 1 << 20


class DataFile:
    """Takes frames, one after the other; nothing counts before ``finish`` has returned."""

    def __init__(self, files: Files, path: Path, sequence: int) -> None:
        """Makes the file at *path* for block *sequence*; OSError as from all its methods."""
        self._files = files
        self._fd = files.create(path)
        self._waiting = [pack_data_header(sequence)]
        self._waiting_bytes = DATA_HEADER.size
        self.size_bytes = DATA_HEADER.size
        self.frame_bytes: list[int] = []

    @property
    def next_frame(self) -> int:
        """The number of the frame that is added next."""
        return len(self.frame_bytes)

    def add(self, frame: bytes) -> None:
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        self.size_bytes += len(frame)
        self.frame_bytes.append(len(frame))
        if self._waiting_bytes >= _WRITE_BYTES:
            self._flush()

    def finish(self) -> None:
        """Writes what is left; returns when all is durable."""
        self._flush()
        self._files.fdatasync(self._fd)

    def close(self) -> None:
        self._files.close(self._fd)

    def _flush(self) -> None:
        self._files.write(self._fd, self._waiting)
        self._waiting, self._waiting_bytes = [], 0
