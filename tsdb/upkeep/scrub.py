"""Scrub: everything on disk is read once in an interval and compared with its checksums.

Damage is found while what it takes still stands elsewhere: in a copy, or in memory. A *pass* goes
over all tenants in small steps, evenly spread over the interval; how far it has come is kept in the
file ``scrub`` of the data directory, so that a restart goes on from there.
"""

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from tsdb.check import check_item, items, size_bytes
from tsdb.damage import Finding
from tsdb.files import Files
from tsdb.versions import UnsupportedFormat

log = logging.getLogger("o11y.storage")

NAME = "scrub"

_STEP_BYTES = 32 << 20
_STEP_SECONDS = 0.05
"""A step ends with the read after which so much is done."""
_SAVE_MS = 600_000
_LINE = re.compile(rb"o11y-scrub 1 (\d+) (\d+) (\d+) (\S+) (\S+)\n")
_NOWHERE = "-"


@dataclass(frozen=True, slots=True)
class ScrubStats:
    """``bytes`` were read since the start; ``completed_ms`` is when a pass last came to its end,
    0 where none has."""

    bytes: int = 0
    completed_ms: int = 0


class Scrubber:
    """See the module's head; ``step`` and ``close`` are called by one thread at a time."""

    def __init__(
        self,
        data_dir: Path,
        tenants: Callable[[], list[str]],
        is_written: Callable[[str, str], bool],
        found: Callable[[str, str, Finding], None],
        files: Files,
        now_ms: Callable[[], int],
        interval_ms: int,
    ) -> None:
        """*interval_ms* 0 turns it off. OSError where the file of its progress cannot be read.

        *is_written* tells whether an item of a tenant (see ``tsdb.check``) is still being written;
        *found* hears of damage in one.
        """
        self._tenants_dir = data_dir / "tenants"
        self._path = data_dir / NAME
        self._tenants = tenants
        self._is_written = is_written
        self._found = found
        self._files = files
        self._now_ms = now_ms
        self._interval_ms = interval_ms
        self._steps: Iterator[int] | None = None
        self._findings: deque[tuple[str, str, Finding]] = deque()
        self._total_bytes = 0
        self._bytes = 0
        self._saved_ms = 0
        self._began_ms = self._completed_ms = self._done_bytes = 0
        self._at = (_NOWHERE, _NOWHERE)
        if interval_ms:
            self._load()

    @property
    def stats(self) -> ScrubStats:
        return ScrubStats(self._bytes, self._completed_ms)

    def step(self) -> None:
        """Reads as much as is due; returns soon.

        OSError where the disk refuses, and what *found* raises; the next step goes on there.
        """
        if not self._interval_ms:
            return
        self._tell()
        now_ms = self._now_ms()
        self._began_ms = min(self._began_ms, now_ms)
        if self._steps is None and not self._begin(now_ms):
            return
        share = max(0.0, (now_ms - self._began_ms) / self._interval_ms)
        due = self._total_bytes * share - self._done_bytes
        end = time.monotonic() + _STEP_SECONDS
        budget = _STEP_BYTES if share >= 1 else min(due, _STEP_BYTES)
        while budget > 0 and time.monotonic() < end:
            read = self._next()
            self._tell()
            if read is None:
                self._complete(now_ms)
                return
            budget -= read
            self._bytes += read
            self._done_bytes += read
        if abs(now_ms - self._saved_ms) >= _SAVE_MS:
            self._save(now_ms)

    def close(self) -> None:
        """Keeps the progress; OSError where the disk refuses."""
        if self._steps is not None:
            self._save(self._now_ms())
            self._steps = None

    def _begin(self, now_ms: int) -> bool:
        """Begins a pass where one is due, or goes on with that of before the restart."""
        if self._at == (_NOWHERE, _NOWHERE):
            if 0 <= now_ms - self._began_ms < self._interval_ms:
                return False
            self._began_ms, self._done_bytes = now_ms, 0
        self._total_bytes = sum(
            size_bytes(self._tenants_dir / tenant, item, self._files)
            for tenant in self._tenants()
            for item in items(self._tenants_dir / tenant, self._files)
        )
        self._steps = self._read_all(*self._at)
        return True

    def _next(self) -> int | None:
        """Reads a little and returns how many bytes; None at the end of the pass."""
        assert self._steps is not None
        try:
            return next(self._steps, None)
        except OSError:
            self._steps = None
            raise

    def _tell(self) -> None:
        while self._findings:
            self._found(*self._findings[0])
            self._findings.popleft()

    def _complete(self, now_ms: int) -> None:
        self._steps, self._at = None, (_NOWHERE, _NOWHERE)
        self._completed_ms = now_ms
        self._save(now_ms)

    def _read_all(self, first_tenant: str, first_item: str) -> Iterator[int]:
        """Reads all from an item on and yields how many bytes each read was."""
        going_on = first_tenant != _NOWHERE
        for tenant in self._tenants():
            if going_on and tenant < first_tenant:
                continue
            found = items(self._tenants_dir / tenant, self._files)
            if going_on and tenant == first_tenant and first_item in found:
                found = found[found.index(first_item) :]
            for item in found:
                self._at = (tenant, item)
                if not self._is_written(tenant, item):
                    yield from self._read(tenant, item)

    def _read(self, tenant: str, item: str) -> Iterator[int]:
        try:
            for step in check_item(self._tenants_dir / tenant, item, self._files):
                if isinstance(step, Finding):
                    self._findings.append((tenant, item, step))
                else:
                    yield step
        except FileNotFoundError:
            return  # It was merged, dropped or sealed meanwhile.
        except UnsupportedFormat as error:
            log.error("%s is not checked: %s", self._tenants_dir / tenant / item, error)

    def _load(self) -> None:
        if not self._files.exists(self._path):
            return
        content = self._files.read(self._path)
        line = _LINE.match(content)
        if line is None or content[line.end() :] != _crc_line(line[0]):
            return  # It only tells where to go on.
        self._began_ms, self._completed_ms, self._done_bytes = map(int, line.groups()[:3])
        self._at = (line[4].decode(), line[5].decode())

    def _save(self, now_ms: int) -> None:
        line = "o11y-scrub 1 {} {} {} {} {}\n".format(
            self._began_ms, self._completed_ms, self._done_bytes, *self._at
        ).encode()
        aside = self._path.with_suffix(".tmp")
        if self._files.exists(aside):
            self._files.unlink(aside)
        fd = self._files.create(aside)
        try:
            self._files.write(fd, [line, _crc_line(line)])
            self._files.fdatasync(fd)
        finally:
            self._files.close(fd)
        self._files.rename(aside, self._path)
        self._saved_ms = now_ms


def _crc_line(line: bytes) -> bytes:
    return b"crc32c=%08x\n" % google_crc32c.value(line)
