"""The codec gives back every bit it was given, and notices bytes that it did not write."""

import contextlib
import struct
from collections.abc import Sequence

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from series.batch import STALE_NAN
from tests.examples import examples
from tests.tsdb.decoding import decode_times, decode_values
from tests.tsdb.frame_reader import read_frame, sections
from tsdb.block import decode_kernels, model_kernels, pack_kernels
from tsdb.block.codec import FrameEncoder, frame_number, unpack_frame, without_number
from tsdb.block.frame_cache import place_of
from tsdb.block.planned_read import NO_MOVES
from tsdb.sample.entries import FIRST_TICKET

Segments = list[NDArray[np.uint64]]


def _bits(*values: float) -> NDArray[np.uint64]:
    return np.array(values, dtype=np.float64).view(np.uint64)


_ODD_BITS = [
    0x7FF0000000000002,  # the stale marker, a signalling NaN
    0x7FF8000000000001,
    0xFFF8DEADBEEF0000,
    0x7FF0000000000000,
    0xFFF0000000000000,
    0x8000000000000000,
    0x0000000000000001,
    0x000FFFFFFFFFFFFF,
    0x7FEFFFFFFFFFFFFF,
]
_words = st.integers(0, 2**64 - 1)
_decimals = st.builds(
    lambda n, e: struct.unpack("<Q", struct.pack("<d", n / 10**e))[0],
    st.integers(-(10**9), 10**9),
    st.integers(0, 8),
)
_wholes = st.builds(
    lambda n, f: struct.unpack("<Q", struct.pack("<d", float(n * f)))[0],
    st.integers(-(2**62), 2**62),
    st.sampled_from([1, 1, 10, 4096]),
)
_any_word = st.one_of(_words, st.sampled_from(_ODD_BITS), _decimals, _wholes)
_walk = st.builds(
    lambda first, steps, factor: [
        struct.unpack("<Q", struct.pack("<d", float(first + factor * sum(steps[:k]))))[0]
        for k in range(len(steps) + 1)
    ],
    st.integers(0, 2**40),
    st.lists(
        st.one_of(
            st.integers(0, 3), st.integers(-90, 90), st.sampled_from([0, 0, 10**6, -(10**9)])
        ),
        min_size=1,
        max_size=150,
    ),
    st.sampled_from([1, 1, 4096]),
)
_segment = st.one_of(
    _walk,
    st.lists(_any_word, min_size=1, max_size=40),
    st.lists(st.one_of(_decimals, _decimals, _decimals, _any_word), min_size=1, max_size=90),
    st.builds(lambda word, n: [word] * n, _any_word, st.integers(1, 600)),
    st.builds(
        lambda first, n: [FIRST_TICKET + first + k for k in range(n)],
        st.sampled_from([0, 5, 2**48 - 600]),
        st.integers(1, 600),
    ),
).map(lambda words: np.array(words, dtype=np.uint64))


_CODINGS = (pack_kernels.SPLIT, pack_kernels.PLANES)


def _encode(
    segments: Segments, number: int = 7, codings: Sequence[int] = _CODINGS
) -> tuple[bytes, NDArray[np.uint8]]:
    counts = np.array([len(segment) for segment in segments], dtype=np.int64)
    values = np.concatenate(segments).view(np.float64)
    rest, flags = FrameEncoder(codings).values(values, np.cumsum(counts) - counts, counts)
    return frame_number(number, rest) + rest, flags


def _piece(slot: int, skip: int, take: int) -> NDArray[np.int64]:
    return np.array([[0], [slot], [skip], [take], [0]])


def _decode(frame: bytes, slot: int, skip: int, take: int, number: int = 7) -> NDArray[np.uint64]:
    body = unpack_frame(frame, number)
    out = np.zeros(take)
    assert decode_values(body, _piece(slot, skip, take), 0, 1, out)
    return out.view(np.uint64)


