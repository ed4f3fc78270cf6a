"""DbStats: the numbers of one tenant's database, for /metrics."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from tsdb.quarantine import kept_names
from tsdb.state import State
from tsdb.upkeep.retention import held_blocks


@dataclass(frozen=True, slots=True)
class DbStats:
    """Plain numbers of one tenant for /metrics; counts since the start, sizes in bytes.

    ``head_samples`` still counts sealed samples that share a page with others; ``head_pool_bytes``
    are those of histograms and of samples with start times, ``head_table_bytes`` those of what is
    known of the series. ``waiting_writes`` are queued now; ``writes`` have been carried out in
    ``rounds``, after they had waited ``write_wait_seconds`` in all for their round to begin.
    ``databases`` is 1, and 0 where the numbers are what databases had counted before they were
    closed.
    """

    databases: int
    head_series: int
    head_samples: int
    head_late_samples: int
    head_pool_bytes: int
    head_table_bytes: int
    exemplars: int
    blocks: int
    block_bytes: int
    block_samples: int
    block_index_memory_bytes: int
    block_damaged_frames: int
    lost_ranges: int
    quarantined_files: int
    wal_segments: int
    wal_bytes: int
    wal_fsyncs: int
    wal_unsynced_bytes: int
    wal_failures: int
    appended_samples: int
    appended_histograms: int
    appended_exemplars: int
    refused_samples: dict[str, int]
    waiting_writes: int
    writes: int
    write_wait_seconds: float
    rounds: int
    round_seconds: float
    seals: int
    seal_seconds: float
    seal_failures: int
    dropped_blocks: int
    retention_held: int
    merges: int
    merge_seconds: float
    merge_failures: int
    merge_skipped: int
    merge_written_bytes: int
    merge_damaged_blocks: int
    deletions_waiting: int
    replayed_samples: int
    replay_damaged_bytes: int
    replay_torn_bytes: int
    replay_lost_samples: int


_COUNTING = {
    "wal_fsyncs",
    "wal_failures",
    "appended_samples",
    "appended_histograms",
    "appended_exemplars",
    "refused_samples",
    "writes",
    "write_wait_seconds",
    "rounds",
    "round_seconds",
    "seals",
    "seal_seconds",
    "seal_failures",
    "dropped_blocks",
    "merges",
    "merge_seconds",
    "merge_failures",
    "merge_skipped",
    "merge_written_bytes",
    "merge_damaged_blocks",
    "replayed_samples",
    "replay_damaged_bytes",
    "replay_torn_bytes",
    "replay_lost_samples",
}
"""The fields that count since the start; the others tell how things are now."""


def counted(stats: Sequence[DbStats]) -> DbStats:
    """What *stats* have counted, summed; all that tells how things are now is 0."""
    totals: dict[str, Any] = {}
    for field in fields(DbStats):
        if field.name == "refused_samples":
            refused: Counter[str] = Counter()
            for one in stats:
                refused.update(one.refused_samples)
            totals[field.name] = dict(refused)
        else:
            values = [getattr(one, field.name) for one in stats]
            totals[field.name] = sum(values) if field.name in _COUNTING else 0
    return DbStats(**totals)


def collect_stats(state: State, waiting_writes: int) -> DbStats:
    """The numbers of *state*; so many writes wait for their round."""
    quarantined = len(kept_names(state.directory, state.machine.files))
    with state.publish:
        head, blocks, counters = state.head, state.blocks, state.counters
        wal, replayed = state.wal, state.replayed
        return DbStats(
            databases=1,
            head_series=head.series_count,
            head_samples=head.sample_count,
            head_late_samples=head.late_count,
            head_pool_bytes=head.pool_bytes,
            head_table_bytes=head.table_bytes,
            exemplars=state.exemplars.count,
            blocks=len(blocks),
            block_bytes=sum(block.meta.size_bytes for block in blocks),
            block_samples=sum(block.meta.samples for block in blocks),
            block_index_memory_bytes=sum(block.index_bytes for block in blocks),
            block_damaged_frames=sum(block.damaged_frames for block in blocks),
            lost_ranges=len(state.manifest.lost),
            quarantined_files=quarantined,
            wal_segments=len(wal.segments),
            wal_bytes=wal.size_bytes,
            wal_fsyncs=wal.fsyncs,
            wal_unsynced_bytes=wal.unsynced_bytes,
            wal_failures=wal.failures,
            appended_samples=counters.appended,
            appended_histograms=counters.histograms,
            appended_exemplars=counters.exemplars,
            refused_samples=dict(counters.refused),
            waiting_writes=waiting_writes,
            writes=counters.writes,
            write_wait_seconds=counters.write_wait_seconds,
            rounds=counters.rounds,
            round_seconds=counters.round_seconds,
            seals=counters.seals,
            seal_seconds=counters.seal_seconds,
            seal_failures=counters.seal_failures,
            dropped_blocks=counters.dropped_blocks,
            retention_held=held_blocks(state),
            merges=counters.merges,
            merge_seconds=counters.merge_seconds,
            merge_failures=counters.merge_failures,
            merge_skipped=counters.merge_skipped,
            merge_written_bytes=counters.merge_written_bytes,
            merge_damaged_blocks=counters.merge_damaged_blocks,
            deletions_waiting=len(state.manifest.deletions),
            replayed_samples=replayed.samples,
            replay_damaged_bytes=replayed.damaged_bytes,
            replay_torn_bytes=replayed.torn_bytes,
            replay_lost_samples=replayed.lost_samples,
        )
