"""The index of a block: its sections as they come behind their checksums."""

import atexit
import shutil
import struct
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from series.labels import Labels
from series.ports import StorageError
from tests.fuzz.mutate import Shape
from tests.fuzz.target import Outcome, Target, magnitude
from tests.tsdb.blocks import Data, QuietFiles, write
from tests.tsdb.contents import Started
from tsdb.block.block import Block
from tsdb.block.cache import BlockCache
from tsdb.block.format import (
    BlockMeta,
    DamagedError,
    Section,
    Sections,
    block_directory,
    pack_index,
    unpack_index,
    unpack_meta,
)
from tsdb.damage import DamageNotes, Finding
from tsdb.view.part import PartLost


class _Unsaid(DamageNotes):
    """Nobody reads what is wrong with some thousand inputs a minute."""

    def note(self, finding: Finding) -> None:
        pass


_RECORD = struct.Struct("<BH")  # kind, size


def inputs() -> dict[str, bytes]:
    """The sections of a block of floats and start times, and the same cut short."""
    whole = _joined(_known()[1])
    return {"small": whole, "cut": whole[:-9]}


def _joined(sections: Sections) -> bytes:
    records = (
        _RECORD.pack(kind, len(content)) + content for kind, content in sorted(sections.items())
    )
    return b"".join(records)


def _split(data: bytes) -> Sections:
    sections: Sections = {}
    at = 0
    while at + _RECORD.size <= len(data):
        kind, size = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if kind in frozenset(Section):
            sections[Section(kind)] = data[at : at + size]
        at += size
    return sections


@cache
def _known() -> tuple[BlockMeta, Sections, Path]:
    """A block whose data stays as it is, and the sections of its index."""
    root = Path(tempfile.mkdtemp(prefix="o11y-fuzz-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    data: Data = {
        Labels.of({"__name__": name, "i": f"{i}ü"}): [
            (t + i % 2, Started(float(t), 5) if name == "b" else float(t)) for t in range(count)
        ]
        for name, rows, count in (("a", 9, 600), ("b", 9, 7))
        for i in range(rows)
    }
    meta = write(root, 1, data, BlockCache(QuietFiles()))
    directory = block_directory(root, 1)
    return meta, unpack_index((directory / "index").read_bytes(), 1), directory


def _block_index(data: bytes) -> Outcome:
    """All is read by the index, from data that is sound."""
    known, _, directory = _known()
    sections = _split(data)
    index = pack_index(1, {kind: [content] for kind, content in sections.items()})
    (directory / "index").write_bytes(index)
    meta = unpack_meta(
        unpack_index(index, 1), 1, index_bytes=len(index), data_bytes=known.data_bytes
    )
    made = Block(directory, meta, BlockCache(QuietFiles(), notes=_Unsaid()))
    refs = made.select(()).refs
    made.label_names(())
    made.time_ranges(refs)
    found = made.read(refs, -(2**62), 2**62)
    found.check()
    assert len(found.offsets) == len(refs) + 1 == meta.series + 1
    return (
        magnitude(len(refs)),
        magnitude(found.sample_count),
        magnitude(len(np.unique(found.time_starts))),
        made.damaged_frames,
    )


TARGETS = (
    Target(
        "block_index",
        _block_index,
        (PartLost, StorageError, DamagedError),
        Shape.BYTES,
        base_bytes=64 << 20,
    ),
)