@pytest.mark.parametrize("coding", _CODINGS)
@examples(60)
@given(st.lists(_segment, min_size=1, max_size=5), st.data())
def test_any_part_of_any_values_comes_back_bit_for_bit(
    coding: int, segments: Segments, data: st.DataObject
) -> None:
    """Arbitrary bit patterns survive, also when only a part of a segment is asked for.

    The kernels and the reader in plain Python agree, by either coding.
    """
    frame, _ = _encode(segments, codings=[coding])
    assert read_frame(frame) == [segment.tolist() for segment in segments]
    for slot, segment in enumerate(segments):
        assert (_decode(frame, slot, 0, len(segment)) == segment).all()
    slot = data.draw(st.integers(0, len(segments) - 1))
    skip = data.draw(st.integers(0, len(segments[slot])))
    take = data.draw(st.integers(0, len(segments[slot]) - skip))
    assert (_decode(frame, slot, skip, take) == segments[slot][skip : skip + take]).all()


@pytest.mark.parametrize("coding", _CODINGS)
@examples(40)
@given(
    columns=st.lists(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=60, unique=True),
        min_size=1,
        max_size=4,
    )
)
def test_any_times_come_back(coding: int, columns: list[list[int]]) -> None:
    """Time columns with the extremes of int64 survive."""
    rising = [np.array(sorted(column), dtype=np.int64) for column in columns]
    counts = np.array([len(column) for column in rising], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    times = np.concatenate(rising)
    rest = FrameEncoder([coding]).times(times, starts, counts)
    frame = frame_number(0, rest) + rest
    assert read_frame(frame) == [column.view(np.uint64).tolist() for column in rising]
    body = unpack_frame(frame, 0)
    out = np.zeros(len(times), dtype=np.int64)
    pieces = np.stack([counts * 0, np.arange(len(rising)), counts * 0, counts, starts])
    assert decode_times(body, pieces, 0, len(rising), out)
    pieces[3, 0] += 1
    assert not decode_times(body, pieces, 0, 1, out)
    assert (out == times).all()


def _size(values: NDArray[np.floating]) -> float:
    frame, _ = _encode([row.view(np.uint64) for row in values.astype(np.float64)])
    return len(frame) / values.size


def test_common_shapes_of_data_are_small() -> None:
    """Bytes per sample of 16 series by 480 samples stay near what was measured for each shape."""
    random = np.random.default_rng(5)
    shape = (16, 480)
    slow = np.cumsum(random.poisson(0.5, shape), axis=1).astype(float)
    counter = np.cumsum(random.poisson(100, shape), axis=1).astype(float)
    swelling = np.cumsum(random.poisson(np.linspace(3000, 4000, 480), shape), axis=1).astype(float)
    buckets = np.cumsum(np.cumsum(random.poisson(100, shape), axis=0), axis=1).astype(float)
    gauge = np.round(50 + np.cumsum(random.normal(0, 0.3, shape), axis=1), 2)
    memory = (2e5 + np.cumsum(random.integers(-50, 50, shape), axis=1)) * 4096.0
    seconds = np.round(np.cumsum(random.random(shape) * 15, axis=1), 2)
    single = random.normal(20, 3, shape).astype(np.float32)
    every_fourth = np.cumsum(np.tile([0, 0, 0, 7], (16, 120)), axis=1).astype(float)
    assert _size(slow) < 0.21
    assert _size(counter) < 0.71
    assert _size(swelling) < 1.04
    assert _size(buckets) < 0.74
    assert _size(gauge) < 0.91
    assert _size(memory) < 0.88
    assert _size(seconds) < 1.35
    assert _size(single) < 3
    assert _size(every_fourth) < 0.03
    assert _size(np.full(shape, 0.1)) < 0.02
    assert _size(random.normal(50, 8, shape)) < 6.7
    assert _size(random.normal(0, 1, shape)) < 7.5


@examples(30)
@given(seed=st.integers(0, 2**32), shares=st.lists(st.floats(0.01, 0.999), min_size=1, max_size=9))
def test_symbols_as_frequent_as_may_be_come_back(seed: int, shares: list[float]) -> None:
    """Steps of any skew, by which symbols get shares from the least to nearly all."""
    draw = np.random.default_rng(seed)
    segments = [np.cumsum(draw.geometric(share, 480)).astype(np.float64) for share in shares]
    words = [segment.view(np.uint64) for segment in segments]
    frame, _ = _encode(words, codings=[pack_kernels.SPLIT])
    assert read_frame(frame) == [segment.tolist() for segment in words]


def test_another_kind_of_data_is_noticed_at_once() -> None:
    """The coding that was passed over is tried again where it is the better one."""
    draw = np.random.default_rng(1)
    counts = np.full(16, 480)
    starts = np.cumsum(counts) - counts
    walks = draw.integers(-90, 90, (16, 480)).cumsum(axis=1).astype(np.float64).reshape(-1)
    few = draw.choice(draw.random(5), 16 * 480)
    encoder, alone = FrameEncoder(), FrameEncoder([pack_kernels.PLANES])
    for values in (walks, few, walks):
        for _ in range(12):
            frame, _ = encoder.values(values, starts, counts)
            assert len(frame) <= len(alone.values(values, starts, counts)[0])


def test_a_restart_costs_its_counter_little() -> None:
    """A counter that falls to 0 once takes hardly more than one that does not."""
    steps = np.random.default_rng(6).poisson(100, (16, 480))
    through = np.cumsum(steps, axis=1).astype(float)
    restarted = through.copy()
    restarted[:, 200:] -= restarted[:, 200:201]
    assert _size(restarted) < _size(through) + 0.03


def test_a_stale_marker_costs_little_and_is_flagged() -> None:
    """A decimal series that ends in a stale marker stays a decimal series."""
    values = np.round(np.linspace(0, 500, 480), 1)
    values[-1] = STALE_NAN
    frame, flags = _encode([values.view(np.uint64), _bits(1.0, 1.0), _bits(STALE_NAN)])
    assert len(frame) < 400
    assert flags.tolist() == [
        model_kernels.HAS_STALE,
        model_kernels.IS_CONSTANT,
        model_kernels.HAS_STALE | model_kernels.IS_CONSTANT,
    ]


def test_tickets_of_consecutive_entries_cost_nothing() -> None:
    """A segment of them is its head."""
    tickets = np.arange(FIRST_TICKET, FIRST_TICKET + 480, dtype=np.uint64)
    frame, _ = _encode([tickets])
    assert len(frame) < 100


def test_bits_that_lie_very_far_apart_come_back() -> None:
    """Where differences of the bits wrap around, no factor is taken out of them."""
    words = [0xC000000000000000, 724633640, 0xC000000000000000, 0x7FF0000000000002, 12315200]
    segment = np.array(words, dtype=np.uint64)
    assert (_decode(_encode([segment])[0], 0, 0, 5) == segment).all()


def test_negative_zero_is_not_zero() -> None:
    """-0.0 between zeros keeps its sign."""
    segment = _bits(0.0, -0.0, 0.0, 1.5)
    assert (_decode(_encode([segment])[0], 0, 0, 4) == segment).all()


def test_every_flipped_bit_of_a_frame_is_noticed() -> None:
    """A frame with one byte changed, or cut short, is refused."""
    frame, _ = _encode([_bits(1.5, 2.5, 4.0), _bits(7.0, 7.0)])
    for at in range(len(frame)):
        damaged = bytearray(frame)
        damaged[at] ^= 0x10
        with pytest.raises(ValueError, match="checksum"):
            unpack_frame(bytes(damaged), 7)
    for size in range(len(frame)):
        with pytest.raises(ValueError, match=r"checksum|short"):
            unpack_frame(frame[:size], 7)


def test_a_frame_in_another_place_is_noticed() -> None:
    """A frame read where another belongs is refused although its checksum is right."""
    frame, _ = _encode([_bits(1.0)])
    with pytest.raises(ValueError, match="frame 7 stands where frame 8 belongs"):
        unpack_frame(frame, 8)


def test_a_frame_gets_another_number_only_where_it_is_sound() -> None:
    """With another number it decodes as before; damage is not given a sound checksum."""
    frame, _ = _encode([_bits(1.0, 2.5, 7.0)])
    rest = without_number(frame, 7)
    assert (_decode(frame_number(2**31, rest) + rest, 0, 0, 3, 2**31) == _bits(1.0, 2.5, 7.0)).all()
    for at in range(len(frame)):
        damaged = bytearray(frame)
        damaged[at] ^= 0x10
        with pytest.raises(ValueError, match="checksum"):
            without_number(bytes(damaged), 7)
    with pytest.raises(ValueError, match="frame 7 stands where frame 8 belongs"):
        without_number(frame, 8)


def _repacked(parts: list[bytes]) -> bytes:
    """A frame of these sections, none of them compressed, with a sound checksum."""
    sizes = b"".join(struct.pack("<II", len(part), len(part)) for part in parts)
    rest = struct.pack("<IHH", 7, len(parts), 0) + sizes + b"".join(parts)
    return struct.pack("<I", google_crc32c.value(rest)) + rest


@pytest.mark.parametrize("coding", _CODINGS)
@examples(150)
@given(segments=st.lists(_segment, min_size=1, max_size=3), data=st.data())
def test_any_sections_are_decoded_or_refused(
    coding: int, segments: Segments, data: st.DataObject
) -> None:
    """Sections that a sound checksum vouches for but no encoder wrote are decoded or refused."""
    parts = [bytearray(part) for part in sections(_encode(segments, codings=[coding])[0])]
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.sampled_from([part for part in parts if part]))
        part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        part = data.draw(st.sampled_from(parts))
        del part[data.draw(st.integers(0, len(part))) :]
    take = len(segments[0])
    with contextlib.suppress(ValueError):
        body = unpack_frame(_repacked([bytes(part) for part in parts]), 7)
        decode_values(body, _piece(0, 0, take), 0, 1, np.zeros(take))
        decode_times(body, _piece(0, 0, take), 0, 1, np.zeros(take, np.int64))


