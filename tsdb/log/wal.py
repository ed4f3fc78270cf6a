"""Wal: the write-ahead log of one tenant, a directory of numbered segments.

A segment is self-contained and is deleted whole. A new one begins with the first record after the
program started, after a seal, after a failed write and where the old one is full. What ``append``
returned from will be found by ``replay``; what it failed with will not. It is durable at once, or
with a later sync: the Wal does not outlive a failed one, see ``Wal.sync``.
"""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tsdb import quarantine
from tsdb.files import Files
from tsdb.log import records
from tsdb.log.log_reader import read_segment, segment_start
from tsdb.log.progress import ReplayProgress
from tsdb.log.records import Damage, Record, Section, SegmentStart
from tsdb.log.sync import NEVER_SYNC_MS
from tsdb.view.part import NEVER_MS

log = logging.getLogger("o11y.storage")

_NAME = re.compile(r"(\d{10})\.wal")
_ROOM_BYTES, _ROOM_RECORDS, _SMALL_BYTES = 1 << 18, 8, 1 << 20
"""So many zeros are written ahead at a time where more than so many records fit, to segments that
are no longer small: a sync of bytes in the place of others need not make a file's length durable.
"""


@dataclass(slots=True)
class Segment:
    """One segment on disk; ``size_bytes`` count, ``max_time_ms`` is that of its latest sample."""

    number: int
    path: Path
    size_bytes: int
    max_time_ms: int = NEVER_MS
    has_void: bool = False
    """Whether bytes that do not count may stand behind its end."""
    is_doubtful: bool = False
    """Whether a sync of acknowledged bytes failed: a crash may find them or not."""
    is_damaged: bool = False
    """Whether acknowledged bytes could not be read."""


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
            segment.is_damaged = True


