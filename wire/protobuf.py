"""The protobuf wire format, field by field, in plain Python.

For messages that are few (metadata) or odd (label sets that are not canonical); whole bodies go
through kernels. Source: protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator

from wire import protobuf_helpers as helpers
from wire.errors import Malformed

STATUS_TEXTS = {
    helpers.UNEXPECTED_END: "unexpected EOF",
    helpers.VARINT_OVERFLOW: "integer overflow",
    helpers.ILLEGAL_TAG: "illegal tag 0",
    helpers.ILLEGAL_WIRE_TYPE: "illegal wireType",
    helpers.WRONG_WIRE_TYPE: "wrong wireType",
}
"""What the statuses of kernels say of a message."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_MAX_VARINT_BYTES = 10


def fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """The (field number, wire type, value) triples of *message* in their order.

    Varints and fixed-width values come as unsigned integers, length-delimited ones as bytes.
    Raises Malformed on the first thing that is not a field; groups count as malformed.
    """
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, wire_type = (tag & 0xFFFFFFFF) >> 3, tag & 7
        if number == 0:
            raise Malformed(f"illegal tag 0 (wire type {wire_type})")
        if wire_type == VARINT:
            value, at = varint(message, at)
            yield number, wire_type, value
            continue
        if wire_type == BYTES:
            size, at = varint(message, at)
        elif wire_type == FIXED64:
            size = 8
        elif wire_type == FIXED32:
            size = 4
        else:
            raise Malformed(f"illegal wireType {wire_type}")
        if size > len(message) - at:
            raise Malformed("unexpected EOF")
        payload = message[at : at + size]
        at += size
        yield (
            number,
            wire_type,
            payload if wire_type == BYTES else int.from_bytes(payload, "little"),
        )


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The unsigned 64-bit varint at *at*, and where it ends; bits above 64 are dropped."""
    value = 0
    for position in range(_MAX_VARINT_BYTES):
        if at + position >= len(message):
            raise Malformed("unexpected EOF")
        byte = message[at + position]
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + position + 1
    raise Malformed("integer overflow")


def texts(message: bytes, count: int) -> list[bytes]:
    """The length-delimited fields 1 to *count* of *message*, b"" where one is missing.

    As everywhere in protobuf the last of several wins. Malformed if one has another wire type.
    """
    found = [b""] * count
    for number, wire_type, value in fields(message):
        if number <= count:
            if not isinstance(value, bytes):
                raise Malformed(f"wrong wireType = {wire_type} for field {number}")
            found[number - 1] = value
    return found
