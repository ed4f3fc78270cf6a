"""A slow reader of remote write bodies, and whether the product reads the same."""

import struct

import numpy as np
import pytest

from series.batch import SeriesBatch
from series.histogram import Histogram
from series.known import Known
from series.labels import Labels
from tests.wire.histograms import STALE, Broken, Read, read_fields, slow_histogram
from tsdb.head.registry import Registry
from wire.errors import Malformed
from wire.remote_write import decode_message
from wire.write_request import WriteRequest

NAME = (b"__name__", b"up")
Sample = bytes | Histogram
Row = tuple[Labels, list[int], list[Sample]]


def parsed(message: bytes, known: Known | None = None) -> WriteRequest:
    """The request in *message*, every invariant of its batch checked."""
    request = decode_message(np.frombuffer(bytearray(message), dtype=np.uint8), known)
    request.batch.check()
    return request


def known_from(batch: SeriesBatch) -> Known:
    """The series of *batch*, numbered."""
    registry = Registry(b"seed")
    ids, fingerprints = registry.look_up(batch)
    registry.add(batch, ids, fingerprints)
    registry.publish()
    return registry.known


def rows(request: WriteRequest) -> list[Row]:
    """Labels, times, and value bits or histograms of every row."""
    batch = request.batch
    found = []
    for row in range(batch.series_count):
        samples: list[Sample] = [struct.pack("<d", value) for value in batch.row_values(row)]
        if batch.histogram_ids is not None:
            assert batch.histograms is not None
            ids = batch.histogram_ids[batch.offsets[row] : batch.offsets[row + 1]].tolist()
            for at, one in enumerate(ids):
                samples[at] = batch.histograms.one(one) if one >= 0 else samples[at]
        key = batch.key(row)
        labels = Labels.from_key(key)
        assert labels.key == key, "the key is canonical"
        found.append((labels, batch.row_times_ms(row).tolist(), samples))
    return found


# --- an independent reading of a body ----------------------------------------------------------


def want(kind: int, wanted: int) -> None:
    if kind != wanted:
        raise Broken


def slow_rows(message: bytes) -> tuple[list[Row], int]:
    """The rows of a body, and how many samples it refuses."""
    found: list[Row] = []
    refused = 0
    for number, kind, content in read_fields(message):
        if number in (1, 3):
            want(kind, 2)
        if number == 3:
            slow_metadata(content)  # type: ignore[arg-type]
        if number != 1:
            continue
        pairs: list[tuple[bytes, bytes]] = []
        times: list[int] = []
        bits: list[Sample] = []
        histograms: list[Read] = []
        exemplars = 0
        for inner, inner_kind, value in read_fields(content):  # type: ignore[arg-type]
            if inner <= 4:
                want(inner_kind, 2)
            if inner == 1:
                pairs.append(slow_label(value))  # type: ignore[arg-type]
            elif inner == 2:
                time_ms, raw = slow_sample(value)  # type: ignore[arg-type]
                times.append(time_ms)
                bits.append(raw)
            elif inner == 3:
                exemplars += slow_exemplar(value)  # type: ignore[arg-type]
            elif inner == 4:
                histograms.append(slow_histogram(value, knows_start=False))  # type: ignore[arg-type]
        labels = slow_labels(pairs)
        if labels is None:
            refused += len(times) + len(histograms)
            continue
        refused += sum(bool(one.problem) for one in histograms)
        for one in histograms:
            if not one.problem:
                times.append(one.time_ms)
                bits.append(STALE if one.histogram is None else one.histogram)
        if times or exemplars:
            found.append((labels, times, bits))
    return found, refused


def slow_label(content: bytes) -> tuple[bytes, bytes]:
    texts = {1: b"", 2: b""}
    for number, kind, value in read_fields(content):
        if number in texts:
            want(kind, 2)
            texts[number] = value  # type: ignore[assignment]
    return texts[1], texts[2]


def slow_exemplar(content: bytes) -> bool:
    """Whether the labels of an exemplar are sound."""
    pairs = []
    for number, kind, value in read_fields(content):
        if number <= 3:
            want(kind, (2, 1, 0)[number - 1])
        if number == 1:
            pairs.append(slow_label(value))  # type: ignore[arg-type]
    return slow_texts(pairs) is not None


def slow_sample(content: bytes) -> tuple[int, bytes]:
    time_ms, raw = 0, bytes(8)
    for number, kind, value in read_fields(content):
        if number == 1:
            want(kind, 1)
            raw = value  # type: ignore[assignment]
        elif number == 2:
            want(kind, 0)
            time_ms = value  # type: ignore[assignment]
    return time_ms - 2**64 if time_ms >= 2**63 else time_ms, raw


def slow_metadata(content: bytes) -> None:
    for number, kind, _ in read_fields(content):
        if number == 1:
            want(kind, 0)
        elif number in (2, 4, 5):
            want(kind, 2)


def slow_texts(pairs: list[tuple[bytes, bytes]]) -> list[tuple[str, str]] | None:
    """The labels as texts; None where one has no name, stands twice or is not UTF-8."""
    try:
        texts = [(name.decode(), value.decode()) for name, value in pairs]
    except UnicodeDecodeError:
        return None
    names = [name for name, _ in texts]
    return None if "" in names or len(names) != len(set(names)) else texts


def slow_labels(pairs: list[tuple[bytes, bytes]]) -> Labels | None:
    texts = slow_texts(pairs)
    return Labels(texts) if texts and dict(texts).get("__name__") else None


def agrees(message: bytes, known: Known | None = None) -> WriteRequest | None:
    """The product and the slow reader say the same of *message*; what, unless it is malformed."""
    try:
        expected, refused = slow_rows(message)
    except Broken:
        with pytest.raises(Malformed):
            parsed(message, known)
        return None
    request = parsed(message, known)
    assert repr(rows(request)) == repr(expected)
    assert sum(request.refused.values()) == refused
    assert bool(refused) == bool(request.refusals)
    return request
