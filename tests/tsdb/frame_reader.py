"""A reader of frames in plain Python, written from docs/format.md: the twin of the kernels."""

import struct

import zstandard

Segment = list[int]
WORD = (1 << 64) - 1


def read_frame(frame: bytes) -> list[Segment]:
    """The samples of every segment, as bits (of times: the times modulo 2**64)."""
    heads, codes = sections(frame)
    count, tables, coding, words = struct.unpack_from("<IHHI", heads)
    at = 12
    columns = []
    for width in (1, 1, 1, 1, 2, 2, 2, 2, 8, 8, 8, 8):
        planes = [heads[at + count * k : at + count * (k + 1)] for k in range(width)]
        columns.append(
            [int.from_bytes(bytes(number), "little") for number in zip(*planes, strict=True)]
        )
        at += count * width
    rows = list(zip(*columns, strict=True))
    slots = [_slots(heads[at + 8 * k : at + 8 * (k + 1)]) for k in range(tables)]
    at += 8 * tables
    odds = []
    for row in rows:
        odds.append([struct.unpack_from("<HQ", heads, at + 10 * k) for k in range(row[5])])
        at += 10 * row[5]
    found = _planes(rows, codes) if coding else _split(rows, slots, words, codes, heads[at:])
    segments: list[Segment] = []
    steps: list[int] = []
    for row, own, odd in zip(rows, found, odds, strict=True):
        samples, steps = _samples(row, own, steps)
        for position, bits in odd:
            samples[position] = bits
        segments.append(samples)
    return segments


def sections(frame: bytes) -> tuple[bytes, bytes]:
    """(heads, codes)."""
    count = struct.unpack_from("<H", frame, 8)[0]
    at = 12 + 8 * count
    parts = []
    for size, stored in struct.iter_unpack("<II", frame[12:at]):
        part = frame[at : at + stored]
        at += stored
        unpack = zstandard.ZstdDecompressor().decompress
        parts.append(part if size == stored else unpack(part, max_output_size=size))
    return parts[0], b"".join(parts[1:])


def _slots(table: bytes) -> list[tuple[int, int, int]]:
    """(symbol, share, place in it) of each of the 1024 slots."""
    squares = [(byte >> shift & 15) ** 2 for byte in table for shift in (0, 4)]
    shares = [max(1, 1024 * square // sum(squares)) if square else 0 for square in squares]
    shares[squares.index(max(squares))] += 1024 - sum(shares)
    return [(s, share, place) for s, share in enumerate(shares) for place in range(share)]


def _split(
    rows: list[tuple[int, ...]],
    slots: list[list[tuple[int, int, int]]],
    words: int,
    codes: bytes,
    escapes: bytes,
) -> list[list[int]]:
    at = 16 if slots else 0
    states = list(struct.unpack_from("<4I", codes)) if slots else []
    raw_at = at + 2 * words
    found = []
    for scheme, _, shift, table, count, _, escaped, *_ in rows:
        tops = [0] * count
        for i in range(count if table else 0):
            tops[i], share, place = slots[table - 1][states[i % 4] % 1024]
            states[i % 4] = share * (states[i % 4] // 1024) + place
            if states[i % 4] < 1 << 16:
                states[i % 4] = states[i % 4] << 16 | int.from_bytes(codes[at : at + 2], "little")
                at += 2
        for i in range(count if escaped else 0):
            if tops[i] == 15:
                size = next(k for k, byte in enumerate(escapes) if byte < 128) + 1
                zigzag = sum((byte & 127) << 7 * k for k, byte in enumerate(escapes[:size]))
                tops[i] = zigzag >> 1 ^ -(zigzag & 1)
                escapes = escapes[size:]
        size = (shift * count + 7) // 8 if scheme > 1 else 0
        raw = int.from_bytes(codes[raw_at : raw_at + size], "little")
        raw_at += size
        mask = (1 << shift) - 1
        found.append([top << shift | raw >> i * shift & mask for i, top in enumerate(tops)])
    assert raw_at == len(codes)
    assert not escapes
    return found


def _planes(rows: list[tuple[int, ...]], codes: bytes) -> list[list[int]]:
    found = [[0] * row[4] for row in rows]
    at = 0
    for plane in range(8):
        for own, row in zip(found, rows, strict=True):
            if row[2] > plane:
                for i in range(row[4]):
                    own[i] |= codes[at + i] << 8 * plane
                at += row[4]
    return found


def _samples(row: tuple[int, ...], codes: list[int], before: list[int]) -> tuple[Segment, Segment]:
    """(the samples' bits, the steps)."""
    scheme, exponent, _, _, count, _, _, leans, base, low, slope, factor = row
    if scheme < 2:
        return [(base + scheme * i) & WORD for i in range(count)], []
    steps = []
    for i, code in enumerate(codes):
        line = _signed(slope * i) >> 10
        steps.append((low + line + code + (before[i] if leans else 0)) & WORD)
    if scheme == 3:
        steps[0] = 0
    samples = []
    total = 0
    for step in steps:
        total = total + step if scheme == 3 else step
        number = (base + factor * total) & WORD
        if exponent != 255:
            number = struct.unpack("<Q", struct.pack("<d", _signed(number) / 10**exponent))[0]
        samples.append(number)
    return samples, steps


def _signed(number: int) -> int:
    number &= WORD
    return number - (1 << 64) if number >> 63 else number
