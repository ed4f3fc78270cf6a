"""What a damaged record probably held, for whoever is told of the damage; nothing of it is used.

Most damage is small: a flipped bit leaves all other numbers of a record as they were. So its series
can be named, though nobody can say which of its numbers is the wrong one.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from series.labels import Labels
from tsdb.damage import Finding
from tsdb.files import Files
from tsdb.log import records
from tsdb.log.log_reader import read_segment
from tsdb.log.records import Damage, Record
from tsdb.versions import UnsupportedFormat

_MOST_BYTES = 16 << 20
_SHOWN_SERIES = 5


@dataclass(slots=True)
class Salvaged:
    """``ids`` int64[N] of the samples, as the segment numbers series; ``keys`` of named ones."""

    ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    keys: dict[int, bytes] = field(default_factory=dict)


def salvage(path: Path, damage: Damage, files: Files) -> Salvaged:
    """What the damaged bytes say if they are read as a record whatever their checksums."""
    fd = files.open(path)
    try:
        data = files.pread(fd, min(damage.size_bytes, _MOST_BYTES), damage.offset)
    finally:
        files.close(fd)
    found = Salvaged()
    try:
        for section in records.sections(data[records.HEADER_BYTES :]):
            if section.kind == records.SERIES:
                found.keys.update(_named(section.content))
            elif section.kind == records.SAMPLES:
                found.ids = records.decode_samples(section.content).ids.astype(np.int64)
    except (ValueError, OverflowError, struct.error, UnsupportedFormat):
        return found  # here the damage begins to matter
    return found


def described(finding: Finding, lost: Salvaged, path: Path, files: Files, end: int) -> Finding:
    """*finding* with the number of its samples, and its series by name; reads the segment again."""
    wanted = np.unique(lost.ids)
    if not len(wanted):
        return finding
    shown = set(wanted[:_SHOWN_SERIES].tolist())
    sound: dict[int, bytes] = {}
    for record in read_segment(path, files, end):
        if shown <= sound.keys():
            break
        if isinstance(record, Record):
            for section in records.sections(record.payload):
                if section.kind == records.SERIES:
                    sound |= {n: key for n, key in _named(section.content) if n in shown}
    keys = {number: key for number, key in lost.keys.items() if number in shown} | sound
    return replace(
        finding,
        samples=finding.samples + len(lost.ids),
        series_count=max(finding.series_count, len(wanted)),
        series=tuple(_labels(keys[number]) for number in sorted(keys)),
    )


def _named(content: bytes) -> Iterator[tuple[int, bytes]]:
    series = records.decode_series(content)
    start = 0
    for number, end in enumerate(series.key_ends.tolist(), series.first_id):
        yield number, series.keys[start:end].tobytes()
        start = end


def _labels(key: bytes) -> str:
    try:
        return str(Labels.from_key(key))
    except ValueError:
        return "a series whose name is damaged"
