"""Whether a record whose checksum is right makes sense: its sizes and numbers agree.

A checksum finds what a disk has changed. Bytes that carry a right one and yet make no sense must
not lead readers astray either: they count as damage.
"""

import itertools
import struct

import orjson

from series.labels import Labels
from tsdb.log import records
from tsdb.log.records import Record, Section
from tsdb.sample.entries import Entries, entry_numbers, ticket_places

_FURTHEST_MS = 2**53
_MOST_SEGMENTS = 10**10
_LEAST_SERIES_BYTES = 4
"""What it takes to name a series, at least; so few bytes cannot have named many."""


def is_sound(record: Record) -> bool:
    """Whether all in *record* fits together; UnsupportedFormat where it is of a newer version."""
    entries: Entries | None = None
    if _sections_end(record.payload) != len(record.payload):
        return False
    try:
        for section in records.sections(record.payload):
            if section.kind == records.ENTRIES:
                entries = records.decode_entries(section.content)
                if not _are_whole(entries):
                    return False
            elif section.kind == records.SAMPLES:
                if not _are_samples(section, entries):
                    return False
            elif not _CHECKS[section.kind](section.content, record.offset):
                return False
    except (AssertionError, ValueError, TypeError, AttributeError, OverflowError, struct.error):
        return False
    return True


def _sections_end(payload: bytes) -> int:
    at = 0
    while at < len(payload):
        size = int.from_bytes(payload[at + 8 : at + 16], "little")
        at += 16 + size + -size % 8
    return at


def _are_whole(entries: Entries) -> bool:
    entries.histograms.check()
    return int(entries.is_histogram.sum()) == entries.histograms.size


def _are_samples(section: Section, entries: Entries | None) -> bool:
    samples = records.decode_samples(section.content)
    if not len(samples.ids):
        return False
    if samples.times.min() < -_FURTHEST_MS or samples.times.max() > _FURTHEST_MS:
        return False
    numbers = entry_numbers(samples.bits[ticket_places(samples.bits)])
    return entries is None or int(numbers.max(initial=-1)) < entries.size


def _is_segment(content: bytes, offset: int) -> bool:
    del offset
    start = records.decode_segment(content)
    return start.number < _MOST_SEGMENTS and start.previous_end < 1 << 62


def _are_series(content: bytes, offset: int) -> bool:
    """*offset* is where the record stands in its segment, behind those that name other series."""
    series = records.decode_series(content)
    named_bytes = int(series.key_ends[-1]) if len(series.key_ends) else 0
    return named_bytes == len(series.keys) and series.first_id * _LEAST_SERIES_BYTES <= offset


def _is_metadata(content: bytes, offset: int) -> bool:
    del offset
    known = orjson.loads(content).values()
    return all(
        len(fields) == 3 and all(isinstance(text, str) for text in fields) for fields in known
    )


def _are_exemplars(content: bytes, offset: int) -> bool:
    del offset
    exemplars = records.decode_exemplars(content)
    ends = [0, *exemplars.key_ends.tolist()]
    keys = exemplars.keys.tobytes()
    for start, end in itertools.pairwise(ends):
        Labels.from_key(keys[start:end])
    return int(ends[-1]) == len(keys)


_CHECKS = {
    records.SEGMENT: _is_segment,
    records.SERIES: _are_series,
    records.METADATA: _is_metadata,
    records.EXEMPLARS: _are_exemplars,
}
