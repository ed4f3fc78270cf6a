"""A remote-write encoder and decoder that share nothing with the product's."""

import struct
from dataclasses import dataclass, field

import cramjam

Pair = tuple[bytes, bytes]


@dataclass
class Series:
    """A TimeSeries message; ``histograms`` and ``exemplars`` are messages already encoded.

    ``extra`` is put before the labels as it is.
    """

    labels: list[Pair]
    samples: list[tuple[int, float]] = field(default_factory=list)
    histograms: list[bytes] = field(default_factory=list)
    extra: bytes = b""
    exemplars: list[bytes] = field(default_factory=list)


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = []
    while number >= 128:
        out.append(number % 128 + 128)
        number //= 128
    return bytes([*out, number])


def chunk(field_number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(field_number * 8 + 2) + varint(len(payload)) + payload


def label(name: bytes, value: bytes) -> bytes:
    return chunk(1, chunk(1, name) + chunk(2, value))


def sample(time_ms: int, value: float) -> bytes:
    return chunk(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time_ms))


def exemplar(labels: list[Pair], time_ms: int, value: float) -> bytes:
    """An Exemplar message."""
    parts = [label(*pair) for pair in labels]
    return b"".join(parts) + b"\x11" + struct.pack("<d", value) + b"\x18" + varint(time_ms)


def series(one: Series) -> bytes:
    parts = [one.extra, *(label(*pair) for pair in one.labels)]
    parts += [sample(*point) for point in one.samples]
    parts += [chunk(3, exemplar) for exemplar in one.exemplars]
    parts += [chunk(4, histogram) for histogram in one.histograms]
    return chunk(1, b"".join(parts))


def metadata(kind: int, name: bytes, text: bytes, unit: bytes) -> bytes:
    inner = b"\x08" + varint(kind) + chunk(2, name) + chunk(4, text) + chunk(5, unit)
    return chunk(3, inner)


def snappy(message: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message))
