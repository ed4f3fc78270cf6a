"""XXH64 with seed 0 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md)."""

import struct

_MASK = (1 << 64) - 1
_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)


def xxh64(data: bytes) -> int:
    """The hash of *data* as an unsigned 64-bit integer."""
    at, end = 0, len(data)
    if end >= 32:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        while at + 32 <= end:
            words = struct.unpack_from("<4Q", data, at)
            lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
            at += 32
        a, b, c, d = lanes
        h = (_rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)) & _MASK
        for lane in lanes:
            h = ((h ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        h = _P5
    h = (h + end) & _MASK
    while at + 8 <= end:
        h ^= _round(0, struct.unpack_from("<Q", data, at)[0])
        h = (_rotate(h, 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= end:
        h ^= struct.unpack_from("<I", data, at)[0] * _P1 & _MASK
        h = (_rotate(h, 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        h ^= byte * _P5 & _MASK
        h = _rotate(h, 11) * _P1 & _MASK
    h = (h ^ (h >> 33)) * _P2 & _MASK
    h = (h ^ (h >> 29)) * _P3 & _MASK
    return h ^ (h >> 32)


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK


def _round(lane: int, word: int) -> int:
    return _rotate((lane + word * _P2) & _MASK, 31) * _P1 & _MASK