@examples(100)
@given(st.lists(_segment, min_size=1, max_size=3), st.data())
def test_any_frame_is_decoded_or_refused(segments: Segments, data: st.DataObject) -> None:
    """Any flipped bytes, the checksum made right again, are decoded or refused."""
    frame = bytearray(_encode(segments)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(4, len(frame) - 1))] = data.draw(st.integers(0, 255))
    frame[:4] = struct.pack("<I", google_crc32c.value(bytes(frame[4:])))
    with contextlib.suppress(ValueError):
        body = unpack_frame(bytes(frame), 7)
        decode_values(body, _piece(0, 0, 1), 0, 1, np.zeros(1))


def test_heads_that_promise_much_are_refused_at_once() -> None:
    """A few bytes that speak of billions of samples, or of a section of gigabytes, take no room."""
    heads = struct.pack("<IHHI", 2000, 0, 0, 0) + b"\0" * 2000 * 4 + b"\xff" * 2000 * 2
    with pytest.raises(ValueError, match="contradicts itself"):
        unpack_frame(_repacked([heads + b"\0" * 2000 * 38, b""]), 7)
    rest = struct.pack("<IHHII", 7, 1, 0, 2**32 - 1, 4) + b"abcd"
    with pytest.raises(ValueError, match="sizes disagree"):
        unpack_frame(struct.pack("<I", google_crc32c.value(rest)) + rest, 7)


