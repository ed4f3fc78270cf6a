"""Samples of more than 64 bits stand behind tickets, and come back as they were."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.histogram import Histogram, Histograms, build_histograms
from series.labels import Labels
from tests.examples import examples
from tests.tsdb.contents import (
    Started,
    Value,
    build,
    content,
    contents,
    histograms,
    ticket_float,
    values,
)
from tsdb.head import pool
from tsdb.head.arena import Arena
from tsdb.head.pool import Pool
from tsdb.log import records
from tsdb.sample import entry_kernels
from tsdb.sample.entries import (
    Entries,
    box,
    entry_numbers,
    leave_out,
    moved_tickets,
    ticket_places,
    unbox,
)
from tsdb.sample.samples import Samples, join_samples

_SERIES = Labels.of({"__name__": "m"})


def _entries(samples: list[Value]) -> Entries:
    """An entry for each of the samples, which all need one."""
    batch = build([(_SERIES, list(range(len(samples))), samples)])
    _, entries = box(batch)
    assert entries is not None and entries.size == len(samples)
    return entries


def _numbered(count: int, first: int = 0) -> Entries:
    return _entries([Started(float(first + k), first + k + 1) for k in range(count)])


@examples(60)
@given(st.lists(values, max_size=30))
def test_what_was_boxed_is_unboxed(samples: list[Value]) -> None:
    """Bit for bit, and every sample that is nothing but a float keeps its own bits."""
    batch = build([(_SERIES, list(range(len(samples))), samples)])
    bits, entries = box(batch)
    boxed = build([(_SERIES, list(range(len(samples))), [0.0] * len(samples))])
    boxed.values.view(np.uint64)[:] = bits
    if entries is None:
        assert contents(boxed, 0) == contents(batch, 0)
    else:
        numbers = entry_numbers(bits[ticket_places(bits)])
        assert numbers.tolist() == list(range(entries.size))
        back = unbox(boxed, entries.take)
        back.check(rising=True)
        assert contents(back, 0) == {at: content(one) for at, one in enumerate(samples)}


def test_a_batch_of_plain_floats_is_not_even_copied() -> None:
    """Nor does it get entries."""
    batch = build([(_SERIES, [1, 2], [1.0, float("nan")])])
    bits, entries = box(batch)
    assert entries is None
    assert np.shares_memory(bits, batch.values)


def test_a_start_that_is_no_time_is_unknown() -> None:
    """Beyond 2**53 ms there is no time."""
    starts = [2**53, 2**53 + 1, -(2**53), -(2**63), 2**63 - 1]
    batch = build([(_SERIES, list(range(5)), [Started(1.0, start) for start in starts])])
    _, entries = box(batch)
    assert entries is not None
    assert entries.starts_ms.tolist() == [2**53, -(2**53)]


@examples(60)
@given(st.lists(st.tuples(values, values), max_size=20))
def test_entries_are_the_same_where_all_of_them_is(pairs: list[tuple[Value, Value]]) -> None:
    """But for what is known of counter resets."""
    needy = [pair for pair in pairs if all(isinstance(content(one), tuple) for one in pair)]
    if not needy:
        return
    same = _entries([one for one, _ in needy]).same_as(_entries([other for _, other in needy]))
    assert same.tolist() == [_unhinted(one) == _unhinted(other) for one, other in needy]


def _unhinted(value: Value) -> object:
    sample, start_ms = value if isinstance(value, Started) else (value, 0)
    if isinstance(sample, Histogram):
        sample = Histogram(
            sample.schema, sample.count, sample.sum, sample.zero_threshold, sample.zero_count,
            sample.buckets, sample.bounds,
        )  # fmt: skip
    return content(Started(sample, start_ms))


@examples(40)
@given(st.lists(st.lists(values, max_size=6), max_size=5), st.data())
def test_joined_and_cut_samples_keep_their_entries(
    parts: list[list[Value]], data: st.DataObject
) -> None:
    """Whichever samples of whichever parts are taken."""
    made = []
    for part in parts:
        batch = build([(_SERIES, list(range(len(part))), part)])
        zeros = np.zeros(len(part), dtype=np.int32)
        made.append(Samples(zeros, batch.times_ms, *box(batch)))
    joined = join_samples(made)
    flat = [one for part in parts for one in part]
    chosen = np.array([data.draw(st.booleans()) for _ in flat], dtype=np.bool_)
    taken = joined.take(chosen)
    got = [contents(taken.one(at), 0).popitem()[1] for at in range(len(taken.series))]
    assert got == [content(one) for one, kept in zip(flat, chosen, strict=True) if kept]
    needed = sum(isinstance(content(one), tuple) for one in flat)
    assert joined.entries is None or joined.entries.size >= needed


@examples(40)
@given(st.lists(values, max_size=20))
def test_entries_survive_the_record(samples: list[Value]) -> None:
    """A section of the log gives back every bit."""
    _, entries = box(build([(_SERIES, list(range(len(samples))), samples)]))
    if entries is None:
        return
    section = records.encode_entries(entries)
    assert section.required and section.kind == records.ENTRIES
    (back,) = records.sections(records.encode_record([section])[24:])
    decoded = records.decode_entries(back.content)
    decoded.histograms.check()
    assert decoded.same_as(entries).all() and entries.same_as(decoded).all()
    hints = [
        h.hints[e.histogram_ids[e.is_histogram]] for e in (entries, decoded) for h in [e.histograms]
    ]
    assert (hints[0] == hints[1]).all()


def test_samples_are_left_out_of_rows_that_share_their_times() -> None:
    """Each row then has times of its own."""
    batch = build([(_SERIES, [1, 2, 3], [1.0, 2.0, 3.0]), (Labels(), [1, 2], [4.0, 5.0])])
    left = leave_out(batch, np.array([1, 3]))
    left.check(rising=True)
    assert [contents(left, row) for row in (0, 1)] == [
        {1: content(1.0), 3: content(3.0)},
        {2: content(5.0)},
    ]


# The pool of a head


def test_a_pool_finds_entries_over_all_its_chunks() -> None:
    """Small chunks are merged, large ones stay."""
    arena = Arena(64)
    held = Pool(arena)
    sizes = [1, 1, 3, 20_000, 2, 1, 1, 16_000, 5]
    for size in sizes:
        held.add(_numbered(size, held.next_number), np.full(size, held.next_number))
    assert 3 < len(held.chunks) < len(sizes)
    assert held.size_bytes == arena.pool_bytes > 0
    random = np.random.default_rng(1)
    numbers = random.integers(0, sum(sizes), 500)
    assert pool.take(held.chunks, numbers).values.tolist() == numbers.tolist()


def test_a_reader_keeps_the_entries_it_has_seen() -> None:
    """Chunks whose samples are all sealed go, but for entries that late samples need."""
    arena = Arena(64)
    held = Pool(arena)
    for first, time_ms in ((0, 10), (20_000, 20), (40_000, 30)):
        held.add(_numbered(20_000, first), np.full(20_000, time_ms))
    seen = held.chunks
    held.drop(25, np.array([20_005]))
    assert [chunk.first for chunk in held.chunks] == [20_000, 40_000]
    held.add(_numbered(2, 60_000), np.full(2, 40))
    assert pool.take(held.chunks, np.array([60_001, 20_005])).values.tolist() == [60_001, 20_005]
    assert pool.take(seen, np.array([7, 40_000])).values.tolist() == [7, 40_000]
    held.clear()
    assert held.size_bytes == arena.pool_bytes == 0


def test_a_chunk_is_cut_where_most_of_it_is_sealed() -> None:
    """What is left keeps its numbers."""
    held = Pool(Arena(64))
    held.add(_numbered(100), np.arange(100))
    held.drop(50, np.array([], dtype=np.int64))
    assert held.chunks[0].entries.size == 100
    held.drop(60, np.array([55]))
    (chunk,) = held.chunks
    assert (chunk.first, chunk.entries.size) == (55, 45)
    assert pool.take(held.chunks, np.array([99, 55])).values.tolist() == [99, 55]


def test_a_blanked_entry_takes_no_more_than_its_place() -> None:
    """Its histogram goes; the others keep their numbers."""
    wide = Histogram(count=3.0, buckets=tuple((at, 1.0) for at in range(1, 100)))
    entries = _entries([wide, Started(1.0, 5), wide])
    left = entries.blanked(np.array([False, True, True]))
    assert left.size == 3 and left.histograms.size == 1
    assert left.values.tolist() == [0.0, 1.0, 0.0]
    assert left.take(np.array([2])).same_as(entries.take(np.array([0]))).all()


# Slow twins of the kernels


def _layout(one: Histogram) -> object:
    positions = tuple(at for at, _ in one.buckets)
    return one.schema, one.hint, positions, content(Histogram(bounds=one.bounds))


@examples(60)
@given(st.lists(histograms, max_size=12))
def test_changes_of_layout_are_found(rows: list[Histogram]) -> None:
    """Wherever schema, hint, positions or bounds are not those of the histogram before."""
    found = build_histograms(rows)
    changed = np.empty(len(rows), dtype=np.bool_)
    entry_kernels.find_changes(
        found.schemas, found.hints, found.offsets, found.positions, found.bound_offsets,
        found.bounds.view(np.int64), changed,
    )  # fmt: skip
    layouts = [None, *map(_layout, rows)]
    assert changed.tolist() == [one != before for before, one in itertools.pairwise(layouts)]


def _columns(entries: Entries, first: int, length: int) -> list[float]:
    """The columns of one run, one after the other."""
    rows = []
    for entry in range(first, first + length):
        start_ms = float(entries.starts_ms[entry])
        if entries.histogram_ids[entry] < 0:
            rows.append([float(entries.values[entry]), start_ms])
            continue
        one = entries.histograms.one(int(entries.histogram_ids[entry]))
        rows.append(
            [start_ms, one.count, one.sum, one.zero_threshold, one.zero_count]
            + [count for _, count in one.buckets]
        )
    return [number for column in zip(*rows, strict=True) for number in column]


@pytest.mark.parametrize("is_histogram", [False, True])
def test_runs_go_to_columns_and_back(is_histogram: bool) -> None:
    """Two runs of three and two entries."""
    samples: list[Value] = [
        Started(
            Histogram(count=k, sum=k / 8, zero_count=2.0, buckets=((-5, k + 1.0), (9, k * 2.0)))
            if is_histogram
            else ticket_float(k),
            100 + k,
        )
        for k in range(5)
    ]
    entries = _entries(samples)
    found = entries.histograms
    firsts, lengths = np.array([0, 3]), np.array([3, 2])
    ids = np.array([0, 3]) if is_histogram else np.array([-1, -1])
    width = 7 if is_histogram else 2
    out = np.empty(width * 5)
    size = entry_kernels.to_columns(
        firsts, lengths, ids, entries.values, entries.starts_ms, found.counts, found.sums,
        found.zero_thresholds, found.zero_counts, found.offsets, found.bucket_counts, out,
    )  # fmt: skip
    expected = np.array(_columns(entries, 0, 3) + _columns(entries, 3, 2))
    assert size == len(out) == len(expected)
    assert (out.view(np.uint64) == expected.view(np.uint64)).all()
    places = np.array([0, 1, 2, 3 * width, 3 * width + 1])
    values, starts_ms = np.empty(5), np.empty(5, dtype=np.int64)
    counts, sums, thresholds, zeros = np.empty((4, found.size))
    buckets = np.empty(len(found.positions))
    entry_kernels.from_columns(
        out, places, np.array([3, 3, 3, 2, 2]), entries.histogram_ids, found.offsets,
        values, starts_ms, counts, sums, thresholds, zeros, buckets,
    )  # fmt: skip
    back = Entries(
        values, starts_ms, entries.histogram_ids,
        Histograms(
            found.schemas, found.hints, counts, sums, thresholds, zeros, found.offsets,
            found.positions, buckets, found.bound_offsets, found.bounds,
        ),
    )  # fmt: skip
    assert back.same_as(entries).all()


def test_tickets_move_and_floats_stay() -> None:
    """By the same number of entries."""
    bits = np.array([1.5, ticket_float(0), -2.0, ticket_float(7)]).view(np.uint64)
    moved = moved_tickets(bits, 10)
    assert entry_numbers(moved[[1, 3]]).tolist() == [10, 17]
    assert (moved[[0, 2]] == bits[[0, 2]]).all()
