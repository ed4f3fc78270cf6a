"""Files of a tenant, as they come behind their checksums."""

import atexit
import math
import shutil
import struct
import tempfile
from functools import cache
from pathlib import Path
from unittest import mock

import google_crc32c
import numpy as np

from series.ports import StorageError
from tests.fuzz.mutate import Shape
from tests.fuzz.target import Outcome, Target, magnitude
from tests.tsdb.blocks import QuietFiles
from tests.tsdb.contents import Started
from tests.tsdb.databases import NOW_MS, append, batch_of, bits, everything, open_store
from tests.tsdb.decoding import decode_times, decode_values
from tests.tsdb.frame_reader import sections
from tests.tsdb.make_golden import OPTIONS, exemplified
from tests.tsdb.test_histograms import histogram
from tsdb import manifest as manifests
from tsdb.block.codec import FrameEncoder, frame_number, unpack_frame
from tsdb.log import records
from tsdb.log.check import check_segment
from tsdb.log.log_reader import read_segment
from tsdb.manifest import Manifest
from tsdb.sample import exemplar_file
from tsdb.view.part import NEVER_MS

_NUMBER = 7
_KNOWN = [(0, NOW_MS, 1.0), (1, NOW_MS, 2.0)]


@cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="o11y-fuzz-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@cache
def _written() -> dict[str, bytes]:
    """The files of a small tenant: manifest, exemplars and the records of its log."""
    data = _root() / "written"
    with mock.patch("tsdb.manifest.os.urandom", lambda count: bytes(range(count))):
        store = open_store(data, options=OPTIONS, files=QuietFiles())
        db = store.tenant_for_write("t")
    append(db, *_KNOWN)
    append(db, (0, NOW_MS + 1, 3.0), (2, NOW_MS + 1, Started(1.0, 5)), (3, NOW_MS, histogram(2)))
    db.append(exemplified(batch_of((0, NOW_MS + 2, 4.0)), NOW_MS)).result(30)
    log = (data / "tenants/t/wal/0000000001.wal").read_bytes()
    db.seal_head(math.inf)
    store.close()
    tenant = data / "tenants/t"
    return {
        "log": log,
        "manifest": (tenant / "manifest").read_bytes(),
        "exemplars": (tenant / "exemplars").read_bytes(),
    }


def inputs() -> dict[str, dict[str, bytes]]:
    """Target -> file -> content."""
    written = _written()
    payloads = [
        found.payload
        for found in records.scan(written["log"], len(written["log"]))
        if isinstance(found, records.Record)
    ]
    (exemplars,) = records.scan(written["exemplars"], len(written["exemplars"]))
    assert isinstance(exemplars, records.Record)
    body = written["manifest"].partition(b"\n")[2][:-16]
    frames = {f"coding-{coding}": _frame(coding) for coding in (0, 1)}
    return {
        "log_record": {f"record-{k}": one for k, one in enumerate(payloads)}
        | {"cut": payloads[1][:-9]},
        "log_segment": {
            "whole": written["log"],
            "torn": written["log"][:-9],
            "no-record": b"O11W" * 9,
        },
        "exemplars": {"some": exemplars.payload, "cut": exemplars.payload[:-9]},
        "manifest": {"one-block": body, "no-object": b"[]"},
        "frame": frames | {"cut": frames["coding-0"][:-3]},
    }


def _frame(coding: int) -> bytes:
    """Heads and codes of a frame of all schemes: the size of the heads, heads, codes."""
    steps = np.arange(30.0)
    rows = [
        np.full(30, 5.0), steps * 7 % 11, steps**2, steps / 10, np.cumsum(steps * 31 % 7),
        np.where(steps == 3, np.nan, steps), np.cumsum(steps * 31 % 7) + 1,
    ]  # fmt: skip
    counts = np.full(len(rows), 30)
    rest, _ = FrameEncoder([coding]).values(
        np.concatenate(rows), np.cumsum(counts) - counts, counts
    )
    heads, codes = sections(frame_number(_NUMBER, rest) + rest)
    return struct.pack("<H", len(heads)) + heads + codes


