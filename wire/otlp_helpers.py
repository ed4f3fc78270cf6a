"""What the kernels of the OTLP door share: one field of a message.

Bounds are kept as in ``wire.protobuf_helpers``.
"""

from typing import Any

import numpy as np

from series.jit import helper
from wire.protobuf_helpers import OK, read_length, read_tag, read_varint, skip_field

VARINT, FIXED64, LENGTH = 0, 1, 2
"""Wire types."""


@helper
def read_field(data: Any, at: Any, end: Any) -> Any:
    """(number, wire type, value, next position, status) of the field at *at*, which is below *end*.

    *value* is that of a varint, otherwise the position where the value begins.
    """
    if end - at >= 2 and data[at + 1] < 0x80:
        # A tag of one byte and a short text, as most fields are.
        tag = np.int64(data[at])
        if tag & 7 == LENGTH and 8 <= tag < 0x80 and np.int64(data[at + 1]) <= end - at - 2:
            return tag >> 3, tag & 7, at + 2, at + 2 + np.int64(data[at + 1]), OK
    number, wire_type, at, status = read_tag(data, at, end)
    value = at
    if status != OK:
        return number, wire_type, value, at, status
    if wire_type == LENGTH:
        size, value, status = read_length(data, at, end)
        at = value + size
    elif wire_type == VARINT:
        value, at, status = read_varint(data, at, end)
    else:
        at, status = skip_field(data, at, end, wire_type)
    return number, wire_type, value, at, status
