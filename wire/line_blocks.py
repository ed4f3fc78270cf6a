"""A stream of bytes as blocks of whole lines, decompressed as it comes and never held whole."""

import zlib
from collections.abc import Iterator

import zstandard

from wire.errors import Malformed

ENCODINGS = ("", "identity", "gzip", "zstd")
"""The values of Content-Encoding that a stream may have."""
BLOCK_BYTES = 1 << 20
"""About how long a block is."""
MAX_LINE_BYTES = 8 << 20
MAX_WINDOW_BYTES = 8 << 20
"""The memory that a zstd stream may ask for, the most that RFC 8878 recommends to support."""

_ZSTD_STEP_BYTES = 256
"""Four bytes of zstd may stand for 128 KiB: what one step can grow to is bounded by this."""


class LineBlocks:
    """Cuts the stream that is fed to it into blocks; each but the last ends with a newline."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        """*encoding* is one of ENCODINGS; the plain stream may have *max_bytes*."""
        self._inflater = _INFLATERS[encoding]()
        self._left_bytes = self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The blocks that *chunk* completes, made one by one as they are asked for.

        Raises Malformed where the compressed bytes are corrupt, where there are too many plain
        ones, or where a line is longer than MAX_LINE_BYTES.
        """
        for plain in self._inflater.feed(chunk):
            self._left_bytes -= len(plain)
            if self._left_bytes < 0:
                raise Malformed(f"the decoded body exceeds the {self._max_bytes} bytes limit")
            self._parts.append(plain)
            self._size += len(plain)
            if self._size >= BLOCK_BYTES:
                yield from self._cut(plain)

    def finish(self) -> bytes:
        """What is left, which may lack its last newline; Malformed where the stream is cut off."""
        self._inflater.finish()
        return b"".join(self._parts)

    def _cut(self, last: bytes) -> Iterator[bytes]:
        """Everything up to the last newline, which only the part *last* can hold."""
        end = last.rfind(b"\n") + 1
        if end:
            block = b"".join([*self._parts[:-1], last[:end]])
            self._parts = [last[end:]]
            self._size = len(last) - end
            yield block
        elif self._size > MAX_LINE_BYTES:
            raise Malformed(f"a line exceeds the {MAX_LINE_BYTES} bytes limit")


class _Plain:
    def feed(self, chunk: bytes) -> Iterator[bytes]:
        for at in range(0, len(chunk), BLOCK_BYTES):
            yield chunk[at : at + BLOCK_BYTES]

    def finish(self) -> None:
        """Plain bytes may end anywhere."""


class _Gzip:
    """Any number of gzip members."""

    def __init__(self) -> None:
        self._member = _gzip_member()
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        try:
            while chunk:
                if self._member.eof:
                    self._member = _gzip_member()
                self._begun = True
                plain = self._member.decompress(chunk, BLOCK_BYTES)
                chunk = self._member.unconsumed_tail or self._member.unused_data
                if plain:
                    yield plain
        except zlib.error:
            raise Malformed("gzip: corrupt input") from None

    def finish(self) -> None:
        if self._begun and not self._member.eof:
            raise Malformed("gzip: unexpected end of input")


def _gzip_member() -> "zlib._Decompress":
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


class _Zstd:
    """Any number of frames."""

    def __init__(self) -> None:
        self._frame = _zstd_frame()
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        try:
            for at in range(0, len(chunk), _ZSTD_STEP_BYTES):
                step = chunk[at : at + _ZSTD_STEP_BYTES]
                while step:
                    if self._frame.eof:
                        self._frame = _zstd_frame()
                    self._begun = True
                    plain = self._frame.decompress(step)
                    step = self._frame.unused_data if self._frame.eof else b""
                    if plain:
                        yield plain
        except zstandard.ZstdError:
            raise Malformed("zstd: corrupt input, or a window that is too large") from None

    def finish(self) -> None:
        if self._begun and not self._frame.eof:
            raise Malformed("zstd: unexpected end of input")


def _zstd_frame() -> "zstandard.ZstdDecompressionObj":
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompressobj()


_INFLATERS: dict[str, type[_Plain] | type[_Gzip] | type[_Zstd]] = {
    "": _Plain,
    "identity": _Plain,
    "gzip": _Gzip,
    "zstd": _Zstd,
}
