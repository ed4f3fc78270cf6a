"""The storage's numbers for ``/metrics``: one row of a table each, summed over the open tenants.

Nobody's database is opened for the sake of its numbers: what an idle tenant has on disk shows once
somebody has asked for it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from tsdb.db import DbStats


@dataclass(frozen=True, slots=True)
class _Plain:
    """A family that is one field of DbStats."""

    field: str
    name: str
    help: str
    counts: bool = False


@dataclass(frozen=True, slots=True)
class _Duration:
    """A summary of two fields of DbStats: how often, and how long in all."""

    count: str
    seconds: str
    name: str
    help: str


_TABLE = (
    _Plain("databases", "o11y_open_tenants", "Tenants in memory."),
    _Plain("head_series", "o11y_head_series", "Series in memory."),
    _Plain(
        "head_samples",
        "o11y_head_samples",
        "Samples in memory, with sealed ones that share a page with others.",
    ),
    _Plain("head_late_samples", "o11y_head_late_samples", "Late samples that wait for a seal."),
    _Plain(
        "head_pool_bytes",
        "o11y_head_pool_bytes",
        "Memory of histograms and of samples with start times that wait for a seal.",
    ),
    _Plain(
        "head_table_bytes",
        "o11y_head_table_bytes",
        "Memory of what is known of the series in memory: keys, labels, tables.",
    ),
    _Plain("exemplars", "o11y_exemplars", "Exemplars kept."),
    _Plain("blocks", "o11y_blocks", "Blocks on disk."),
    _Plain("block_bytes", "o11y_block_bytes", "Size of the blocks."),
    _Plain("block_samples", "o11y_block_samples", "Samples in the blocks."),
    _Plain(
        "block_index_memory_bytes",
        "o11y_block_index_memory_bytes",
        "Memory that the blocks' indexes take.",
    ),
    _Plain(
        "block_damaged_frames",
        "o11y_block_damaged_frames",
        "Damaged parts that were found in blocks.",
    ),
    _Plain(
        "lost_ranges",
        "o11y_lost_ranges",
        "Stretches of time of which damage has taken samples; queries of them are warned.",
    ),
    _Plain("quarantined_files", "o11y_quarantined_files", "Damaged files that are kept."),
    _Plain(
        "dropped_blocks", "o11y_dropped_blocks_total", "Blocks that a retention has dropped.", True
    ),
    _Plain(
        "retention_held",
        "o11y_retention_held",
        "Blocks that are not dropped because the clock has jumped.",
    ),
    _Duration("merges", "merge_seconds", "o11y_merge_duration_seconds", "Time of a merge."),
    _Plain("merge_failures", "o11y_merge_failures_total", "Merges that were given up.", True),
    _Plain(
        "merge_skipped",
        "o11y_merge_skipped_total",
        "Merges put off because the disk had no room for them.",
        True,
    ),
    _Plain("merge_written_bytes", "o11y_merge_written_bytes_total", "Size of merged blocks.", True),
    _Plain(
        "merge_damaged_blocks",
        "o11y_merge_damaged_blocks_total",
        "Damaged blocks that were merged as far as they are sound.",
        True,
    ),
    _Plain("deletions_waiting", "o11y_deletions_waiting", "Deletions that merges have yet to do."),
    _Plain("wal_segments", "o11y_wal_segments", "Segments of the logs."),
    _Plain("wal_bytes", "o11y_wal_bytes", "Size of the logs."),
    _Plain("wal_fsyncs", "o11y_wal_fsyncs_total", "Syncs of the logs.", True),
    _Plain(
        "wal_unsynced_bytes",
        "o11y_wal_unsynced_bytes",
        "What is acknowledged and not synced yet.",
    ),
    _Plain(
        "wal_failures", "o11y_wal_failures_total", "Writes or syncs of a log that failed.", True
    ),
    _Plain("waiting_writes", "o11y_commit_queue_writes", "Writes that wait for a commit."),
    _Duration(
        "writes", "write_wait_seconds", "o11y_commit_wait_seconds", "Time of a write in that queue."
    ),
    _Duration(
        "rounds",
        "round_seconds",
        "o11y_commit_duration_seconds",
        "Time of a commit: finding series, log, sync, head.",
    ),
    _Plain(
        "appended_samples", "o11y_storage_samples_total", "Samples the storage has taken.", True
    ),
    _Plain("appended_histograms", "o11y_storage_histograms_total", "Histograms among these.", True),
    _Plain(
        "appended_exemplars",
        "o11y_storage_exemplars_total",
        "Exemplars the storage has taken.",
        True,
    ),
    _Duration("seals", "seal_seconds", "o11y_seal_duration_seconds", "Time of a seal."),
    _Plain("seal_failures", "o11y_seal_failures_total", "Seals that the disk refused.", True),
    _Plain(
        "replayed_samples", "o11y_replay_samples_total", "Samples read from logs at a start.", True
    ),
    _Plain(
        "replay_damaged_bytes",
        "o11y_replay_damaged_bytes_total",
        "Bytes of damage inside a log, skipped.",
        True,
    ),
    _Plain(
        "replay_torn_bytes",
        "o11y_replay_torn_bytes_total",
        "Bytes behind the last whole record of a log, which were never acknowledged.",
        True,
    ),
    _Plain(
        "replay_lost_samples",
        "o11y_replay_lost_samples_total",
        "Samples whose series was named in a damaged record.",
        True,
    ),
)


class StorageCollector:
    """A collector of prometheus-client's."""

    def __init__(
        self, tenants: Callable[[], list[str]], stats: Callable[[], Iterable[DbStats]]
    ) -> None:
        """*tenants* names all that are on disk; *stats* gives the numbers of those open, and what
        others had counted before they were closed.
        """
        self._tenants = tenants
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = list(self._stats())
        yield GaugeMetricFamily("o11y_tenants", "Tenants on disk.", len(self._tenants()))
        for row in _TABLE:
            yield _family(row, stats)
        refused: Counter[str] = Counter()
        for one in stats:
            refused.update(one.refused_samples)
        family = CounterMetricFamily(
            "o11y_storage_refused_samples",
            "Samples the storage has refused, by reason.",
            labels=["reason"],
        )
        for reason, count in sorted(refused.items()):
            family.add_metric([reason], count)
        yield family


def _family(row: _Plain | _Duration, stats: list[DbStats]) -> Metric:
    if isinstance(row, _Duration):
        count, seconds = int(_total(stats, row.count)), _total(stats, row.seconds)
        return SummaryMetricFamily(row.name, row.help, count, seconds)
    kind = CounterMetricFamily if row.counts else GaugeMetricFamily
    return kind(row.name, row.help, _total(stats, row.field))


def _total(stats: list[DbStats], field: str) -> float:
    total: float = sum(getattr(one, field) for one in stats)
    return total
