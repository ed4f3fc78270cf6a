"""Wal: the write-ahead log of one tenant, a directory of numbered segments.

A segment is self-contained and is deleted whole. A new one begins with the first record after the
program started, after a seal, after a failed write and where the old one is full. What ``append``
returned from is durable and will be found by ``replay``; what it failed with will not.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tsdb.files import Files
from tsdb.log import records
from tsdb.log.records import Damage, Record, Section, SegmentStart
from tsdb.view.part import NEVER_MS

_NAME = re.compile(r"(\d{10})\.wal")


@dataclass(slots=True)
class Segment:
    """One segment on disk; ``size_bytes`` count, ``max_time_ms`` is that of its latest sample."""

    number: int
    path: Path
    size_bytes: int
    max_time_ms: int = NEVER_MS
    has_void: bool = False
    """Whether bytes that do not count may stand behind its end."""


@dataclass(slots=True)
class ReplayReport:
    """What a replay found; plain numbers for the log and for /metrics."""

    segments: int = 0
    records: int = 0
    samples: int = 0
    damaged_bytes: int = 0
    torn_bytes: int = 0
    lost_samples: int = 0
    """Samples whose series was named in a damaged record."""
    messages: list[str] = field(default_factory=list)

    def note(self, segment: Segment, damage: Damage, *, is_torn: bool) -> None:
        """Counts bytes that were skipped; *is_torn* where nobody was told that they are kept."""
        what = "torn tail" if is_torn else "damage"
        self.messages.append(
            f"{what} in {segment.path}: skipped {damage.size_bytes} bytes at {damage.offset}"
        )
        if is_torn:
            self.torn_bytes += damage.size_bytes
        else:
            self.damaged_bytes += damage.size_bytes


class Wal:
    """The segments of one tenant; used by one thread at a time, but for ``remove``."""

    def __init__(
        self, directory: Path, files: Files, segment_bytes: int, *, last_number: int = 0
    ) -> None:
        """*last_number*: segments up to it have existed; new ones get higher numbers."""
        self.directory = directory
        self._files = files
        self._segment_bytes = segment_bytes
        self._fd = -1
        self._made_directory = False
        self.segments: list[Segment] = []
        """All that stand on disk, in order; the last one may be open."""
        for name in files.listdir(directory):
            if match := _NAME.fullmatch(name):
                path = directory / name
                self.segments.append(Segment(int(match[1]), path, files.size_bytes(path)))
        self._last_number = max([last_number, *(s.number for s in self.segments)])
        self._previous_end = self.segments[-1].size_bytes if self.segments else 0
        self.fsyncs = 0
        self.failures = 0

    @property
    def last_number(self) -> int:
        """The number of the last segment that holds records, or ever did."""
        return self._last_number

    @property
    def size_bytes(self) -> int:
        return sum(segment.size_bytes for segment in self.segments)

    def open_segment(self) -> int:
        """The number of the segment that the next record goes to."""
        if self._fd >= 0 and self.segments[-1].size_bytes < self._segment_bytes:
            return self._last_number
        return self._last_number + 1

    def append(self, sections: Sequence[Section], max_time_ms: int) -> None:
        """Writes *sections* as a record and syncs; OSError where that failed.

        It goes to the segment that ``open_segment`` named. After a failure nothing of it counts,
        and the next record begins a new segment.
        """
        record = records.encode_record(sections)
        if self.open_segment() != self._last_number:
            self.close_segment()
            self._write_first(record)
        else:
            try:
                self._files.write(self._fd, [record])
                self._files.fdatasync(self._fd)
            except OSError:
                self._abandon()
                raise
        segment = self.segments[-1]
        segment.size_bytes += len(record)
        segment.max_time_ms = max(segment.max_time_ms, max_time_ms)
        self._previous_end = segment.size_bytes
        self.fsyncs += 1

    def close_segment(self) -> None:
        """The next record begins a new segment."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._files.close(fd)

    def covered(self, through: int, sealed_until_ms: int) -> list[Segment]:
        """The segments up to number *through* of which all is before *sealed_until_ms*.

        Without those that are needed to tell where a segment ends that has to stay.
        """
        covered: list[Segment] = []
        kept: Segment | None = None
        for segment in tuple(self.segments):
            ends_kept = kept is not None and kept.has_void and kept.number + 1 == segment.number
            if segment.number > through or segment.max_time_ms >= sealed_until_ms or ends_kept:
                kept = segment
            else:
                covered.append(segment)
        return covered

    def remove(self, segment: Segment) -> None:
        """Deletes a segment that is covered by blocks; another thread may append meanwhile."""
        self._files.unlink(segment.path)
        self.segments.remove(segment)

    def replay(self, segment: Segment, report: ReplayReport) -> Iterator[list[Section]]:
        """The sections of every sound record of a segment that stood there at the start.

        Damage is skipped and counted in *report*; records behind it are found again.
        """
        data = self._files.read(segment.path)
        acknowledged = self._acknowledged_bytes(segment)
        end = len(data) if acknowledged is None else min(len(data), acknowledged)
        segment.has_void = end < len(data)
        segment.size_bytes = end
        sound_end = 0
        report.segments += 1
        for found in records.scan(data, end):
            if isinstance(found, Record):
                report.records += 1
                sound_end = found.end
                yield list(records.sections(found.payload))
            else:
                report.note(segment, found, is_torn=found.is_tail and acknowledged is None)
        if acknowledged is not None and acknowledged > end:
            report.note(segment, Damage(end, acknowledged - end, True), is_torn=False)
        if segment is self.segments[-1]:
            self._previous_end = sound_end

    def _acknowledged_bytes(self, segment: Segment) -> int | None:
        """How much of a segment counts, as the next one tells; None where that is not known."""
        for later in self.segments:
            if later.number == segment.number + 1:
                start = self._start_of(later)
                return None if start is None else start.previous_end
        return None

    def _start_of(self, segment: Segment) -> SegmentStart | None:
        fd = self._files.open(segment.path)
        try:
            head = self._files.pread(fd, 256, 0)
        finally:
            self._files.close(fd)
        first = next(records.scan(head, len(head)), None)
        if isinstance(first, Record) and first.offset == 0:
            for section in records.sections(first.payload):
                if section.kind == records.SEGMENT:
                    return records.decode_segment(section.content)
        return None

    def _write_first(self, record: bytes) -> None:
        """Makes the next segment with its first record; leaves nothing where that fails."""
        number = self._last_number + 1
        path = self.directory / f"{number:010d}.wal"
        start = records.encode_segment(SegmentStart(number, self._previous_end))
        header = records.encode_record([start])
        try:
            if not self._made_directory:
                self._files.mkdir(self.directory)
                self._made_directory = True
            if self._files.exists(path):
                self._files.unlink(path)
            self._fd = self._files.create(path)
            self._files.write(self._fd, [header, record])
            self._files.fdatasync(self._fd)
            self._files.sync_directory(self.directory)
        except OSError:
            self.failures += 1
            self.close_segment()
            self._try(lambda: self._files.unlink(path))
            raise
        self._last_number = number
        self.segments.append(Segment(number, path, len(header)))

    def _abandon(self) -> None:
        """Leaves the open segment at its last acknowledged byte; what stands behind is void.

        Cutting it off only saves space: the start of the next segment names that byte.
        """
        self.failures += 1
        segment = self.segments[-1]
        segment.has_void = True
        self.close_segment()
        self._try(lambda: self._files.truncate(segment.path, segment.size_bytes))

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError:
            self.failures += 1
