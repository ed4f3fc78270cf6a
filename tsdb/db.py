"""Db: one tenant's database, a Sink and a maker of Sources.

A write goes through four steps on a committer thread: judge the times, find the series, log and
sync, apply to the head. What readers see has been synced, and a write that fails at the disk has
changed nothing. A round takes all writes that wait, so they share one record and one sync.
"""

import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from pathlib import Path

from series.batch import SeriesBatch
from series.known import Known, KnownSamples
from series.matcher import Matcher
from series.metadata import Metadata
from series.ports import Appended
from tsdb.admission import SeriesLimit
from tsdb.block.format import BlockMeta
from tsdb.changes import Changes
from tsdb.committer import Committer
from tsdb.damage import Finding
from tsdb.entrance import Entrance
from tsdb.head.arena import PAGE_BYTES
from tsdb.log.replay import replay
from tsdb.rounds import Result, Told, Waiting
from tsdb.state import DbOptions, Machine, State
from tsdb.stats import DbStats, collect_stats
from tsdb.upkeep import deletions, heal, retention, seal, snapshot
from tsdb.upkeep.load import Loader
from tsdb.upkeep.merge import Merger
from tsdb.view.view import View, unheard

__all__ = ["Db", "DbOptions", "DbStats"]

_SEAL_SECONDS = 200e-9
"""More than the seal of a sample takes."""


