"""Messages in an unusual order of fields, written in the usual one; valid, but rarely sent."""

from wire.errors import Malformed
from wire.protobuf import BYTES, FIXED64, VARINT, fields, texts

_NAMING_FIELDS = 3


def metric_identity(metric: bytes) -> bytes:
    """Name, description and unit of a Metric message, and nothing else."""
    found = texts(metric, _NAMING_FIELDS)
    return b"".join(_field(number, text) for number, text in enumerate(found, 1) if text)


def point_in_order(point: bytes, attributes_number: int, *, histogram: bool) -> bytes:
    """A data point with its attributes side by side and, of a histogram, its arrays packed."""
    attributes, rest = bytearray(), bytearray()
    arrays = {6: bytearray(), 7: bytearray()} if histogram else {}
    for number, wire_type, value in fields(point):
        if number in arrays:
            if wire_type not in (BYTES, FIXED64):
                raise Malformed(f"proto: wrong wireType = {wire_type} for field {number}")
            arrays[number] += value if isinstance(value, bytes) else value.to_bytes(8, "little")
        elif number == attributes_number:
            attributes += _any_field(number, wire_type, value)
        else:
            rest += _any_field(number, wire_type, value)
    packed = b"".join(_field(number, bytes(array)) for number, array in arrays.items())
    return bytes(attributes + rest) + packed


def varint_bytes(number: int) -> bytes:
    """The varint of a number below 2**64."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return varint_bytes(number << 3 | BYTES) + varint_bytes(len(payload)) + payload


def _any_field(number: int, wire_type: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return _field(number, value)
    tag = varint_bytes(number << 3 | wire_type)
    if wire_type == VARINT:
        return tag + varint_bytes(value)
    return tag + value.to_bytes(8 if wire_type == FIXED64 else 4, "little")
