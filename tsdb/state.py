"""State: what the parts of one tenant's database work on together."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from series.metadata import Metadata
from series.ports import StorageError
from tsdb.block.block import Block
from tsdb.block.cache import BlockCache
from tsdb.block.format import BlockMeta, block_directory
from tsdb.clock import Clock
from tsdb.disk_space import DiskSpace
from tsdb.files import Files
from tsdb.head.arena import Arena
from tsdb.head.head import Head
from tsdb.head.registry import Registry
from tsdb.log.progress import ReplayProgress
from tsdb.log.wal import ReplayReport, Wal
from tsdb.manifest import BLOCKS_NAME, Manifest, listed_sequences, remove_strays
from tsdb.rebuild import open_manifest
from tsdb.sample.exemplars import ExemplarRing
from tsdb.view.part import Part
from tsdb.view.part_list import PartList
from tsdb.view.undeleted import Undeleted
from tsdb.view.view import SeriesMapCache

NOT_A_TIME_MS = -(2**53)
"""Times before it are refused whatever the retention: arithmetic on them would overflow."""


@dataclass(frozen=True, slots=True)
class DbOptions:
    """How a database keeps its data; times in milliseconds, sizes in bytes.

    - ``retention_ms``: how long samples are kept; 0 is for ever.
    - ``block_range_ms``: the span of a block, aligned to its multiples.
    - ``max_future_ms``: how far ahead of the clock a sample may be.
    - ``wal_segment_bytes``: a segment of the log is closed when it has grown to this.
    - ``wal_sync_ms``: 0 syncs the log before writes are acknowledged; else so long after them at
      most, and with ``NEVER_SYNC_MS`` never.
    - ``max_late_samples``: so many late samples are sealed without waiting for the window.
    - ``max_used_share``: so full may the arena get before all there is is sealed.
    - ``idle_ms``: after so long without a write the clock counts as the newest sample.
    - ``min_empty_series``: with so many series without samples, and more than a third of all being
      so, the head forgets them.
    - ``silent_ms``, ``min_silent_series``: with so many series without a sample for so long, and
      more than half of all being so, what they have is sealed before the window's end.
    - ``max_exemplars``: so many exemplars are kept; 0 is none.
    - ``scrub_interval_ms``: everything on disk is read and checked once in it; 0 is never.
    - ``retention_bytes``: the blocks and logs of all tenants together; 0 is without a bound.
    """

    retention_ms: int = 15 * 24 * 3_600_000
    block_range_ms: int = 2 * 3_600_000
    max_future_ms: int = 600_000
    wal_segment_bytes: int = 128 << 20
    wal_sync_ms: int = 0
    max_late_samples: int = 1 << 20
    max_used_share: float = 0.75
    idle_ms: int = 30 * 60_000
    min_empty_series: int = 1000
    silent_ms: int = 15 * 60_000
    min_silent_series: int = 50_000
    max_exemplars: int = 100_000
    scrub_interval_ms: int = 0
    retention_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What all databases of a process share; where it is ``read_only`` nothing changes on disk."""

    files: Files
    arena: Arena
    cache: BlockCache
    maps: SeriesMapCache
    now_ms: Callable[[], int]
    space: DiskSpace
    read_only: bool = False
    monotonic: Callable[[], float] = time.monotonic
    clock: Clock = field(init=False)
    progress: ReplayProgress = field(default_factory=ReplayProgress)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clock", Clock(self.now_ms, self.monotonic))


@dataclass(slots=True)
class Counters:
    """What has happened since the start; plain numbers for /metrics."""

    appended: int = 0
    histograms: int = 0
    exemplars: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    writes: int = 0
    write_wait_seconds: float = 0.0
    rounds: int = 0
    round_seconds: float = 0.0
    seals: int = 0
    seal_seconds: float = 0.0
    seal_failures: int = 0
    dropped_blocks: int = 0
    deletions: int = 0
    merges: int = 0
    merge_seconds: float = 0.0
    merge_failures: int = 0
    merge_skipped: int = 0
    merge_written_bytes: int = 0
    merge_damaged_blocks: int = 0


