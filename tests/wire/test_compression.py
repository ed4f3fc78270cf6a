"""Compressed bodies: what comes out, and what never gets large."""

import gzip
import zlib
from collections.abc import Callable

import cramjam
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wire.compression import ENCODINGS, decompress
from wire.errors import Malformed

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "snappy": lambda plain: bytes(cramjam.snappy.compress_raw(plain)),
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": lambda plain: plain,
}


@given(st.sampled_from(ENCODINGS), st.binary(max_size=5000))
def test_what_was_compressed_comes_back(encoding: str, plain: bytes) -> None:
    """As an array that kernels take; the limit itself is allowed."""
    got = decompress(COMPRESS[encoding](plain), encoding, len(plain))
    assert got.tobytes() == plain
    assert got.flags.writeable


@given(st.binary(min_size=1, max_size=5000))
def test_frames_without_a_size(plain: bytes) -> None:
    """zstd written in a stream does not tell its size."""
    body = zstandard.ZstdCompressor(write_content_size=False).compress(plain)
    assert decompress(body, "zstd", len(plain)).tobytes() == plain
    with pytest.raises(Malformed, match="exceeds"):
        decompress(body, "zstd", len(plain) - 1)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bombs_are_refused(encoding: str) -> None:
    """Ten megabytes of zeros for one byte too few."""
    body = COMPRESS[encoding](bytes(10 << 20))
    with pytest.raises(Malformed, match=rf"{encoding}: decoded length \d+ exceeds the"):
        decompress(body, encoding, (10 << 20) - 1)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [0, (1 << 16) - 1, 1 << 20, (1 << 20) + 1, 2 << 20])
@pytest.mark.parametrize("unit", [b"\0", bytes(range(256))])
def test_all_of_a_stream_and_nothing_behind_it(encoding: str, size: int, unit: bytes) -> None:
    """Also where it ends just where a step of the reader does."""
    plain = (unit * size)[:size]
    body = COMPRESS[encoding](plain)
    assert decompress(body, encoding, size).tobytes() == plain
    for bad in (body[:-1], body + b"x"):
        with pytest.raises(Malformed, match="corrupt input"):
            decompress(bad, encoding, size)


@given(st.sampled_from(["snappy", "zstd", "gzip", "deflate"]), st.data())
def test_damage_is_malformed(encoding: str, data: st.DataObject) -> None:
    """Anything else may come out, but nothing worse."""
    body = bytearray(COMPRESS[encoding](b"some text that repeats, some text that repeats" * 9))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    try:
        assert len(decompress(bytes(body[:cut]), encoding, 1 << 16)) <= 1 << 16
    except Malformed:
        return


@pytest.mark.parametrize("encoding", ["snappy", "zstd", "gzip", "deflate"])
def test_what_is_cut_or_longer_is_malformed(encoding: str) -> None:
    """Not a byte may be missing or left over."""
    body = COMPRESS[encoding](b"plain" * 100)
    for bad in (body[:-1], body + b"x", b""):
        with pytest.raises(Malformed, match="corrupt input"):
            decompress(bad, encoding, 1 << 20)
