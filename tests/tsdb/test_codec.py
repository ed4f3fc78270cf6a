"""The codec gives back every bit it was given, and notices bytes that it did not write."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from series.batch import STALE_NAN
from tests.examples import examples
from tsdb.block import decode_kernels, encode_kernels
from tsdb.block.codec import FrameEncoder, unpack_frame
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
_segment = st.one_of(
    st.lists(_any_word, min_size=1, max_size=40),
    st.lists(st.one_of(_decimals, _decimals, _decimals, _any_word), min_size=1, max_size=90),
    st.builds(lambda word, n: [word] * n, _any_word, st.integers(1, 600)),
    st.builds(
        lambda first, n: [FIRST_TICKET + first + k for k in range(n)],
        st.sampled_from([0, 5, 2**48 - 600]),
        st.integers(1, 600),
    ),
).map(lambda words: np.array(words, dtype=np.uint64))


def _encode(segments: Segments, number: int = 7) -> tuple[bytes, NDArray[np.uint8]]:
    counts = np.array([len(segment) for segment in segments], dtype=np.int64)
    values = np.concatenate(segments).view(np.float64)
    return FrameEncoder().values(number, values, np.cumsum(counts) - counts, counts)


def _piece(slot: int, skip: int, take: int) -> NDArray[np.int64]:
    return np.array([[0], [slot], [skip], [take], [0]])


def _decode(frame: bytes, slot: int, skip: int, take: int, number: int = 7) -> NDArray[np.uint64]:
    body = unpack_frame(frame, number)
    out = np.zeros(take)
    assert decode_kernels.decode_values(body, _piece(slot, skip, take), 0, 1, out)
    return out.view(np.uint64)


@examples(60)
@given(st.lists(_segment, min_size=1, max_size=5), st.data())
def test_any_part_of_any_values_comes_back_bit_for_bit(
    segments: Segments, data: st.DataObject
) -> None:
    """Arbitrary bit patterns survive, also when only a part of a segment is asked for."""
    frame, _ = _encode(segments)
    for slot, segment in enumerate(segments):
        assert (_decode(frame, slot, 0, len(segment)) == segment).all()
    slot = data.draw(st.integers(0, len(segments) - 1))
    skip = data.draw(st.integers(0, len(segments[slot])))
    take = data.draw(st.integers(0, len(segments[slot]) - skip))
    assert (_decode(frame, slot, skip, take) == segments[slot][skip : skip + take]).all()


@examples(40)
@given(
    st.lists(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=60, unique=True),
        min_size=1,
        max_size=4,
    )
)
def test_any_times_come_back(columns: list[list[int]]) -> None:
    """Time columns with the extremes of int64 survive."""
    rising = [np.array(sorted(column), dtype=np.int64) for column in columns]
    counts = np.array([len(column) for column in rising], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    times = np.concatenate(rising)
    body = unpack_frame(FrameEncoder().times(0, times, starts, counts), 0)
    out = np.zeros(len(times), dtype=np.int64)
    pieces = np.stack([counts * 0, np.arange(len(rising)), counts * 0, counts, starts])
    assert decode_kernels.decode_times(body, pieces, 0, len(rising), out)
    pieces[3, 0] += 1
    assert not decode_kernels.decode_times(body, pieces, 0, 1, out)
    assert (out == times).all()


def _size(values: NDArray[np.floating]) -> float:
    frame, _ = _encode([row.view(np.uint64) for row in values.astype(np.float64)])
    return len(frame) / values.size


def test_common_shapes_of_data_are_small() -> None:
    """Bytes per sample of 16 series by 480 samples stay near what was measured for each shape."""
    random = np.random.default_rng(5)
    shape = (16, 480)
    counter = np.cumsum(random.poisson(100, shape), axis=1).astype(float)
    gauge = np.round(50 + np.cumsum(random.normal(0, 0.3, shape), axis=1), 2)
    memory = (2e5 + np.cumsum(random.integers(-50, 50, shape), axis=1)) * 4096.0
    seconds = np.round(np.cumsum(random.random(shape) * 15, axis=1), 2)
    assert _size(counter) < 0.75
    assert _size(gauge) < 0.98
    assert _size(memory) < 0.92
    assert _size(seconds) < 1.5
    assert _size(np.full(shape, 0.1)) < 0.02
    assert _size(random.normal(0, 1, shape)) < 7.5


def test_a_stale_marker_costs_little_and_is_flagged() -> None:
    """A decimal series that ends in a stale marker stays a decimal series."""
    values = np.round(np.linspace(0, 500, 480), 1)
    values[-1] = STALE_NAN
    frame, flags = _encode([values.view(np.uint64), _bits(1.0, 1.0), _bits(STALE_NAN)])
    assert len(frame) < 400
    assert flags.tolist() == [
        encode_kernels.HAS_STALE,
        encode_kernels.IS_CONSTANT,
        encode_kernels.HAS_STALE | encode_kernels.IS_CONSTANT,
    ]


def test_tickets_of_consecutive_entries_cost_nothing() -> None:
    """A segment of them is its head."""
    tickets = np.arange(FIRST_TICKET, FIRST_TICKET + 480, dtype=np.uint64)
    frame, _ = _encode([tickets])
    assert len(frame) < 100


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


@examples(60)
@given(st.lists(_segment, min_size=1, max_size=3), st.data())
def test_any_body_is_decoded_or_refused(segments: Segments, data: st.DataObject) -> None:
    """Bytes that a sound checksum vouches for but no encoder wrote read nothing beyond the body."""
    body = unpack_frame(_encode(segments)[0], 7).copy()
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))] if data.draw(st.booleans()) else body
    take = len(segments[0])
    decode_kernels.decode_values(body, _piece(0, 0, take), 0, 1, np.zeros(take))
    decode_kernels.decode_times(body, _piece(0, 0, take), 0, 1, np.zeros(take, dtype=np.int64))


def test_segments_that_a_body_does_not_hold_are_refused() -> None:
    """A slot or a range beyond the body answers False instead of reading elsewhere."""
    body = unpack_frame(_encode([_bits(1.0, 2.0)])[0], 7)
    out = np.zeros(9)
    for slot, skip, take in ((1, 0, 1), (0, 1, 2), (0, 0, 3)):
        assert not decode_kernels.decode_values(body, _piece(slot, skip, take), 0, 1, out)
    assert not decode_kernels.decode_values(body[:-1], _piece(0, 0, 1), 0, 1, out)
    assert not decode_kernels.decode_values(body[:3], _piece(0, 0, 1), 0, 1, out)
