"""Streams as blocks of whole lines."""

import gzip
from collections.abc import Callable
from unittest.mock import patch

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wire import line_blocks
from wire.errors import Malformed
from wire.line_blocks import LineBlocks

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


@given(
    st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"") + b"\n"), max_size=30),
    st.binary(max_size=5),
    st.sampled_from(sorted(COMPRESS)),
    st.integers(1, 50),
    st.integers(1, 40),
)
def test_blocks_hold_the_stream(
    lines: list[bytes], tail: bytes, encoding: str, chunk: int, block: int
) -> None:
    """In order, each but the last ending with a newline, however the bytes arrive."""
    plain = b"".join(lines) + tail
    half = len(plain) // 2
    body = COMPRESS[encoding](plain[:half]) + COMPRESS[encoding](plain[half:])
    with patch.object(line_blocks, "BLOCK_BYTES", block):
        stream = LineBlocks(encoding, len(plain))
        blocks = [
            made for at in range(0, len(body), chunk) for made in stream.feed(body[at : at + chunk])
        ]
        rest = stream.finish()
    assert all(made.endswith(b"\n") for made in blocks)
    assert b"".join([*blocks, rest]) == plain


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_more_bytes_than_allowed(encoding: str) -> None:
    """Malformed, whatever the compressed size."""
    body = COMPRESS[encoding](b"ab\n" * 1000)
    with pytest.raises(Malformed, match="exceeds the 2999 bytes limit"):
        list(LineBlocks(encoding, 2999).feed(body))
    list(LineBlocks(encoding, 3000).feed(body))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_no_line(encoding: str) -> None:
    """A small body that stands for one endless line ends at the limit of lines."""
    body = COMPRESS[encoding](bytes(64 << 20))
    stream = LineBlocks(encoding, 1 << 40)
    with pytest.raises(Malformed, match="a line exceeds"):
        for _ in stream.feed(body):
            pass


def test_windows_beyond_the_limit_are_refused() -> None:
    """A frame cannot ask for more memory than the format's own recommendation."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = writer.compress(b"a 1\n") + writer.flush()
    with pytest.raises(Malformed, match="window"):
        list(LineBlocks("zstd", 100).feed(body))


@given(st.binary(max_size=50), st.sampled_from(["gzip", "zstd"]))
def test_any_bytes_are_read_or_refused(body: bytes, encoding: str) -> None:
    """Nothing but Malformed is raised."""
    stream = LineBlocks(encoding, 1 << 20)
    try:
        list(stream.feed(body))
        stream.finish()
    except Malformed:
        pass
