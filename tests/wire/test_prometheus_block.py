"""Blocks of Prometheus come back bit for bit, and what is damaged costs nothing else."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from series.histogram import OFFSET
from series.labels import Labels
from tests.wire import prometheus_block as slow
from tests.wire.prometheus_block import Chunk, Layout, Native
from wire.errors import Malformed
from wire.prometheus_block import BlockReader, read_meta, read_tombstones

Samples = list[tuple[int, int]]

times = st.lists(
    st.one_of(st.integers(1, 9), st.integers(1, 1 << 14), st.integers(1, 1 << 45), st.just(15_000)),
    min_size=1,
    max_size=30,
)
bits = st.one_of(
    st.integers(0, 2**64 - 1),
    st.floats(width=64).map(slow.float_bits),
    st.integers(0, 50).map(lambda n: slow.float_bits(float(n))),
    st.sampled_from([slow.STALE_BITS, 0x7FF8000000000001, 1 << 63, 0xFFF8_0000_0000_0123]),
)


@st.composite
def floats(draw: st.DrawFn) -> Samples:
    """Samples of an XOR chunk: rising times, values of any bits."""
    first = draw(st.integers(-(2**50), 2**50))
    steps = draw(times)
    found, time_ms = [], first
    for step in steps:
        found.append((time_ms, draw(bits)))
        time_ms += step
    return found


def array(content: bytes) -> np.ndarray:
    return np.frombuffer(content, dtype=np.uint8)


def reader(block: slow.Block, stones: bytes | None = None) -> BlockReader:
    return BlockReader(array(block.index), [array(one) for one in block.segments], stones)


def xor(samples: Samples) -> Chunk:
    return Chunk(samples[0][0], samples[-1][0], 1, slow.xor_chunk(samples))


def read(one: BlockReader) -> tuple[dict[Labels, Samples], dict[str, int], list[str]]:
    """Every float by series, what was refused, and how it is told."""
    found: dict[Labels, Samples] = {}
    refused: dict[str, int] = {}
    texts = []
    for page in one.batches():
        page.batch.check()
        for reason, count in page.refused.items():
            refused[reason] = refused.get(reason, 0) + count
        texts += [refusal.detail for refusal in page.refusals]
        for row in range(page.batch.series_count):
            labels = Labels.from_key(page.batch.key(row))
            values = page.batch.row_values(row).view(np.uint64).tolist()
            row_times_ms = page.batch.row_times_ms(row).tolist()
            found.setdefault(labels, []).extend(zip(row_times_ms, values, strict=True))
    return found, refused, texts


@given(st.lists(st.lists(floats(), min_size=1, max_size=3), min_size=1, max_size=4))
def test_floats_come_back_bit_for_bit(series: list[list[Samples]]) -> None:
    """The kernel, a reader of single bits, and what was written agree on every sample."""
    content = []
    expected = {}
    for number, chunks in enumerate(series):
        later: Samples = []
        kept = []
        for samples in chunks:
            shift = later[-1][0] + 1 - samples[0][0] if later else 0
            moved = [(time_ms + shift, value) for time_ms, value in samples]
            assert slow.slow_xor(slow.xor_chunk(moved)) == moved
            kept.append(xor(moved))
            later += moved
        labels = [("__name__", "m"), ("n", f"{number}é")]
        content.append((labels, kept))
        expected[Labels(labels)] = later

    found, refused, _ = read(reader(slow.block(content, per_segment=2)))

    assert found == expected
    assert refused == {}


@given(floats(), st.data())
def test_a_chunk_that_is_cut_short_is_named_and_nothing_else_is_lost(
    samples: Samples, data: st.DataObject
) -> None:
    """Wherever it ends, the kernel reads what the slow reader reads, or refuses the chunk."""
    whole = slow.xor_chunk(samples)
    cut = whole[: data.draw(st.integers(3, len(whole)))]
    block = slow.block(
        [
            ([("__name__", "a")], [Chunk(samples[0][0], samples[-1][0], 1, cut)]),
            ([("__name__", "b")], [xor([(1, 2)])]),
        ]
    )
    try:
        expected = {Labels.of({"__name__": "a"}): slow.slow_xor(cut)}
    except EOFError:
        expected = {}

    found, refused, texts = read(reader(block))

    assert found == {**expected, Labels.of({"__name__": "b"}): [(1, 2)]}
    assert refused == ({} if expected else {"damaged-chunk": 1})
    assert expected or "chunk at offset 8 of chunks/000001" in texts[0]


@st.composite
def natives(draw: st.DrawFn) -> tuple[Layout, list[tuple[int, Native]], bool]:
    """A chunk of histograms: layout, samples, and whether its counts are floats."""
    is_float = draw(st.booleans())
    is_custom = draw(st.booleans())
    layout = Layout(
        schema=-53 if is_custom else draw(st.integers(-4, 8)),
        zero_threshold=draw(st.sampled_from([0.0, 2.0**-128, 0.001, 1024.0, 2.0**-300])),
        positive=sorted(draw(st.sets(st.integers(0, 40), max_size=6))),
        negative=[] if is_custom else sorted(draw(st.sets(st.integers(-9, 400), max_size=4))),
        bounds=sorted(draw(st.sets(st.sampled_from([0.005, 0.1, 1.0, -2.5, 1e9, 1 / 3]))))
        if is_custom
        else [],
        flag=draw(st.integers(0, 3)),
    )
    counts = st.floats(0, 1e9) if is_float else st.integers(0, 1 << 40).map(float)
    time_ms, samples = draw(st.integers(0, 1 << 41)), []
    is_stale = False
    for at in range(draw(st.integers(1, 6))):
        # After a stale marker Prometheus begins a chunk, unless another one follows.
        is_stale = is_stale or (at > 0 and draw(st.integers(0, 5)) == 0)
        one = Native(is_stale=True)
        if not is_stale:
            one = Native(
                draw(counts),
                draw(counts),
                draw(st.floats(allow_nan=False)),
                [draw(counts) for _ in layout.positive],
                [draw(counts) for _ in layout.negative],
            )
        samples.append((time_ms, one))
        time_ms += draw(st.integers(1, 1 << 20))
    return layout, samples, is_float


@given(natives())
def test_histograms_come_back_bit_for_bit(
    made: tuple[Layout, list[tuple[int, Native]], bool],
) -> None:
    """Counts, sums, buckets, bounds and hints of whole and floating histograms are those written.

    A stale marker is a float.
    """
    layout, samples, is_float = made
    chunk = slow.histogram_chunk(layout, samples, is_float=is_float)
    last = Chunk(samples[0][0], samples[-1][0], 3 if is_float else 2, chunk)
    one = reader(slow.block([([("__name__", "h")], [last])]))

    (page,) = one.batches()

    batch = page.batch
    batch.check(rising=True)
    assert page.refused == {}
    assert batch.row_times_ms(0).tolist() == [time_ms for time_ms, _ in samples]
    assert batch.histogram_ids is not None and batch.histograms is not None
    for at, (_, native) in enumerate(samples):
        number = int(batch.histogram_ids[at])
        if native.is_stale:
            assert number == -1
            assert batch.values[at : at + 1].view(np.uint64)[0] == slow.STALE_BITS
            continue
        found = batch.histograms.one(number)
        negative = zip(reversed(layout.negative), reversed(native.negative), strict=True)
        positive = zip(layout.positive, native.positive, strict=True)
        assert found.buckets == (
            *((-(OFFSET + index), count) for index, count in negative),
            *((OFFSET + index, count) for index, count in positive),
        )
        assert (found.count, found.zero_count) == (native.count, native.zero_count)
        assert struct.pack("<d", found.sum) == struct.pack("<d", native.sum)
        assert (found.schema, found.zero_threshold) == (layout.schema, layout.zero_threshold)
        assert found.bounds == tuple(layout.bounds)
        expected = 3 if layout.flag == 3 else 2 if at else 1 if layout.flag == 2 else 0
        assert found.hint == expected


@settings(max_examples=60)
@given(natives(), st.data())
def test_any_bytes_of_a_histogram_chunk_are_read_or_refused(
    made: tuple[Layout, list[tuple[int, Native]], bool], data: st.DataObject
) -> None:
    """A chunk with a right checksum and wrong content ends in samples or in a refusal."""
    layout, samples, is_float = made
    chunk = bytearray(slow.histogram_chunk(layout, samples, is_float=is_float))
    for _ in range(data.draw(st.integers(1, 4))):
        chunk[data.draw(st.integers(0, len(chunk) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    last = Chunk(samples[0][0], samples[-1][0], 3 if is_float else 2, bytes(chunk))

    for page in reader(slow.block([([("__name__", "h")], [last])])).batches():
        page.batch.check()
        assert page.batch.sample_count or page.refused or chunk[:2] == b"\x00\x00"


def _three() -> slow.Block:
    return slow.block(
        [
            ([("__name__", "m"), ("n", str(n))], [xor([(k, 100 * n + k) for k in range(50)])])
            for n in range(3)
        ]
    )


def test_deleted_samples_are_left_out() -> None:
    """A tombstone hides its series' samples between its times, both included."""
    block = _three()
    stones = slow.tombstones([(block.refs[0], 10, 19), (block.refs[2], -5, 1000)])

    found, refused, _ = read(reader(block, stones))

    assert sorted(labels.get("n") for labels in found) == ["0", "1"]
    assert [t for t, _ in found[Labels([("__name__", "m"), ("n", "0")])]] == [
        *range(10),
        *range(20, 50),
    ]
    assert refused == {}