def _read_log_record(data: bytes) -> Outcome:
    """A segment whose last record is *data* is replayed; what stands before it is there."""
    written = _written()["log"]
    known = [one for one in records.scan(written, len(written)) if isinstance(one, records.Record)]
    directory = _root() / "replayed"
    shutil.rmtree(directory, ignore_errors=True)
    log = directory / "tenants/t/wal/0000000001.wal"
    log.parent.mkdir(parents=True)
    log.write_bytes(written[: known[1].end] + _record(data))
    manifest = directory / "tenants/t/manifest"
    manifest.write_bytes(_manifest_of(b'{"seed":"%s","blocks":[],"wal_through":0,'
        b'"sealed_until_ms":%d,"next_sequence":1,"metadata":{},"lost":[],"deletions":[],'
        b'"clock_ms":0}' % (b"00" * 16, NEVER_MS)))  # fmt: skip
    store = open_store(directory, options=OPTIONS, files=QuietFiles(), arena_pages=512)
    try:
        db = store.tenant("t")
        assert db is not None
        found = everything(db)
        for labels, own in bits(_KNOWN).items():
            assert found[labels].items() >= own.items()
        db.view().exemplars([()], -(2**63), 2**63 - 1)
        damaged = db.stats().replay_damaged_bytes
    finally:
        store.close()
    if damaged:
        raise StorageError("damaged")
    return magnitude(len(found)), magnitude(sum(map(len, found.values())))


def _record(payload: bytes) -> bytes:
    """The record of this payload, with checksums that are right."""
    head = struct.pack("<4sHHIIi", b"O11W", 1, 0, len(payload), google_crc32c.value(payload), 0)
    return head + struct.pack("<I", google_crc32c.value(head)) + payload


def _read_log_segment(data: bytes) -> Outcome:
    """Any bytes as a segment: what is no record is told."""
    path = _root() / "0000000001.wal"
    path.write_bytes(data)
    files = QuietFiles()
    found = list(read_segment(path, files, len(data)))
    places = [one.offset for one in found]
    assert places == sorted(places)
    findings = [one for one in check_segment(path, None, files) if not isinstance(one, int)]
    if len(found) == sum(isinstance(one, records.Damage) for one in found):
        raise StorageError("no sound record")
    return magnitude(len(found)), magnitude(len(findings))


def _read_exemplars(data: bytes) -> Outcome:
    (_root() / exemplar_file.NAME).write_bytes(_record(data))
    found = exemplar_file.load(_root(), QuietFiles())
    if found is None:
        raise StorageError("damaged")
    return found.through > 0, magnitude(len(found.exemplars))


def _manifest_of(body: bytes) -> bytes:
    content = b"o11y-manifest %d\n%s\n" % (manifests.MANIFEST_VERSION, body)
    return content + b"crc32c=%08x\n" % google_crc32c.value(content)


def _read_manifest(data: bytes) -> Outcome:
    """What is read can be written, and is the same then."""
    directory = _root() / "manifests"
    directory.mkdir(exist_ok=True)
    for name in manifests.NAMES:
        (directory / name).write_bytes(_manifest_of(data))
    found = Manifest.load(directory, QuietFiles())
    assert found is not None
    found.save(directory, QuietFiles())
    assert Manifest.load(directory, QuietFiles()) == found
    for deletion in found.deletions:
        assert isinstance(deletion.selector, tuple)
        assert all(deletion.hits(block) in (False, True) for block in found.blocks)
    return len(found.blocks), len(found.metadata), len(found.deletions), len(found.lost)


def _read_frame(data: bytes) -> Outcome:
    """Heads and codes behind a checksum that is right; every segment is decoded as both kinds."""
    size = int.from_bytes(data[:2], "little")
    parts = data[2 : 2 + size], data[2 + size :]
    sizes = b"".join(struct.pack("<II", len(part), len(part)) for part in parts)
    rest = struct.pack("<IHH", _NUMBER, len(parts), 0) + sizes + b"".join(parts)
    body = unpack_frame(struct.pack("<I", google_crc32c.value(rest)) + rest, _NUMBER)
    segments = int.from_bytes(body[:4].tobytes(), "little")
    decoded = 0
    for slot in range(segments):
        head = body[8 + 40 * slot :]
        take = int(head[4]) | int(head[5]) << 8
        piece = np.array([[0], [slot], [0], [take], [0]])
        values, times_ms = np.zeros(take), np.zeros(take, np.int64)
        decoded += decode_values(body, piece, 0, 1, values)
        decode_times(body, piece, 0, 1, times_ms)
        piece[2], piece[3] = take // 2, take - take // 2
        part = np.zeros(take - take // 2)
        if decode_values(body, piece, 0, 1, part):
            assert part.tobytes() == values[take // 2 :].tobytes()
    assert decoded == segments
    return magnitude(segments), len({int(body[8 + 40 * slot]) for slot in range(segments)})


TARGETS = (
    Target(
        "log_record", _read_log_record, (StorageError,), Shape.BYTES,
        base_bytes=64 << 20, bytes_per_byte=4000,
    ),
    Target("log_segment", _read_log_segment, (StorageError,), Shape.BYTES, words=(b"O11W",)),
    Target("exemplars", _read_exemplars, (StorageError,), Shape.BYTES),
    Target("manifest", _read_manifest, (StorageError,), Shape.TEXT),
    Target("frame", _read_frame, (ValueError,), Shape.BYTES, base_bytes=128 << 20),
)  # fmt: skip
