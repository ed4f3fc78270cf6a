"""What is merged: bounded work, no large block for the sake of a small one, and nothing put in
another order than it was stored in."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tsdb.block.format import BlockMeta
from tsdb.deletion import Deletion
from tsdb.upkeep.merge_plan import DAY_MS, MAX_DELETIONS, MergePlan, Rules, plan_merge, rank_of

HOUR_MS = 3_600_000
RANGE_MS = 2 * HOUR_MS
RULES = Rules.of(RANGE_MS, 15 * DAY_MS)
MB = 1 << 20


def _block(
    sequence: int, start_ms: int, end_ms: int, size_bytes: int = MB, *, rank: int | None = None
) -> BlockMeta:
    return BlockMeta(
        sequence=sequence,
        min_time_ms=start_ms,
        max_time_ms=end_ms,
        series=1000,
        samples=size_bytes,
        index_bytes=0,
        data_bytes=size_bytes,
        late=False,
        rank=sequence if rank is None else rank,
    )


def _window(sequence: int, at: int, size_bytes: int = MB) -> BlockMeta:
    """A block of the window *at*, counted in block ranges."""
    return _block(sequence, at * RANGE_MS, (at + 1) * RANGE_MS - 1, size_bytes)


class _Disk:
    """Blocks that come and are merged as planned, without their samples."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules = rules
        self.blocks: list[BlockMeta] = []
        self.stored_bytes = self.written_bytes = 0
        self.merges: list[MergePlan] = []
        self.complete_ms = 0
        self._sequence = 1

    def store(self, start_ms: int, end_ms: int, size_bytes: int) -> None:
        self.blocks.append(_block(self._sequence, start_ms, end_ms, size_bytes))
        self.stored_bytes += size_bytes
        self._sequence += 1

    def merge_all(self) -> None:
        while plan := plan_merge(self.blocks, (), self.complete_ms, self.rules):
            gone = {block.sequence for block in plan.sources}
            assert len(gone) >= 2 and gone <= {block.sequence for block in self.blocks}
            self.blocks = [block for block in self.blocks if block.sequence not in gone]
            merged = _block(
                self._sequence,
                min(block.min_time_ms for block in plan.sources),
                max(block.max_time_ms for block in plan.sources),
                plan.size_bytes,
                rank=plan.rank,
            )
            self.blocks.append(merged)
            self.written_bytes += plan.size_bytes
            self.merges.append(plan)
            self._sequence += 1

    def expire(self, oldest_ms: int) -> None:
        self.blocks = [block for block in self.blocks if block.max_time_ms >= oldest_ms]


def test_a_month_of_even_writing_is_written_twice_more() -> None:
    """Each sample moves up two levels in 15 days of retention: 8 hours, then 32."""
    disk = _Disk()
    for window in range(12 * 30):
        disk.store(window * RANGE_MS, (window + 1) * RANGE_MS - 1, MB)
        disk.complete_ms = (window + 1) * RANGE_MS
        disk.merge_all()
        disk.expire(disk.complete_ms - 15 * DAY_MS)
        assert len(disk.blocks) <= 12 + 3 + 3 + 1
    assert 1.85 < disk.written_bytes / disk.stored_bytes <= 2.0
    ranges_ms = {block.max_time_ms - block.min_time_ms + 1 for block in disk.blocks}
    assert ranges_ms <= {RANGE_MS, 4 * RANGE_MS, 16 * RANGE_MS}


def test_a_late_sample_a_day_does_not_rewrite_days() -> None:
    """15 days get a late sample each, all at once or one a day: no large block is touched."""
    for at_once in (False, True):
        disk = _Disk()
        for window in range(12 * 15):
            disk.store(window * RANGE_MS, (window + 1) * RANGE_MS - 1, 100 * MB)
            disk.complete_ms = (window + 1) * RANGE_MS
            disk.merge_all()
        written_before = disk.written_bytes
        if at_once:
            disk.store(HOUR_MS, 15 * DAY_MS - HOUR_MS, 2000)
            disk.merge_all()
        else:
            for day in range(15):
                disk.store(day * DAY_MS + HOUR_MS, day * DAY_MS + HOUR_MS, 2000)
                disk.merge_all()
        assert disk.written_bytes - written_before < 100_000