class Wal:
    """The segments of one tenant; used by one thread at a time, but for ``remove``."""

    def __init__(
        self,
        directory: Path,
        files: Files,
        segment_bytes: int,
        *,
        last_number: int = 0,
        sync_ms: int = 0,
    ) -> None:
        """*last_number*: segments up to it have existed; new ones get higher numbers.

        *sync_ms*: 0 syncs with each record; else a sync is due so long after a record, by who
        calls ``sync``; with NEVER_SYNC_MS never.
        """
        self.directory = directory
        self._files = files
        self.segment_bytes = segment_bytes
        """A segment that has grown to this is closed."""
        self._sync_ms = sync_ms
        self._fd = -1
        self._room_end = 0
        """Where the zeros end that were written ahead to the open segment; 0 where none were."""
        self._made_directory = False
        self.segments: list[Segment] = []
        """All that stand on disk, in order; the last one may be open."""
        for name in files.listdir(directory):
            if match := _NAME.fullmatch(name):
                path = directory / name
                self.segments.append(Segment(int(match[1]), path, files.size_bytes(path)))
        self._last_number = max([last_number, *(s.number for s in self.segments)])
        self._previous_end = self.segments[-1].size_bytes if self.segments else 0
        self.unsynced_bytes = 0
        """What is acknowledged and waits for a sync."""
        self.sync_due_seconds = math.inf
        """When that sync is due, by ``time.monotonic``."""
        self.fsyncs = 0
        self.failures = 0

    @property
    def last_number(self) -> int:
        """The number of the last segment that holds records, or ever did."""
        return self._last_number

    @property
    def size_bytes(self) -> int:
        return sum(segment.size_bytes for segment in self.segments)

    @property
    def is_open(self) -> bool:
        """Whether a segment's file is open."""
        return self._fd >= 0

    @property
    def is_quick(self) -> bool:
        """Whether the next record goes to a segment that is open, and is synced later or never."""
        return self._sync_ms != 0 and self.open_segment() == self._last_number

    def skip_to(self, number: int) -> None:
        """Segments up to *number* have existed, as something else that is kept tells."""
        self._last_number = max(self._last_number, number)

    def open_segment(self) -> int:
        """The number of the segment that the next record goes to."""
        if self._fd >= 0 and self.segments[-1].size_bytes < self.segment_bytes:
            return self._last_number
        return self._last_number + 1

    def append(self, sections: Sequence[Section], max_time_ms: int) -> None:
        """Writes *sections* as a record, and syncs or remembers to; OSError where that failed.

        It goes to the segment that ``open_segment`` named. After a failure nothing of it counts,
        and the next record begins a new segment.
        """
        record = records.record_parts(sections)
        size_bytes = sum(map(len, record))
        if self.open_segment() != self._last_number:
            self.close_segment()
            self._write_first(record)
        else:
            try:
                if self._sync_ms == 0:
                    self._make_room(size_bytes)
                self._files.write(self._fd, record)
                if self._sync_ms == 0:
                    self._files.fdatasync(self._fd)
            except OSError:
                self._abandon()
                raise
            if self._sync_ms == 0:
                self.fsyncs += 1
            else:
                self._owe(size_bytes)
        segment = self.segments[-1]
        segment.size_bytes += size_bytes
        segment.max_time_ms = max(segment.max_time_ms, max_time_ms)
        self._previous_end = segment.size_bytes

    def sync(self) -> None:
        """Makes durable what was acknowledged without; raises nothing.

        Where that fails the same bytes are not synced again: a second sync would succeed and mean
        nothing. The segment is closed and ``is_doubtful`` from then on.
        """
        if self.unsynced_bytes == 0 or self._sync_ms == NEVER_SYNC_MS:
            return
        unsynced_bytes = self.unsynced_bytes
        self.unsynced_bytes, self.sync_due_seconds = 0, math.inf
        try:
            self._files.fdatasync(self._fd)
            self.fsyncs += 1
        except OSError as error:
            self.failures += 1
            segment = self.segments[-1]
            segment.is_doubtful = True
            log.error(
                "%s: the sync of %d acknowledged bytes failed (%s); "
                "their samples are in memory and are sealed at once",
                segment.path, unsynced_bytes, error,
            )  # fmt: skip
            self.close_segment()

    def close_segment(self) -> None:
        """The next record begins a new segment; what waits for its sync is synced."""
        self.sync()
        self.unsynced_bytes, self.sync_due_seconds = 0, math.inf
        if self._fd >= 0:
            if self._room_end:
                self._cut_open_segment()
            fd, self._fd = self._fd, -1
            self._try(lambda: self._files.close(fd))

    def is_doubtful(self, through: int, sealed_until_ms: int) -> bool:
        """Whether samples stand in a doubtful segment that do not stand in blocks.

        These are the samples before *sealed_until_ms* of segments up to number *through*.
        """
        return any(
            one.is_doubtful and (one.number > through or one.max_time_ms >= sealed_until_ms)
            for one in tuple(self.segments)
        )

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
        """Deletes a segment that is covered by blocks; another thread may append meanwhile.

        A damaged one goes to the tenant's quarantine.
        """
        if segment.is_damaged:
            quarantine.keep(self.directory.parent, segment.path, self._files)
        else:
            self._files.unlink(segment.path)
        self.segments.remove(segment)

    def replay(
        self, segment: Segment, report: ReplayReport, progress: ReplayProgress | None = None
    ) -> Iterator[list[Section]]:
        """The sections of every sound record of a segment that stood there at the start.

        Damage is skipped and counted in *report*; records behind it are found again.
        """
        progress = progress or ReplayProgress()
        size_bytes = self._files.size_bytes(segment.path)
        acknowledged = self._acknowledged_bytes(segment)
        end = size_bytes if acknowledged is None else min(size_bytes, acknowledged)
        segment.has_void = end < size_bytes
        segment.size_bytes = end
        sound_end = 0
        report.segments += 1
        for found in read_segment(segment.path, self._files, end):
            if isinstance(found, Record):
                report.records += 1
                progress.advance(found.end - found.offset)
                sound_end = found.end
                yield list(records.sections(found.payload))
            else:
                progress.advance(found.size_bytes)
                is_torn = found.is_tail and acknowledged is None
                if not (is_torn and self._is_room(segment, found)):
                    report.note(segment, found, is_torn=is_torn)
        progress.advance(size_bytes - end)
        if acknowledged is not None and acknowledged > end:
            report.note(segment, Damage(end, acknowledged - end, True), is_torn=False)
        if segment is self.segments[-1]:
            self._previous_end = sound_end

    def _is_room(self, segment: Segment, rest: Damage) -> bool:
        """Whether there is nothing but zeros in the *rest* of a segment, written ahead."""
        fd = self._files.open(segment.path)
        try:
            size_bytes = min(rest.size_bytes, _ROOM_BYTES + 1)
            found = self._files.pread(fd, size_bytes, rest.offset)
        finally:
            self._files.close(fd)
        return found.count(0) == rest.size_bytes

    def _acknowledged_bytes(self, segment: Segment) -> int | None:
        """How much of a segment counts, as the next one tells; None where that is not known."""
        for later in self.segments:
            if later.number == segment.number + 1:
                start = segment_start(later.path, self._files)
                return None if start is None else start.previous_end
        return None

    def _write_first(self, record: list[bytes]) -> None:
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
            self._fd, self._room_end = self._files.create(path), 0
            self._files.write(self._fd, [header, *record])
            if self._sync_ms != NEVER_SYNC_MS:
                self._files.fdatasync(self._fd)
                self._files.sync_directory(self.directory)
                self.fsyncs += 1
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
        self.segments[-1].has_void = True
        self._cut_open_segment()
        self.close_segment()

    def _cut_open_segment(self) -> None:
        """Cuts the open segment off at its last acknowledged byte."""
        segment, self._room_end = self.segments[-1], 0
        try:
            self._files.truncate(segment.path, segment.size_bytes)
        except OSError:
            self.failures += 1
            segment.has_void = True

    def _make_room(self, size_bytes: int) -> None:
        """Writes zeros ahead where a record of *size_bytes* would make the open segment longer."""
        end = self.segments[-1].size_bytes + size_bytes
        if end <= self._room_end or end < _SMALL_BYTES:
            return
        room_bytes = min(_ROOM_BYTES, self.segment_bytes - end)
        if room_bytes > _ROOM_RECORDS * size_bytes:
            self._room_end = end + room_bytes
            with suppress(OSError):  # The record is written all the same, and tells whether it is.
                self._files.write_zeros(self._fd, end, room_bytes)

    def _owe(self, size_bytes: int) -> None:
        """Remembers bytes that are acknowledged before their sync."""
        if self.unsynced_bytes == 0 and self._sync_ms != NEVER_SYNC_MS:
            self.sync_due_seconds = time.monotonic() + self._sync_ms / 1000
        self.unsynced_bytes += size_bytes

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError:
            self.failures += 1
