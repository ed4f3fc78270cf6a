"""Which blocks are merged next; a pure function of what the manifest says of them.

Time is cut into windows of 1, 4, 16, ... block ranges, up to a largest one. A window is *ripe* once
only late samples can still fall into it; then the blocks that lie within it become one, if that
pays: what they hold together must be at least twice what the largest of them holds. So a sample is
written once more a level, and a small block never has a large one rewritten. Late data that
overlaps the largest block is worth it from a quarter of its size on. Before that it waits, and
small late blocks merge among themselves. Blocks that lie within no window at all, which is what
late samples of many days make, merge with their like only.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tsdb.block.format import BlockMeta
from tsdb.deletion import Deletion

LEVEL_FACTOR = 4
"""A window has so many of the next smaller ones."""
WORTH = 2.0
"""Sources hold so many times what the largest of them does ..."""
LATE_WORTH = 1.25
"""... or so many times where all others overlap it, or there are more than CROWD in a window."""
CROWD = 16
"""So many blocks are merged although their window is not ripe."""
MAX_DELETIONS = 64
"""With more deletions waiting, blocks are rewritten for their sake."""
_SMALL_BYTES = 16 << 10
"""Below this the size of a block makes no difference: opening it costs more than reading it."""
_WIDER = 1.5
"""Blocks beyond all windows make one that is at most so much wider than the widest of them."""

DAY_MS = 86_400_000
_MOST_RANGE_MS = 31 * DAY_MS


@dataclass(frozen=True, slots=True)
class Rules:
    """What bounds a merge.

    - ``block_range_ms``: the smallest window; ``max_range_ms``: none is larger.
    - ``max_rows``: series of all sources together, each counted in each of them; they are what the
      memory of a merge goes by.
    """

    block_range_ms: int
    max_range_ms: int
    max_rows: int = 1 << 62

    @classmethod
    def of(cls, block_range_ms: int, retention_ms: int, max_rows: int = 1 << 62) -> "Rules":
        """A tenth of the retention (0: for ever), but a day at least and 31 days at most."""
        tenth_ms = retention_ms // 10 if retention_ms else _MOST_RANGE_MS
        return cls(block_range_ms, min(max(tenth_ms, DAY_MS), _MOST_RANGE_MS), max_rows)

    @property
    def window_ranges_ms(self) -> tuple[int, ...]:
        """The ranges of the windows, ascending."""
        ranges_ms = [self.block_range_ms]
        while ranges_ms[-1] * LEVEL_FACTOR <= self.max_range_ms:
            ranges_ms.append(ranges_ms[-1] * LEVEL_FACTOR)
        return tuple(ranges_ms)


@dataclass(frozen=True, slots=True)
class MergePlan:
    """Blocks that are to become one, and that one's rank."""

    sources: tuple[BlockMeta, ...]
    rank: int

    @property
    def size_bytes(self) -> int:
        return sum(block.size_bytes for block in self.sources)


def plan_merge(
    blocks: Sequence[BlockMeta],
    deletions: Sequence[Deletion],
    complete_ms: int,
    rules: Rules,
    skip: Collection[int] = (),
) -> MergePlan | None:
    """The merge of *blocks* that is due, None where none is.

    All samples before *complete_ms* are in blocks, but for late ones. Blocks whose sequence is in
    *skip* stay.
    """
    for ripe, group in _groups(blocks, complete_ms, rules):
        for run in _worthwhile(group, rules, beyond_windows=not ripe):
            if not any(block.sequence in skip for block in run):
                rank = rank_of(run, blocks)
                if rank is not None:
                    return MergePlan(run, rank)
    if len(deletions) > MAX_DELETIONS:
        hit = [b for b in blocks if b.sequence not in skip and any(d.hits(b) for d in deletions)]
        if hit:
            smallest = min(hit, key=lambda block: (block.size_bytes, block.sequence))
            return MergePlan((smallest,), smallest.rank)
    return None


def rank_of(sources: Collection[BlockMeta], blocks: Collection[BlockMeta]) -> int | None:
    """The rank that a merge of *sources* takes among all *blocks*, None where there is none.

    Of samples at one instant those of the lowest rank count. So with every other block that
    overlaps a source, the merged one must stand in the order in which that source stood.
    """
    chosen = {block.sequence for block in sources}
    others = [block for block in blocks if block.sequence not in chosen]
    met = [(one, other) for one in sources for other in others if overlap(one, other)]
    ranks = [block.rank for block in sources]
    for rank in (min(ranks), max(ranks)):
        if all((other.rank < one.rank) == (other.rank < rank) for one, other in met):
            return rank
    return None


def overlap(a: BlockMeta, b: BlockMeta) -> bool:
    """Whether there may be samples of both at one instant."""
    return a.min_time_ms <= b.max_time_ms and b.min_time_ms <= a.max_time_ms


def _groups(
    blocks: Sequence[BlockMeta], complete_ms: int, rules: Rules
) -> Iterator[tuple[bool, list[BlockMeta]]]:
    """Blocks that may merge with each other, by rank: those of each window that is ripe, the
    smallest windows first; then, with False, those that lie within no window.
    """
    ranked = sorted(blocks, key=lambda block: (block.rank, block.sequence))
    for range_ms in rules.window_ranges_ms:
        windows: dict[int, list[BlockMeta]] = defaultdict(list)
        beyond: list[BlockMeta] = []
        for block in ranked:
            window = block.min_time_ms // range_ms
            (windows[window] if block.max_time_ms // range_ms == window else beyond).append(block)
        for window, group in sorted(windows.items()):
            if complete_ms >= (window + 1) * range_ms or len(group) > CROWD:
                yield True, group
    yield False, beyond


def _worthwhile(
    group: Sequence[BlockMeta], rules: Rules, *, beyond_windows: bool
) -> list[tuple[BlockMeta, ...]]:
    """The stretches of *group*, which is ordered by rank, that are worth a merge; longest first."""
    sizes = [max(block.size_bytes, _SMALL_BYTES) for block in group]
    sums = [0, *accumulate(sizes)]
    rows = [0, *accumulate(block.series for block in group)]
    found = []
    for begin in range(len(group)):
        largest = begin
        for end in range(begin + 1, len(group)):
            if sizes[end] > sizes[largest]:
                largest = end
            run = slice(begin, end + 1)
            total = sums[end + 1] - sums[begin]
            if rows[end + 1] - rows[begin] > rules.max_rows or total < LATE_WORTH * sizes[largest]:
                continue
            if beyond_windows and not _keeps_narrow(group[run], rules):
                continue
            crowded = len(group) > CROWD
            if (
                total >= WORTH * sizes[largest]
                or crowded
                or all(overlap(block, group[largest]) for block in group[run])
            ):
                found.append(tuple(group[run]))
    return sorted(found, key=lambda run: (-len(run), run[0].rank))


def _keeps_narrow(run: Sequence[BlockMeta], rules: Rules) -> bool:
    range_ms = max(b.max_time_ms for b in run) - min(b.min_time_ms for b in run)
    widest_ms = max(block.max_time_ms - block.min_time_ms for block in run)
    return range_ms < max(rules.max_range_ms, _WIDER * widest_ms)