class State:
    """Manifest, log, head and blocks of one tenant.

    Locks, in the order in which they are taken: that of the upkeep is held by whoever changes the
    manifest of a tenant that is on disk; ``commit`` by whoever logs or changes what the log covers;
    ``publish`` while head or blocks change, and for the moment in which a view takes hold of both.
    """

    def __init__(self, directory: Path, options: DbOptions, machine: Machine) -> None:
        """Reads the manifest and lists log and blocks; makes nothing where there is none."""
        self.directory = directory
        self.options = options
        self.machine = machine
        self.commit = threading.Lock()
        self.publish = threading.Lock()
        opened = open_manifest(
            directory, machine.files, machine.cache.notes, read_only=machine.read_only
        )
        self.manifest: Manifest = opened.manifest
        self.is_stored = opened.is_stored
        if not machine.read_only:
            remove_strays(self.blocks_directory, self.manifest, machine.files)
        self.next_sequence = self.manifest.next_sequence
        self.metadata: dict[str, Metadata] = dict(self.manifest.metadata)
        registry = Registry(self.manifest.seed)
        self.head = Head(machine.arena, registry, self.manifest.sealed_until_ms)
        if self.is_stored and (clock_ms := _clock_ms(self.manifest)) is not None:
            machine.clock.saw(clock_ms)
        self._blocks: tuple[Block, ...] = ()
        self.parts = PartList.of(())
        """The blocks as readers see them, without what was deleted."""
        self.blocks = tuple(map(self.open_block, self.manifest.blocks))
        self.wal = Wal(
            directory / "wal", machine.files, options.wal_segment_bytes,
            last_number=self.manifest.wal_through, sync_ms=options.wal_sync_ms,
        )  # fmt: skip
        self.exemplars = ExemplarRing(options.max_exemplars)
        self.exemplars_through = 0
        """The exemplars of log segments up to this number are saved elsewhere."""
        self.counters = Counters()
        self.replayed = ReplayReport()
        self.last_append_ms = machine.clock.believed_ms

    @property
    def blocks_directory(self) -> Path:
        return self.directory / BLOCKS_NAME

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What the manifest lists; to be set, under ``publish``, once it has been saved."""
        return self._blocks

    @blocks.setter
    def blocks(self, blocks: tuple[Block, ...]) -> None:
        self.exchange_blocks(blocks)
        self.head.changes.note_everything()

    def exchange_blocks(self, blocks: tuple[Block, ...]) -> None:
        """Sets ``blocks`` to such as make, with the head, no difference to what readers see."""
        known = {part.block: part for part in self.parts.parts if isinstance(part, Undeleted)}
        parts: list[Part] = []
        for block in blocks:
            deletions = tuple(one for one in self.manifest.deletions if one.hits(block))
            part = known.get(block)
            if deletions and (part is None or part.deletions != deletions):
                part = Undeleted(block, deletions, self.machine.cache.indexes)
            parts.append(part if deletions and part is not None else block)
        self._blocks, self.parts = blocks, PartList.of(parts)

    @property
    def oldest_ms(self) -> int:
        """Samples before it are older than the retention."""
        return self.oldest_at(self.machine.clock.earliest_ms)

    def oldest_at(self, now_ms: int) -> int:
        """As ``oldest_ms``, where it is *now_ms*."""
        if self.options.retention_ms == 0:
            return NOT_A_TIME_MS
        return max(NOT_A_TIME_MS, now_ms - self.options.retention_ms)

    @property
    def is_idle(self) -> bool:
        """Whether nobody has written for so long that the clock counts as the newest sample."""
        return self.machine.clock.believed_ms - self.last_append_ms > self.options.idle_ms

    def take_sequence(self) -> int:
        """The number of the next block; never the same again, also where its seal fails."""
        self.next_sequence += 1
        return self.next_sequence - 1

    def discard_blocks_from(self, sequence: int) -> None:
        """Removes the blocks from *sequence* on that a failed seal has left."""
        self.discard_blocks(range(sequence, self.next_sequence))

    def discard_blocks(self, sequences: Iterable[int]) -> None:
        """Removes what was written of these blocks and is not wanted after all.

        Not where the manifest on disk lists them all the same: its last step may have failed.
        What cannot be removed now is removed when the tenant is opened.
        """
        files = self.machine.files
        try:
            listed = listed_sequences(self.directory, files)
            for number in {*sequences} - listed:
                directory = block_directory(self.blocks_directory, number)
                files.remove_tree(directory)
                files.remove_tree(directory.with_suffix(".tmp"))
        except (OSError, StorageError):
            pass

    def open_block(self, meta: BlockMeta) -> Block:
        directory = block_directory(self.blocks_directory, meta.sequence)
        return Block(directory, meta, self.machine.cache)

    def save_manifest(self, manifest: Manifest) -> None:
        """Makes *manifest* the durable state; where OSError is raised it counts as not made."""
        manifest = replace(
            manifest,
            next_sequence=self.next_sequence,
            metadata=self.metadata,
            clock_ms=self.machine.clock.believed_ms,
        )
        self.machine.files.mkdir(self.directory)
        manifest.save(self.directory, self.machine.files)
        self.manifest = manifest
        self.is_stored = True


def _clock_ms(manifest: Manifest) -> int | None:
    """What a clock that was believed said at some time; a rebuilt manifest knows it from blocks."""
    newest_ms = max((block.max_time_ms for block in manifest.blocks), default=None)
    return manifest.clock_ms or newest_ms
