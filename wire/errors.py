"""What a decoder says of bytes that it cannot read."""


class Malformed(ValueError):
    """The body is not what its content type claims; the text tells why (HTTP 400)."""