def test_every_flipped_bit_of_a_segment_is_noticed() -> None:
    """It costs the chunk that it lies in, which is named, or the file where that cannot be read."""
    block = _three()
    whole, _, _ = read(reader(block))
    for at in range(len(block.segments[0])):
        if 5 <= at < 8:  # padding
            continue
        damaged = bytearray(block.segments[0])
        damaged[at] ^= 0x10
        try:
            one = reader(slow.Block(block.index, [bytes(damaged)], block.refs))
        except Malformed:
            assert at < 5
            continue
        found, refused, _ = read(one)
        assert refused == {"damaged-chunk": 1}
        assert len(found) == 2 and found.items() <= whole.items()


def test_every_flipped_bit_of_an_index_is_noticed() -> None:
    """An index under a wrong checksum is refused; padding holds nothing."""
    block = _three()
    whole, _, _ = read(reader(block))
    for at in range(len(block.index)):
        damaged = bytearray(block.index)
        damaged[at] ^= 0x10
        try:
            found, refused, _ = read(reader(slow.Block(bytes(damaged), block.segments, [])))
        except Malformed:
            continue
        assert (found, refused) == (whole, {}), f"byte {at}"
        assert block.index[at] == 0


def test_chunks_of_a_missing_segment_and_unknown_encodings_are_refused() -> None:
    """They are counted and named, the others are read."""
    good, strange = xor([(1, 1)]), Chunk(2, 2, 9, b"\x00\x01xyz")
    block = slow.block(
        [([("__name__", "a")], [good, strange]), ([("__name__", "b")], [xor([(3, 3)])])],
        per_segment=2,
    )

    found, refused, texts = read(reader(slow.Block(block.index, block.segments[:1], [])))

    assert found == {Labels.of({"__name__": "a"}): [(1, 1)]}
    assert refused == {"damaged-chunk": 2}
    assert "its encoding is unknown" in texts[0]
    assert "chunks/000002" in texts[1]


