"""Reading a segment of the log in windows, so that memory is that of a window and a record."""

from collections.abc import Iterator
from pathlib import Path

from tsdb.files import Files
from tsdb.log import records
from tsdb.log.records import Damage, Record, SegmentStart
from tsdb.log.sound import is_sound
from tsdb.versions import UnsupportedFormat

_WINDOW_BYTES = 1 << 20
_START_BYTES = 256


def read_segment(
    path: Path, files: Files, end: int, window_bytes: int = _WINDOW_BYTES
) -> Iterator[Record | Damage]:
    """The records in the first *end* bytes of a file, in order, and what is damaged between them.

    Raises UnsupportedFormat, which names the file, for a record of a newer version.
    """
    fd = files.open(path)
    try:
        for found in records.scan_through(_Window(files, fd, end, window_bytes).bytes_at, end):
            if isinstance(found, Record) and not is_sound(found):
                yield Damage(found.offset, found.end - found.offset, False)
            else:
                yield found
    except UnsupportedFormat as error:
        raise UnsupportedFormat(f"{path}: {error}") from None
    finally:
        files.close(fd)


def segment_start(path: Path, files: Files) -> SegmentStart | None:
    """What a segment says in its first record; None where that is damaged."""
    first = next(read_segment(path, files, min(_START_BYTES, files.size_bytes(path))), None)
    if isinstance(first, Record) and first.offset == 0:
        for section in records.sections(first.payload):
            if section.kind == records.SEGMENT:
                return records.decode_segment(section.content)
    return None


class _Window:
    """The part of a file that is in memory; it moves to where bytes are asked for."""

    def __init__(self, files: Files, fd: int, end: int, window_bytes: int) -> None:
        self._files = files
        self._fd = fd
        self._end = end
        self._window_bytes = window_bytes
        self._start = 0
        self._bytes = b""

    def bytes_at(self, offset: int, size: int) -> bytes:
        """See ``records.BytesAt``; what is larger than a window is read past it."""
        size = min(size, self._end - offset)
        begin = offset - self._start
        if begin < 0 or begin + size > len(self._bytes):
            if size > self._window_bytes:
                return self._files.pread(self._fd, size, offset)
            wanted = min(self._window_bytes, self._end - offset)
            self._start, begin = offset, 0
            self._bytes = self._files.pread(self._fd, wanted, offset)
        return self._bytes[begin : begin + size]
