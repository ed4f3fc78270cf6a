"""DbStats: the numbers of one tenant's database, for /metrics."""

from dataclasses import dataclass

from tsdb.state import State


@dataclass(frozen=True, slots=True)
class DbStats:
    """Plain numbers of one tenant for /metrics; counts since the start, sizes in bytes.

    ``head_samples`` still counts sealed samples that share a page with others; ``head_pool_bytes``
    are those of histograms and of samples with start times. ``waiting_writes``
    are queued now; ``writes`` have been carried out in ``rounds``, after they had waited
    ``write_wait_seconds`` in all for their round to begin.
    """

    head_series: int
    head_samples: int
    head_late_samples: int
    head_pool_bytes: int
    exemplars: int
    blocks: int
    block_bytes: int
    block_samples: int
    block_index_memory_bytes: int
    block_damaged_frames: int
    wal_segments: int
    wal_bytes: int
    wal_fsyncs: int
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
    replayed_samples: int
    replay_damaged_bytes: int
    replay_torn_bytes: int
    replay_lost_samples: int


def collect_stats(state: State, waiting_writes: int) -> DbStats:
    """The numbers of *state*; so many writes wait for their round."""
    with state.publish:
        head, blocks, counters = state.head, state.blocks, state.counters
        wal, replayed = state.wal, state.replayed
        return DbStats(
            head_series=head.series_count,
            head_samples=head.sample_count,
            head_late_samples=head.late_count,
            head_pool_bytes=head.pool_bytes,
            exemplars=state.exemplars.count,
            blocks=len(blocks),
            block_bytes=sum(block.meta.size_bytes for block in blocks),
            block_samples=sum(block.meta.samples for block in blocks),
            block_index_memory_bytes=sum(block.index_bytes for block in blocks),
            block_damaged_frames=sum(block.damaged_frames for block in blocks),
            wal_segments=len(wal.segments),
            wal_bytes=wal.size_bytes,
            wal_fsyncs=wal.fsyncs,
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
            replayed_samples=replayed.samples,
            replay_damaged_bytes=replayed.damaged_bytes,
            replay_torn_bytes=replayed.torn_bytes,
            replay_lost_samples=replayed.lost_samples,
        )
