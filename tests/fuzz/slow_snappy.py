"""A slow reader of snappy's block format (google/snappy, format_description.txt)."""


class BadSnappy(Exception):
    """The bytes are no snappy block, or one that is too large."""


def slow_snappy(data: bytes, max_bytes: int) -> bytes:
    """The plain bytes of *data*; BadSnappy else."""
    try:
        size, at = _size(data)
        if size > max_bytes:
            raise BadSnappy
        out = bytearray()
        while at < len(data):
            at = _element(data, at, out, size)
    except IndexError:
        raise BadSnappy from None
    if len(out) != size:
        raise BadSnappy
    return bytes(out)


def _size(data: bytes) -> tuple[int, int]:
    number = 0
    for at in range(10):
        number |= (data[at] & 127) << 7 * at
        if data[at] < 128:
            return number % 2**64, at + 1
    raise BadSnappy


def _element(data: bytes, at: int, out: bytearray, size: int) -> int:
    """Appends what the element at *at* stands for; returns where the next one begins."""
    tag = data[at]
    at += 1
    if tag & 3 == 0:
        length = tag >> 2
        if length >= 60:
            more = length - 59
            # Readers take four bytes for the length; so long a literal has more behind it.
            if len(data) - at < 4:
                raise BadSnappy
            length = int.from_bytes(data[at : at + more], "little")
            at += more
        length += 1
        if length > len(data) - at:
            raise BadSnappy
        out += data[at : at + length]
        return at + length
    if tag & 3 == 1:
        length, offset = 4 + (tag >> 2 & 7), tag >> 5 << 8 | data[at]
        at += 1
    else:
        width = 2 if tag & 3 == 2 else 4
        if len(data) - at < width:
            raise BadSnappy
        length, offset = 1 + (tag >> 2), int.from_bytes(data[at : at + width], "little")
        at += width
    if not 0 < offset <= len(out) or len(out) + length > size:
        raise BadSnappy
    for _ in range(length):
        out.append(out[-offset])
    return at