class Db:
    """See the module's head. Any thread may call any method."""

    def __init__(
        self, directory: Path, options: DbOptions, machine: Machine, committer: Committer
    ) -> None:
        """Opens the database in *directory* and replays its log; makes nothing where it is new.

        Raises OSError or StorageError where files cannot be read, ``records.UnsupportedFormat``
        for a log of a newer version.
        """
        self._state = State(directory, options, machine)
        self._maintenance = threading.Lock()
        self._merger = Merger(self._state)
        self._loaders: weakref.WeakSet[Loader] = weakref.WeakSet()
        self._entrance = Entrance(self._state, committer)
        self.used_seconds = machine.monotonic()
        """When somebody asked for it last, or it was last at work, by ``Machine.monotonic``."""
        try:
            replay(self._state)
        except BaseException:
            self._state.wal.close_segment()
            self._state.head.release()
            raise

    # Writing

    def append(self, batch: SeriesBatch) -> "Future[Appended]":
        """Stores the batch; see ``series.ports.Sink``. Returns at once."""
        return self._promised(batch, {})

    def append_here(self, batch: SeriesBatch, *, may_sync: bool) -> "Future[Appended]":
        """As ``append``, but where nobody else is at work the calling thread does it.

        Unless it *may_sync* only where no wait for the disk is to be expected.
        """
        future: Future[Appended] = Future()
        waiting = Waiting(batch, {}, future, time.monotonic())
        result = self._entrance.carry_out_here(waiting, may_sync=may_sync)
        if result is None:
            self._entrance.enter(waiting)
        else:
            waiting.resolve(result)
        return future

    def append_known(self, samples: KnownSamples, tell: Callable[[Result], None]) -> Result | None:
        """Stores writes of known series, all in one round; what became of them, errors not raised.

        Where that takes a wait for the disk it is None, and *tell* hears it later, in any thread.
        """
        waiting = Waiting(samples, {}, Told(tell), time.monotonic())
        result = self._entrance.carry_out_here(waiting, may_sync=False)
        if result is None:
            self._entrance.enter(waiting)
        return result

    def put_metadata(self, metadata: Mapping[str, Metadata]) -> "Future[Appended]":
        """Remembers what is told of metrics; the future resolves once that is durable."""
        return self._promised(None, metadata)

    def _promised(
        self, batch: SeriesBatch | None, metadata: Mapping[str, Metadata]
    ) -> "Future[Appended]":
        future: Future[Appended] = Future()
        self._entrance.enter(Waiting(batch, metadata, future, time.monotonic()))
        return future

    @property
    def series_limit(self) -> SeriesLimit:
        """How many series may be in memory; may be set."""
        return self._entrance.series_limit

    @series_limit.setter
    def series_limit(self, limit: SeriesLimit) -> None:
        self._entrance.series_limit = limit

    # Reading

    def view(self, damaged: Callable[[str], object] = unheard) -> View:
        """What is there now, frozen for one reader; *damaged* hears of what damage has taken."""
        state = self._state
        with state.publish:
            parts = state.parts.with_part(state.head.snapshot())
            done = state.counters
            generation = state.head.generation + done.dropped_blocks + done.deletions + done.merges
            lost = state.manifest.lost
        return View(parts, state.machine.maps, generation, state.exemplars, lost, damaged)

    @property
    def known(self) -> Known:
        """The series in memory, for the decoder of a write."""
        return self._state.head.registry.known

    @property
    def changes(self) -> Changes:
        """What has changed of its samples since it was opened."""
        return self._state.head.changes

    def metadata(self) -> dict[str, Metadata]:
        """What senders have told of their metrics, by metric name."""
        return dict(self._state.metadata)

    def stats(self) -> DbStats:
        """Its numbers for /metrics."""
        return collect_stats(self._state, self._entrance.waiting_count)

    # Upkeep

    @property
    def head_pages(self) -> int:
        """How much of the memory for samples is taken, in pages of the arena."""
        head = self._state.head
        return head.page_count + head.pool_bytes // PAGE_BYTES

    @property
    def head_times_ms(self) -> tuple[int, int]:
        """The first and last time in the head; (0, 0) where there is none."""
        head = self._state.head
        if head.first_ms > head.max_time_ms:
            return 0, 0
        return head.first_ms, head.max_time_ms

    def maintain(self) -> None:
        """Seals what is due and drops blocks older than the retention.

        OSError where the disk refused: nothing is lost, the next call tries again.
        """
        with self._maintenance:
            seals = self._state.counters.seals
            seal.maintain(self._state)
            if self._state.counters.seals > seals:
                self._use()
            heal.heal(self._state)

    def mend(self, finding: Finding) -> None:
        """Does what can be done about damage that a scrub has found; OSError as ``maintain``."""
        with self._maintenance:
            heal.mend(self._state, finding)
            self.changes.note_everything()

    def has(self, item: str) -> bool:
        """Whether *item* (see ``tsdb.check``) is part of what the database consists of."""
        state = self._state
        paths = {block.directory for block in state.blocks}
        paths |= {segment.path for segment in tuple(state.wal.segments)}
        return "/" not in item or state.directory / item in paths

    def is_written(self, item: str) -> bool:
        """Whether *item* is the segment of the log that writes go to."""
        segments = self._state.wal.segments
        return bool(segments) and segments[-1].path == self._state.directory / item

    def seal_head(self, within_seconds: float) -> None:
        """Seals all that is in the head, where that takes less than *within_seconds* as guessed.

        OSError where the disk refused: nothing is lost, the log has it.
        """
        if self._state.head.sample_count * _SEAL_SECONDS < within_seconds:
            with self._maintenance:
                seal.seal_all(self._state)

    def loader(self) -> Loader:
        """What takes samples of any age and order straight into blocks, see ``upkeep.load``."""
        loader = Loader(self._state, self._maintenance)
        self._loaders.add(loader)
        return loader

    def snapshot(self, target: Path, *, skip_head: bool = False) -> None:
        """Links all that is acknowledged into the new directory *target*, see ``upkeep.snapshot``.

        Without what is not sealed yet where *skip_head*. OSError where the disk refused.
        """
        with self._maintenance:
            snapshot.take(self._state, target, skip_head=skip_head)

    def merge(self, until_seconds: float) -> bool:
        """Merges what is due until ``time.monotonic()`` is *until_seconds*; whether it must go on.

        OSError or StorageError where disk or data refuse: nothing is lost, it is tried again later.
        """
        with self._maintenance:
            goes_on = self._merger.advance(until_seconds)
            if goes_on:
                self._use()
            return goes_on

    def stop_merging(self) -> None:
        """From now on nothing is merged; ``merge`` returns as soon as it can."""
        self._merger.stop()

    def delete(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> int:
        """Deletes the samples from *start_ms* to *end_ms*, both included, that were acknowledged
        before, of all series that satisfy *matchers*; how many series that may be.

        They are out of sight, for ever, when it returns. Their bytes go when their blocks are
        merged or cleaned. OSError where the disk refuses: then nothing was deleted.
        """
        with self._maintenance:
            self._expect_open()
            return deletions.delete(self._state, matchers, start_ms, end_ms)

    def clean_tombstones(self) -> None:
        """Takes what was deleted off the disk; seals and appends go on meanwhile.

        OSError or StorageError where disk or data refuse; what is done by then stays done.
        """
        with self._maintenance:
            steps = deletions.rewritten(self._state, self._merger)
        deletions.take_turns(steps, self._maintenance, self._expect_open)

    def _expect_open(self) -> None:
        if self.is_closed:
            text = "open for reading only" if self._state.machine.read_only else "closed"
            raise OSError(f"the database is {text}")

    def drop_blocks(self, sequences: Collection[int]) -> None:
        """Drops these blocks; OSError where the disk refuses: then they are still there."""
        with self._maintenance:
            self._expect_open()
            retention.drop(self._state, sequences)

    @property
    def blocks(self) -> tuple[BlockMeta, ...]:
        """What is known of the blocks, in ascending order of their sequence."""
        return self._state.manifest.blocks

    @property
    def log_bytes(self) -> int:
        """The size of the log."""
        return self._state.wal.size_bytes

    def refuse_writes(self) -> None:
        """From now on every write fails; those that wait are still carried out."""
        with self._entrance.lock:
            self._entrance.is_closed = True

    def _use(self) -> None:
        """Sees to it that merges have their time before it is closed as unused."""
        self.used_seconds = self._state.machine.monotonic()

    @property
    def is_closed(self) -> bool:
        """Whether writes fail."""
        return self._entrance.is_closed

    @property
    def last_append_ms(self) -> int:
        """When the last write was carried out."""
        return self._state.last_append_ms

    @property
    def has_open_log(self) -> bool:
        """Whether the log keeps a file open."""
        return self._state.wal.is_open

    def close_log(self) -> None:
        """Lets go of the log's file; the next write begins a segment."""
        with self._state.commit:
            self._state.wal.close_segment()

    def is_unused(self, before_seconds: float) -> bool:
        """Whether nobody has asked for it since and nothing is in memory that is not in blocks."""
        head = self._state.head
        is_empty = head.first_ms > head.max_time_ms and not head.late_count
        is_waited_for = self._entrance.has_waiting or self._loaders or self._merger.is_running
        is_waited_for = is_waited_for or self._state.machine.read_only
        return is_empty and self.used_seconds < before_seconds and not is_waited_for

    def close_unused(self, before_seconds: float) -> bool:
        """Closes it where it is unused; whether it was. Who asks meanwhile finds it closed."""
        with self._entrance.lock:
            self._entrance.is_closed = True
            if not self.is_unused(before_seconds):
                self._entrance.is_closed = False
                return False
        self.close()
        for block in self._state.blocks:
            block.let_go()
        return True

    def close(self) -> None:
        """Lets go of files and memory; no write may be on its way."""
        self.stop_merging()
        with self._maintenance:
            self._merger.abandon()
        with self._maintenance:
            seal.end_log(self._state)
            with self._state.commit:
                self._state.head.release()