def test_segments_that_a_body_does_not_hold_are_refused() -> None:
    """A slot or a range beyond the body answers False instead of reading elsewhere."""
    body = unpack_frame(_encode([_bits(1.0, 2.0)])[0], 7)
    out = np.zeros(9)
    for slot, skip, take in ((1, 0, 1), (0, 1, 2), (0, 0, 3)):
        assert not decode_values(body, _piece(slot, skip, take), 0, 1, out)
    assert not decode_values(body[:-1], _piece(0, 0, 1), 0, 1, out)
    assert not decode_values(body[:3], _piece(0, 0, 1), 0, 1, out)


def test_bodies_are_decoded_up_to_the_first_that_is_damaged() -> None:
    """What stands before it is there; the count says which one it is."""
    bodies = [unpack_frame(_encode([_bits(row, row + 1, row + 3)])[0], 7) for row in range(3)]
    bodies[1] = bodies[1][:-8]
    places = np.array([place_of(body) for body in bodies])
    pieces = np.array([[0, 1, 2], [0] * 3, [0] * 3, [3] * 3, [0, 3, 6]])
    out = np.zeros(9)
    done = decode_kernels.decode_values(places, pieces, np.arange(4), NO_MOVES, out)
    assert done == 1
    assert out[:3].tolist() == [0, 1, 3]


def test_a_section_that_says_it_is_huge_is_refused_before_it_is_made_room_for() -> None:
    """Behind a checksum that is right, with a size in the frame that is modest."""
    part = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 50) + b"\x01\x00\x00"
    rest = struct.pack("<IHH", 7, 1, 0) + struct.pack("<II", 100, len(part)) + part
    with pytest.raises(ValueError, match="sizes disagree"):
        unpack_frame(struct.pack("<I", google_crc32c.value(rest)) + rest, 7)
