"""DiskSpace: what is left of the disk, and whether writes are refused because it is too little.

A part of the disk, the *reserve*, is kept for what frees space: seals, which end in the deletion
of log segments, and merges. Below it new samples are refused; whatever is there can be read.
"""

import errno
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

from tsdb.files import Files

log = logging.getLogger("o11y.storage")

_LOOK_SECONDS = 0.25
_REFUSED_SECONDS = 1.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
_SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"(\d+)(?:([KMGT]?)i?B)?")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")


class DiskLow(OSError):
    """Less is free than the reserve, or the disk has just refused a write."""

    def __init__(self, directory: Path, free_bytes: int, reserve_bytes: int, cause: str) -> None:
        super().__init__(
            errno.ENOSPC,
            f"the disk of {directory} is low: {_shown(free_bytes)} free, the reserve is "
            f"{_shown(reserve_bytes)} (--storage.reserve){cause}; writes are refused until there "
            "is room, queries go on",
        )

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, slots=True)
class Reserve:
    """How much of a disk is kept free: so many bytes, and no more than so large a share of it.

    ``most_share`` is of the whole disk, 1 is all of it.
    """

    most_bytes: int = 256 << 20
    most_share: float = 0.02

    @classmethod
    def parse(cls, text: str) -> "Reserve":
        """``8MiB``, ``2%``, ``0`` or a number of bytes; ValueError else.

        As in Prometheus MB and MiB are both 1024^2.
        """
        if size := _SIZE.fullmatch(text):
            return cls(int(size[1]) << _SHIFTS[size[2] or ""], 1.0)
        share = _SHARE.fullmatch(text)
        if share is None or float(share[1]) > 100:
            raise ValueError(f"{text!r} is neither a size like 8MiB nor a share like 2%")
        return cls(1 << 62, float(share[1]) / 100)

    def of(self, disk_bytes: int) -> int:
        """The reserve in bytes on a disk of *disk_bytes*."""
        return min(self.most_bytes, int(self.most_share * disk_bytes))


NO_RESERVE = Reserve(0, 0.0)


class DiskSpace:
    """The disk of *directory*, of which *reserve_bytes* stay free; any thread may ask."""

    def __init__(self, files: Files, directory: Path, reserve_bytes: int) -> None:
        self._files = files
        self._directory = directory
        self.reserve_bytes = reserve_bytes
        self._seen_bytes = 0
        self._look_seconds = 0.0
        self._refused_until_seconds = 0.0
        self._cause = ""
        self._was_low = False

    def free_bytes(self) -> int:
        """What may be written now; 0 where the disk is mounted read-only or does not say."""
        try:
            return self._files.free_bytes(self._directory)
        except OSError:
            return 0

    @property
    def is_low(self) -> bool:
        """Whether writes are refused; the system is asked a few times a second at most.

        Never without a reserve: then each write is tried, and fails where the disk is full.
        """
        if self.reserve_bytes == 0:
            return False
        now_seconds = time.monotonic()
        if now_seconds >= self._look_seconds:
            self._look()
        is_low = self._seen_bytes < self.reserve_bytes or now_seconds < self._refused_until_seconds
        if is_low != self._was_low:
            self._was_low = is_low
            self._tell(is_low)
        return is_low

    def _look(self) -> None:
        self._seen_bytes = self.free_bytes()
        self._look_seconds = time.monotonic() + _LOOK_SECONDS

    def _tell(self, is_low: bool) -> None:
        if is_low:
            log.warning("%s", self.low())
        else:
            log.info("the disk of %s has room again, writes are taken", self._directory)

    def has_room(self, size_bytes: int) -> bool:
        """Whether the reserve would be left with *size_bytes* more on the disk."""
        return self.free_bytes() - size_bytes >= self.reserve_bytes

    def low(self) -> DiskLow:
        """The error for whoever would write now; it names what was free at the last look."""
        is_refused = time.monotonic() < self._refused_until_seconds
        cause = self._cause if is_refused else ""
        return DiskLow(self._directory, self._seen_bytes, self.reserve_bytes, cause)

    def note(self, error: OSError) -> OSError:
        """Tells of a write that failed; what its sender should hear.

        Where the disk was full, writes are refused for a second. The next one after it is an
        attempt: a quota, say, is full without the disk saying so.
        """
        if error.errno not in _FULL or self.reserve_bytes == 0:
            return error
        self._look()
        self._cause = f", and the last write failed: {error.strerror}"
        self._refused_until_seconds = time.monotonic() + _REFUSED_SECONDS
        return self.low()


def _shown(size_bytes: int) -> str:
    """A size as people read it."""
    for prefix, shift in reversed(_SHIFTS.items()):
        if shift and size_bytes >= 1 << shift:
            return f"{size_bytes / (1 << shift):.1f} {prefix}iB"
    return f"{size_bytes} bytes"
