"""A remote-write 2.0 encoder that shares nothing with the product's decoder."""

import struct
from dataclasses import dataclass, field

from tests.wire.encode import chunk, varint


@dataclass
class Series:
    """A TimeSeries; ``refs`` overrides its label references, ``extra`` is put in front as it is.

    ``histograms`` are messages already encoded; ``exemplars`` labels, times and values.
    """

    labels: list[tuple[bytes, bytes]]
    samples: list[tuple[int, float]] = field(default_factory=list)
    start_ms: int = 0
    histograms: list[bytes] = field(default_factory=list)
    exemplars: list[tuple[list[tuple[bytes, bytes]], int, float]] = field(default_factory=list)
    metadata: tuple[int, bytes, bytes] | None = None
    refs: list[int] | None = None
    packed: bool = True
    extra: bytes = b""


class Symbols:
    """The table of symbols as it grows."""

    def __init__(self) -> None:
        self.refs = {b"": 0}

    def ref(self, text: bytes) -> int:
        return self.refs.setdefault(text, len(self.refs))

    def message(self) -> bytes:
        return b"".join(chunk(4, text) for text in self.refs)


def sample(time_ms: int, value: float, start_ms: int = 0) -> bytes:
    start = b"\x18" + varint(start_ms) if start_ms else b""
    return chunk(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time_ms) + start)


def series(one: Series, symbols: Symbols) -> bytes:
    refs = one.refs
    if refs is None:
        refs = [symbols.ref(text) for pair in one.labels for text in pair]
    if one.packed:
        parts = [chunk(1, b"".join(map(varint, refs)))]
    else:
        parts = [b"\x08" + varint(ref) for ref in refs]
    parts += [sample(time_ms, value, one.start_ms) for time_ms, value in one.samples]
    parts += [chunk(3, histogram) for histogram in one.histograms]
    for labels, time_ms, value in one.exemplars:
        exemplar_refs = b"".join(varint(symbols.ref(text)) for pair in labels for text in pair)
        number = b"\x11" + struct.pack("<d", value) + b"\x18" + varint(time_ms)
        parts.append(chunk(4, chunk(1, exemplar_refs) + number))
    if one.metadata:
        kind, help_text, unit = one.metadata
        refs_of = b"\x18" + varint(symbols.ref(help_text)) + b"\x20" + varint(symbols.ref(unit))
        parts.append(chunk(5, b"\x08" + varint(kind) + refs_of))
    return chunk(5, one.extra + b"".join(parts))


def request(*rows: Series) -> bytes:
    """The plain message; symbols stand before the series, as senders do it."""
    symbols = Symbols()
    body = b"".join(series(row, symbols) for row in rows)
    return symbols.message() + body
