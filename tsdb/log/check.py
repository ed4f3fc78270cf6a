"""Checking a segment of the log: every byte that counts is compared with its checksum."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tsdb.damage import LOG, Finding
from tsdb.files import Files
from tsdb.log import records
from tsdb.log.log_reader import read_segment, segment_start
from tsdb.log.records import Record
from tsdb.log.salvage import Salvaged, described, salvage

Times = tuple[int, int]

_START_BYTES = len(records.encode_record([records.encode_segment(records.SegmentStart(0, 0))]))
"""The first record of a segment; it holds no samples."""


def check_segment(
    path: Path, later: Path | None, files: Files
) -> Generator[int | Finding, None, None]:
    """Reads a segment in steps: yields how many bytes each was, and in the end what is damaged.

    *later* is the segment behind it, which tells where it ends; where that is not known a torn end
    is no damage, since nobody was told that it is kept. Raises UnsupportedFormat for a log of
    another version, OSError where the disk fails.
    """
    size = files.size_bytes(path)
    start = None if later is None else segment_start(later, files)
    end = size if start is None else min(size, start.previous_end)
    contents = _Contents()
    lost: dict[int, Salvaged] = {}
    for found in read_segment(path, files, end):
        if isinstance(found, Record):
            contents.take(found)
            yield found.end - found.offset
        else:
            if not (found.is_tail and start is None):
                text = f"{found.size_bytes} bytes are no sound record"
                is_loss = found.offset > 0 or found.size_bytes != _START_BYTES
                contents.damaged(Finding(LOG, path, found.offset, text, is_loss=is_loss))
                lost[found.offset] = salvage(path, found, files)
            yield found.size_bytes
    if start is not None and start.previous_end > size:
        text = f"{start.previous_end - size} bytes are missing at its end"
        contents.damaged(Finding(LOG, path, size, text))
    for finding in contents.findings:
        what = lost.get(finding.offset)
        yield described(finding, what, path, files, end) if what is not None else finding


class _Contents:
    """What is read of a segment, and what its damage takes as far as what stands around it tells.

    The times of what a damaged record holds are between those of the records around it, if the
    senders' clocks go right. Samples whose series it named cannot be told whose they are.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._named: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._before: Times | None = None
        self._waits = False

    def damaged(self, finding: Finding) -> None:
        self.findings.append(replace(finding, times_ms=self._before))
        self._waits = True

    def take(self, record: Record) -> None:
        for section in records.sections(record.payload):
            if section.kind == records.SERIES:
                series = records.decode_series(section.content)
                self._name(series.first_id, len(series.key_ends))
            elif section.kind == records.SAMPLES:
                samples = records.decode_samples(section.content)
                self._pass((int(samples.times.min()), int(samples.times.max())))
                if self.findings:
                    self._lose(samples.ids.astype(np.int64))

    def _name(self, first: int, count: int) -> None:
        if first + count > len(self._named):
            more = np.zeros(max(first + count, 2 * len(self._named)), dtype=np.bool_)
            more[: len(self._named)] = self._named
            self._named = more
        self._named[first : first + count] = True

    def _pass(self, times_ms: Times) -> None:
        if self._waits:
            last = self.findings[-1]
            first_ms = times_ms[0] if last.times_ms is None else min(last.times_ms[0], times_ms[0])
            self.findings[-1] = replace(last, times_ms=(first_ms, times_ms[1]))
            self._waits = False
        self._before = times_ms

    def _lose(self, ids: NDArray[np.int64]) -> None:
        known = ids < len(self._named)
        known[known] = self._named[ids[known]]
        nameless = ids[~known]
        if len(nameless):
            last = self.findings[-1]
            self.findings[-1] = replace(
                last,
                samples=last.samples + len(nameless),
                series_count=max(last.series_count, len(np.unique(nameless))),
                text=last.text.partition("; ")[0] + "; it named series of later samples",
            )
