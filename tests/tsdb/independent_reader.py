"""A reader of a tenant's blocks in 60 lines, written from docs/format.md alone.

Frames are read by ``frame_reader``, which was written in the same way. Tickets are left as they
are; log, deletions and entries are not looked at.
"""

import json
import struct
from itertools import accumulate
from pathlib import Path
from typing import Any

import google_crc32c
import zstandard

from tests.tsdb.frame_reader import read_frame

COLUMNS = {3: "nn", 4: "n", 5: "nnn", 6: "nn", 7: "n", 8: "snsn"}
"""The columns of a section: numbers or steps."""
Block = dict[tuple[tuple[str, str], ...], dict[int, int]]


def read_tenant(tenant: Path) -> Block:
    """Labels -> time -> bits; of samples at one instant those of the lowest rank count."""
    found: Block = {}
    text = (tenant / "manifest").read_bytes()
    assert google_crc32c.value(text[:-16]) == int(text[-9:-1], 16)
    blocks = json.loads(text[:-16].partition(b"\n")[2])["blocks"]
    for block in sorted(blocks, key=lambda block: -block["rank"]):
        for labels, samples in read_block(tenant / "blocks" / f"{block['sequence']:010}").items():
            found.setdefault(labels, {}).update(samples)
    return found


def read_block(block: Path) -> Block:
    """Labels -> time -> bits of one block."""
    index, data = (block / "index").read_bytes(), (block / "data").read_bytes()
    at = 32 + 32 * int.from_bytes(index[12:16], "little")
    sections: dict[int, list[Any]] = {}
    for kind, _, stored, size, crc, _ in struct.iter_unpack("<IIQQII", index[32:at]):
        section = index[at : at + stored]
        assert google_crc32c.value(section) == crc
        section = zstandard.ZstdDecompressor().decompress(section, max_output_size=size)
        sections[kind] = columns(section, COLUMNS.get(kind, ""))
        at += stored
    names = cut(sections[3][1], sections[3][2])
    owners = [name for name, count in zip(names, sections[3][0], strict=True) for _ in range(count)]
    labels = [(a.decode(), b.decode()) for a, b in zip(owners, cut(*sections[4]), strict=True)]
    frames: list[list[bytes]] = [[], [], []]
    for frame, kind in zip(cut(sections[6][0], data[24:]), sections[6][1], strict=True):
        frames[kind].append(frame)
    values, times = ([s for one in frames[kind] for s in read_frame(one)] for kind in (0, 1))
    lines = [cut(sections[8][1], sections[8][2])[line] for line in sections[8][0]]
    groups = [group for group, rows in enumerate(sections[7][0]) for _ in range(rows)]
    order = sorted((groups[r], k, r) for r, line in enumerate(lines) for k in range(len(line)))
    rows: list[dict[int, int]] = [{} for _ in lines]
    for (_, k, row), bits in zip(order, values, strict=True):
        signed = ((time ^ 1 << 63) - (1 << 63) for time in times[lines[row][k]])
        rows[row].update(zip(signed, bits, strict=True))
    found: Block = {}
    key: list[int] = []
    for row, (shared, new) in enumerate(zip(sections[5][0], cut(*sections[5][1:3]), strict=True)):
        key = key[:shared] + new
        found[tuple(labels[label] for label in key)] = rows[row]
    return found


def cut(sizes: list[int], whole: Any) -> list[Any]:
    """Pieces of these sizes, one after the other."""
    return [whole[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]


def columns(section: bytes, kinds: str) -> list[Any]:
    """The first columns of a section, then all that remains."""
    found = []
    for kind in kinds:
        width, count = struct.unpack_from("<B7xQ", section)
        planes, section = section[16 : 16 + width * count], section[16 + width * count :]
        column = [int.from_bytes(planes[k::count], "little") for k in range(count)]
        steps = accumulate(number >> 1 ^ -(number & 1) for number in column)
        found.append(list(steps) if kind == "s" else column)
    return [*found, section]