def test_a_series_with_labels_that_cannot_be_is_refused() -> None:
    """Unsorted names cost their series."""
    block = slow.block(
        [
            ([("b", "1"), ("a", "2")], [xor([(1, 1)])]),
            ([("c", "3")], [xor([(1, 1)])]),
        ]
    )

    found, refused, _ = read(reader(block))

    assert list(found) == [Labels.of({"c": "3"})]
    assert refused == {"malformed-series": 1}


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (b"", "not an index"),
        (b"\xba\xaa\xd7\x00\x01" + bytes(60), "version 1 is unknown"),
        (b"\xba\xaa\xd7\x00\x02" + bytes(60), "the index is damaged"),
    ],
)
def test_what_is_no_index_says_so(index: bytes, text: str) -> None:
    with pytest.raises(Malformed, match=text):
        BlockReader(array(index), [], None)


def test_meta_and_tombstones_are_checked() -> None:
    """meta.json needs its times; tombstones their checksum."""
    told = {"ulid": "01", "minTime": 5, "maxTime": 9, "version": 1, "stats": {"numSamples": 3}}
    assert read_meta(json.dumps(told).encode()).samples == 3
    for bad in (b"", b"[]", b"{}", json.dumps({**told, "version": 2}).encode()):
        with pytest.raises(Malformed):
            read_meta(bad)
    stones = slow.tombstones([(7, -3, 4), (7, 9, 9)])
    assert read_tombstones(stones) == {7: [(-3, 4), (9, 9)]}
    for at in range(len(stones)):
        damaged = bytearray(stones)
        damaged[at] ^= 4
        with pytest.raises(Malformed):
            read_tombstones(bytes(damaged))
