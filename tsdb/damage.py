"""Damage: what was found damaged on disk, said once each and counted; and what is lost of it."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("o11y.storage")

LOG, FRAME, INDEX, MANIFEST, EXEMPLARS = KINDS = ("log", "frame", "index", "manifest", "exemplars")
"""What can be damaged: a record of the log, samples of a block, what says where they stand, ..."""

FOREVER_MS = 2**63 - 1
"""After all times."""

_MAX_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A place of damage.

    - ``what``: one of KINDS; ``text``: what is wrong with it.
    - ``is_loss``: whether it takes samples or exemplars, or what stands elsewhere a second time.
    - ``frame``: its number in the block, -1 where the damage is elsewhere.
    - ``times_ms``: between which times what it takes lies, where that is known.
    - ``samples``, ``series_count``, ``series``: about how many samples it takes, of how many
      series, and the labels of some of these; 0 and none where that is not known.
    """

    what: str
    path: Path
    offset: int
    text: str
    is_loss: bool = True
    frame: int = -1
    times_ms: tuple[int, int] | None = None
    samples: int = 0
    series_count: int = 0
    series: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path} is damaged at offset {self.offset}: {self.text}"


@dataclass(frozen=True, slots=True)
class Lost:
    """Samples that were stored and cannot be read any more, since *file* was damaged.

    ``file`` is its path below the tenant's directory before it went to quarantine, ``text`` says
    what is wrong with it. Whatever is lost lies within ``min_time_ms`` to ``max_time_ms``.
    """

    file: str
    min_time_ms: int
    max_time_ms: int
    text: str


class DamageNotes:
    """The damage found since the start in all tenants of a process; any thread may note some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[tuple[str, Path, int]] = set()
        self.counts: dict[str, int] = dict.fromkeys(KINDS, 0)
        """How many places were found, by what is damaged."""

    def note(self, finding: Finding) -> None:
        """Logs and counts it, once however often the place is found."""
        place = (finding.what, finding.path, finding.offset)
        with self._lock:
            if place in self._known:
                return
            if len(self._known) < _MAX_KNOWN:
                self._known.add(place)
            self.counts[finding.what] += 1
        log.error("%s", finding)
