"""Labels: what names a series.

The identity of a series is one canonical byte string, its *key*: the labels in ascending order of
their names, each encoded as field 1 of the ``TimeSeries`` message of Prometheus remote write 1.0::

    0x0a <len> ( 0x0a <len> name   0x12 <len> value )   ... once a label

so the label bytes of a well-formed remote-write series *are* its key, and every other door
assembles the same bytes. Lengths are protobuf varints, texts are UTF-8, and labels with an empty
value do not exist.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping

METRIC_NAME = "__name__"
METADATA_LABELS = ("__name__", "__type__", "__unit__")
"""The labels that an operation drops together when it drops the metric name."""

_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Labels:
    """An immutable sorted tuple of (name, value) pairs without empty values; hashable."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        """Sorts *pairs* and leaves out empty values; ValueError where a name stands twice."""
        self._pairs = tuple(sorted((name, value) for name, value in pairs if value != ""))
        for (a, _), (b, _) in zip(self._pairs, self._pairs[1:], strict=False):
            if a == b:
                raise ValueError(f'duplicate label name "{a}"')

    @classmethod
    def of(cls, mapping: Mapping[str, str]) -> "Labels":
        return cls(mapping.items())

    @classmethod
    def from_key(cls, key: bytes) -> "Labels":
        """The labels of a canonical *key*; ValueError where the bytes are not one."""
        return cls(decode_key(key))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        return self._pairs

    @property
    def key(self) -> bytes:
        """The canonical key, see the module's head."""
        out = bytearray()
        for name, value in self._pairs:
            name_bytes, value_bytes = name.encode(), value.encode()
            label = b"\x0a%b%b\x12%b%b" % (
                _varint(len(name_bytes)),
                name_bytes,
                _varint(len(value_bytes)),
                value_bytes,
            )
            out += b"\x0a" + _varint(len(label)) + label
        return bytes(out)

    @property
    def metric(self) -> str:
        """The value of ``__name__``, or ''."""
        return self.get(METRIC_NAME)

    def get(self, name: str) -> str:
        """The value of *name*, or '' where there is no such label."""
        return next((value for n, value in self._pairs if n == name), "")

    def as_dict(self) -> dict[str, str]:
        return dict(self._pairs)

    def without(self, names: Iterable[str]) -> "Labels":
        gone = frozenset(names)
        return Labels(pair for pair in self._pairs if pair[0] not in gone)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self._pairs == other._pairs

    def __lt__(self, other: "Labels") -> bool:
        """Prometheus' order of series: pair by pair, name before value, a prefix first."""
        return self._pairs < other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __str__(self) -> str:
        """``{__name__="up", job="a"}``, as Prometheus prints a label set in errors."""
        return "{" + ", ".join(f"{quote_name(n)}={quote(v)}" for n, v in self._pairs) + "}"

    def __repr__(self) -> str:
        return f"Labels({self})"


def quote(text: str) -> str:
    """*text* in double quotes with the escapes of Go's strconv.Quote that PromQL reads back."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


def quote_name(name: str) -> str:
    """A label name as it is printed: bare where the classic syntax allows it, else quoted."""
    return name if _LEGACY_LABEL.fullmatch(name) else quote(name)


def decode_key(key: bytes) -> list[tuple[str, str]]:
    """The (name, value) pairs of a canonical key, in its order; ValueError if malformed."""
    pairs = []
    at = 0
    while at < len(key):
        at = _expect(key, at, 0x0A)
        label_bytes, at = _read_varint(key, at)
        end = at + label_bytes
        name_at = _expect(key, at, 0x0A)
        name_bytes, name_at = _read_varint(key, name_at)
        value_at = _expect(key, name_at + name_bytes, 0x12)
        value_bytes, value_at = _read_varint(key, value_at)
        if value_at + value_bytes != end or end > len(key):
            raise ValueError("malformed series key: lengths disagree")
        name = key[name_at : name_at + name_bytes].decode()
        pairs.append((name, key[value_at:end].decode()))
        at = end
    return pairs


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data) or shift > 28:
            raise ValueError("malformed series key: bad varint")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _expect(data: bytes, at: int, tag: int) -> int:
    if at >= len(data) or data[at] != tag:
        raise ValueError("malformed series key: unexpected tag")
    return at + 1
