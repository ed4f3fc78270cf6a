"""The file in which exemplars outlive the log that held them.

It is one record of the log's own form, replaced as a whole before segments are deleted: the number
of the last segment whose exemplars it has, the series, the exemplars in the order of arrival.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tsdb.files import Files
from tsdb.log import records
from tsdb.log.log_reader import read_segment
from tsdb.log.records import LoggedExemplars, NewSeries, Record, SegmentStart
from tsdb.sample.exemplars import Kept

NAME = "exemplars"


class Saved(NamedTuple):
    """``through``: exemplars of log segments up to this number are among the ``exemplars``."""

    through: int = 0
    exemplars: Sequence[Kept] = ()


def save(directory: Path, saved: Saved, files: Files) -> None:
    """Replaces the file in *directory*; durable when it returns, OSError where the disk refuses."""
    numbers: dict[bytes, int] = {}
    ids = [numbers.setdefault(one.series_key, len(numbers)) for one in saved.exemplars]
    keys = np.frombuffer(b"".join(numbers), dtype=np.uint8)
    key_ends = np.cumsum([len(key) for key in numbers], dtype=np.int64)
    record = records.encode_record(
        [
            records.encode_segment(SegmentStart(saved.through, 0)),
            records.encode_series(NewSeries(0, keys, key_ends)),
            records.encode_exemplars(LoggedExemplars.of(np.array(ids), saved.exemplars)),
        ]
    )
    aside = directory / f"{NAME}.tmp"
    if files.exists(aside):
        files.unlink(aside)
    fd = files.create(aside)
    try:
        files.write(fd, [record])
        files.fdatasync(fd)
    finally:
        files.close(fd)
    files.rename(aside, directory / NAME)
    files.sync_directory(directory)


def load(directory: Path, files: Files) -> Saved | None:
    """What was saved, or nothing; None where the file is damaged.

    Raises ``records.UnsupportedFormat`` for one of a newer version.
    """
    path = directory / NAME
    if not files.exists(path):
        return Saved()
    first = next(read_segment(path, files, files.size_bytes(path)), None)
    if not isinstance(first, Record):
        return None
    found = {section.kind: section.content for section in records.sections(first.payload)}
    if not found.keys() >= {records.SEGMENT, records.SERIES, records.EXEMPLARS}:
        return None
    through = records.decode_segment(found[records.SEGMENT]).number
    series = records.decode_series(found[records.SERIES])
    starts = np.concatenate(([0], series.key_ends)).tolist()
    keys = [series.keys[start:end].tobytes() for start, end in itertools.pairwise(starts)]
    logged = records.decode_exemplars(found[records.EXEMPLARS])
    if logged.ids.max(initial=0) >= max(len(keys), 1):
        return None
    return Saved(through, logged.named([keys[at] for at in logged.ids.tolist()]))