def test_late_blocks_merge_among_themselves_and_join_when_worth_it() -> None:
    """Hundreds of small ones stay few; the large block is rewritten once a quarter of it came."""
    disk = _Disk()
    day = 16 * RANGE_MS
    disk.store(0, day - 1, 64 * MB)
    disk.complete_ms = 2 * day
    for k in range(400):
        disk.store(k * 1000, k * 1000 + HOUR_MS, MB // 4)
        disk.merge_all()
        assert len(disk.blocks) < 20
    rewrites = [plan for plan in disk.merges if plan.size_bytes > 64 * MB]
    assert 2 <= len(rewrites) <= 5
    assert disk.written_bytes < 8 * disk.stored_bytes


def test_blocks_of_many_days_merge_with_their_like_only() -> None:
    """Late samples of 15 days an hour: the daily blocks stay, and late ones are few."""
    disk = _Disk()
    for day in range(11):
        disk.store(day * 16 * RANGE_MS, (day + 1) * 16 * RANGE_MS - 1, 100 * MB)
    disk.complete_ms = 12 * 16 * RANGE_MS
    for k in range(200):
        disk.store(k * 60_000, 11 * 16 * RANGE_MS - 7, 50_000)
        disk.merge_all()
        assert len(disk.blocks) < 11 + 20
    assert all(plan.size_bytes < 100 * MB for plan in disk.merges)


def test_what_is_not_complete_yet_waits() -> None:
    """Four blocks of a window become one when only late samples can still come, not before."""
    blocks = [_window(k + 1, k) for k in range(4)]
    assert plan_merge(blocks, (), 4 * RANGE_MS - 1, RULES) is None
    plan = plan_merge(blocks, (), 4 * RANGE_MS, RULES)
    assert plan is not None and plan.sources == tuple(blocks) and plan.rank == 1
    many = [_block(k + 1, k, k) for k in range(40)]
    assert plan_merge(many, (), 0, RULES) is not None, "so many that it does not pay to wait"


def test_memory_bounds_a_merge() -> None:
    """With too many series for one merge, fewer blocks are taken, or none."""
    blocks = [_window(k + 1, k) for k in range(4)]
    plan = plan_merge(blocks, (), DAY_MS, replace(RULES, max_rows=3000))
    assert plan is not None and len(plan.sources) == 3
    assert plan_merge(blocks, (), DAY_MS, replace(RULES, max_rows=1999)) is None


def test_lost_blocks_are_left_alone() -> None:
    """What cannot be read is not merged, and no merge reaches across where it would matter."""
    blocks = [_window(k + 1, k) for k in range(4)]
    plan = plan_merge(blocks, (), DAY_MS, RULES, skip={2})
    assert plan is not None and [block.sequence for block in plan.sources] == [3, 4]


def test_many_deletions_have_blocks_rewritten() -> None:
    """A few deletions wait for the merges; beyond a bound blocks are rewritten for them."""
    blocks = [_window(1, 0, 9 * MB), _window(2, 8, MB), _window(3, 50, 5 * MB)]

    def deletions(count: int) -> list[Deletion]:
        return [Deletion((("=", "a", str(k)),), 0, 10 * RANGE_MS, 2) for k in range(count)]

    assert plan_merge(blocks, deletions(MAX_DELETIONS), 0, RULES) is None
    plan = plan_merge(blocks, deletions(MAX_DELETIONS + 1), 0, RULES)
    assert plan == MergePlan((blocks[1],), 2)


def test_ranges_follow_the_retention() -> None:
    """The largest range is a tenth of the retention, a day at least and 31 days at most."""
    hours = [
        [range_ms // HOUR_MS for range_ms in Rules.of(RANGE_MS, days * DAY_MS).window_ranges_ms]
        for days in (1, 15, 60, 0)
    ]
    assert hours == [[2, 8], [2, 8, 32], [2, 8, 32, 128], [2, 8, 32, 128, 512]]


_blocks = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20), st.sampled_from([1, 3, 10, 1000, MB])),
    min_size=2,
    max_size=14,
)


@examples(100)
@given(_blocks, st.permutations(range(14)))
def test_no_merge_changes_which_sample_counts(
    shapes: list[tuple[int, int, int]], ranks: list[int]
) -> None:
    """At every instant the block that counted before a merge, or the merged one in its place."""
    blocks = [
        _block(k + 1, start, start + length, size, rank=ranks[k] + 1)
        for k, (start, length, size) in enumerate(shapes)
    ]
    rules = Rules(4, 64)
    for _ in range(20):
        plan = plan_merge(blocks, (), 1000, rules)
        if plan is None:
            break
        assert plan.rank == rank_of(plan.sources, blocks)
        gone = {block.sequence for block in plan.sources}
        merged = _block(
            max(block.sequence for block in blocks) + 1,
            min(block.min_time_ms for block in plan.sources),
            max(block.max_time_ms for block in plan.sources),
            plan.size_bytes,
            rank=plan.rank,
        )
        after = [block for block in blocks if block.sequence not in gone]
        for time in range(90):
            before = [b for b in blocks if b.min_time_ms <= time <= b.max_time_ms]
            others = [b for b in after if b.min_time_ms <= time <= b.max_time_ms]
            if not before:
                continue
            counts = min(before, key=lambda block: block.rank)
            own = [block for block in before if block.sequence in gone]
            # Only where a source has a sample does the merged block have one.
            candidates = others + ([merged] if own else [])
            now = min(candidates, key=lambda block: block.rank)
            assert (now is merged) == (counts.sequence in gone)
            if now is not merged:
                assert now is counts
        blocks = [*after, merged]


def _lengths(draw: random.Random) -> int:
    return draw.choice([RANGE_MS // 4, RANGE_MS, RANGE_MS, RANGE_MS, 3 * RANGE_MS])


@examples(6)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.2, 0.7]), st.sampled_from([1, 10, 300]))
def test_write_amplification_is_bounded(seed: int, late_share: float, spread: int) -> None:
    """However sizes and late data come: few writes a byte, few blocks, no circle."""
    draw = random.Random(seed)
    disk = _Disk()
    now_ms = 0
    for _ in range(120):
        length_ms = _lengths(draw)
        disk.store(now_ms, now_ms + length_ms - 1, MB * draw.randint(1, spread))
        if draw.random() < late_share:
            start_ms = draw.randint(max(0, now_ms - 15 * DAY_MS), now_ms)
            size_bytes = draw.randint(1, spread) * draw.choice([100, MB // 10, MB])
            disk.store(start_ms, draw.randint(start_ms, now_ms), size_bytes)
        now_ms += length_ms
        disk.complete_ms = now_ms
        disk.merge_all()
        disk.expire(now_ms - 15 * DAY_MS)
        assert len(disk.blocks) < 100
    assert disk.written_bytes <= 5 * disk.stored_bytes
