"""What an import reads of a block of Prometheus, as it comes behind its checksums."""

import struct

import numpy as np

from tests.fuzz.mutate import Shape
from tests.fuzz.target import Outcome, Target, check_batch, counted, magnitude
from tests.wire import prometheus_block as slow
from tests.wire.prometheus_block import Chunk, Layout, Native
from wire.errors import Malformed
from wire.prometheus_block import BlockReader, read_tombstones

_LABELS = [("__name__", "m")]


def inputs() -> dict[str, dict[str, bytes]]:
    """Target -> file -> content; a chunk begins with the byte of its encoding."""
    floats = [(1_700_000_000_000 + 15_000 * k, slow.float_bits(k * 0.1)) for k in range(9)]
    layout = Layout(3, 2.0**-128, [0, 1, 5], [2], flag=2)
    custom = Layout(-53, 0.0, [0, 1, 2], [], [0.005, 1.0, 1 / 3])
    whole = [(1000 * k, Native(9.0 * k, k, k / 3, [k, 2 * k, k], [k])) for k in range(5)]
    bounded = [(1000 * k, Native(4.0 * k, 0, k / 3, [k, 2 * k, k], [])) for k in range(3)]
    entry = slow.uvarint(1) + slow.uvarint(0) + slow.uvarint(1) + slow.uvarint(1)
    chunk = slow.varint(floats[0][0]) + slow.uvarint(120_000) + slow.uvarint(8)
    return {
        "prometheus_chunk": {
            "floats": b"\x01" + slow.xor_chunk(floats),
            "whole": b"\x02" + slow.histogram_chunk(layout, whole, is_float=False),
            "custom": b"\x02" + slow.histogram_chunk(custom, bounded, is_float=False),
            "floating": b"\x03" + slow.histogram_chunk(layout, whole, is_float=True),
            "cut": b"\x01" + slow.xor_chunk(floats)[:-3],
            "unknown": b"\x09\x00\x01",
        },
        "prometheus_series": {"one": entry + chunk, "cut": entry},
        "prometheus_tombstones": {
            "two": slow.tombstones([(1, 5, 9), (2, -9, 9)])[5:-4],
            "cut": slow.tombstones([(1, 5, 9), (2, -9, 9)])[5:-6],
        },
    }


def _array(content: bytes) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    return np.frombuffer(content, dtype=np.uint8)


def _read_chunk(data: bytes) -> Outcome:
    block = slow.block([(_LABELS, [Chunk(0, 1, data[0] if data else 0, data[1:])])])
    reader = BlockReader(_array(block.index), [_array(one) for one in block.segments], None)
    samples = 0
    for page in reader.batches():
        check_batch(page.batch)
        samples += page.batch.sample_count
        if data[:1] == b"\x01" and len(data) > 3:
            _compare(data[1:], page.batch.times_ms.tolist(), page.batch.values, bool(page.refused))
        if page.refusals:
            raise Malformed(page.refusals[0].detail)
    return magnitude(samples)


def _compare(
    chunk: bytes, times_ms: list[int], values: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    refused: bool,
) -> None:  # fmt: skip
    """A chunk that was read whole holds what a reader of single bits finds."""
    if not refused:
        found = zip(times_ms, values.view(np.uint64).tolist(), strict=True)
        expected = slow.slow_xor(chunk)
        assert [(t & (2**64 - 1), v) for t, v in found] == [
            (t & (2**64 - 1), v) for t, v in expected
        ]


def _read_series(data: bytes) -> Outcome:
    """*data* is the content of a series entry."""
    block = slow.block([(_LABELS, [Chunk(0, 1, 1, slow.xor_chunk([(1, 2), (3, 4)]))])])
    series_at = block.refs[0] * 16
    index = block.index[:series_at] + slow.uvarint(len(data)) + data + slow.crc(data)
    offsets = struct.unpack(">6Q", block.index[-52:-4])
    toc = struct.pack(">6Q", *offsets[:2], 0, 0, len(index), len(index))
    reader = BlockReader(
        _array(index + toc + slow.crc(toc)), [_array(one) for one in block.segments], None
    )
    refused: dict[str, int] = {}
    samples = 0
    for page in reader.batches():
        page.batch.check()
        samples += page.batch.sample_count
        refused.update(page.refused)
    return magnitude(reader.index.series_count), magnitude(samples), counted(refused)


def _read_tombstones(data: bytes) -> Outcome:
    """*data* is what stands between head and checksum."""
    found = read_tombstones(b"\x01\x30\xba\x30\x01" + data + slow.crc(data))
    return magnitude(len(found)), magnitude(sum(map(len, found.values())))


TARGETS = (
    Target("prometheus_chunk", _read_chunk, (Malformed,), Shape.BYTES, bytes_per_byte=4000),
    Target("prometheus_series", _read_series, (Malformed,), Shape.BYTES),
    Target("prometheus_tombstones", _read_tombstones, (Malformed,), Shape.BYTES),
)
