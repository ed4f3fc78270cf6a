"""Exposition pages: Prometheus text 0.0.4 and OpenMetrics 1.0 become SeriesBatches.

``decode`` reads a whole page, all or nothing, as a scrape wants it. A ``TextDecoder`` reads block
after block and keeps what is sound, as an import wants it. The protobuf format lies in
``exposition_protobuf``; ``decode`` chooses by content type.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import Labels
from wire import exposition_helpers as helpers
from wire import exposition_kernels as kernels
from wire import exposition_lines as lines
from wire import exposition_protobuf
from wire.errors import Malformed
from wire.exposition_exemplars import Found, read_plain
from wire.exposition_kernels import OTHER_TYPE
from wire.exposition_page import (
    MALFORMED_LINE,
    MAX_SHOWN_REFUSALS,
    Scraped,
    normal_nans,
    single_samples,
)

_AFTER_EOF = "unexpected data after # EOF"
_TAIL = np.frombuffer(kernels.TAIL, dtype=np.uint8)

Numbers = NDArray[np.int64]


class Format(Enum):
    """The formats of a page."""

    TEXT = "PrometheusText0.0.4"
    OPENMETRICS = "OpenMetricsText1.0.0"
    PROTOBUF = "PrometheusProto"


def format_of(content_type: str) -> Format | None:
    """The format that a ``Content-Type`` header names, or None where it names none of them."""
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media_type == "application/openmetrics-text":
        return Format.OPENMETRICS
    if media_type == "text/plain":
        return Format.TEXT
    named = "proto=io.prometheus.client.metricfamily"
    if media_type == "application/vnd.google.protobuf" and named in parameters:
        return Format.PROTOBUF
    return None


def decode(
    body: bytes,
    content_type: str,
    now_ms: int,
    *,
    native: bool = True,
    always_classic: bool = True,
) -> Scraped:
    """The page *body*; samples without a time of their own get *now_ms*.

    A content type that ``format_of`` does not know is read as text 0.0.4. *native* and
    *always_classic*, see ``exposition_protobuf.decode``, concern protobuf only. Raises Malformed,
    which names the line and the reason in Prometheus' words, where anything cannot be read.
    """
    chosen = format_of(content_type)
    if chosen is Format.PROTOBUF:
        return exposition_protobuf.decode(
            body, now_ms, native=native, always_classic=always_classic
        )
    decoder = TextDecoder(chosen is Format.OPENMETRICS, now_ms, strict=True)
    page = decoder.feed(body)
    decoder.finish()
    return page


class TextDecoder:
    """Reads a page in blocks of whole lines; lines are counted through all of them."""

    def __init__(self, openmetrics: bool, now_ms: int, *, strict: bool = False) -> None:
        """With *strict* the first bad line raises Malformed, else it is counted and named."""
        self._openmetrics = openmetrics
        self._now_ms = now_ms
        self._strict = strict
        self._kind = OTHER_TYPE
        self._lines_before = 0
        self._ended = False

    def feed(self, block: bytes) -> Scraped:
        """Decodes *block*, which ends with a line; only the last block may lack its newline."""
        page = np.empty(len(block) + len(_TAIL), dtype=np.uint8)
        page[: len(block)] = np.frombuffer(block, dtype=np.uint8)
        page[len(block) :] = _TAIL
        newlines = int(np.count_nonzero(page == 10))
        room = newlines + 1
        keys = np.empty(4 * len(block) + 32, dtype=np.uint8)
        rows = np.empty((room, 7), dtype=np.int64)
        shapes = np.empty(room, dtype=np.uint8)
        kinds = np.empty(room, dtype=np.uint8)
        values = np.empty(room)
        times_ms = np.empty(room, dtype=np.int64)
        comments = np.empty((room, 2), dtype=np.int64)
        exemplar_spans = np.empty((room, 3), dtype=np.int64)
        count, timed, described, used, self._kind, exemplars = kernels.scan(
            page, len(block), self._openmetrics, self._kind,
            keys, rows, shapes, kinds, values, times_ms, comments, exemplar_spans,
        )  # fmt: skip
        scan = _Scan(
            keys[:used], rows[:count], shapes[:count], kinds[:count], values[:count],
            times_ms[:timed],
        )  # fmt: skip
        scraped = Scraped(*single_samples((), (), (), self._now_ms))
        if self._ended and block:
            self._bad(scraped, block, 0, _AFTER_EOF)
        self._read_comments(scraped, block, comments[:described])
        self._read_long_numbers(scan, block)
        for row, start, end in exemplar_spans[:exemplars].tolist():
            if (exemplar := read_plain(block[start:end])) is not None:
                scan.exemplars.add(row, exemplar)
            else:
                scan.shapes[row] = helpers.CAREFUL
        self._read_carefully(scraped, scan, block)
        scraped.batch, scraped.explicit = scan.batch(self._now_ms)
        self._lines_before += newlines
        return scraped

    def finish(self) -> None:
        """Raises Malformed where the page stops before its end (OpenMetrics: ``# EOF``)."""
        if self._openmetrics and not self._ended:
            raise Malformed("data does not end with # EOF")

    def _bad(self, scraped: Scraped, block: bytes, start: int, reason: str) -> None:
        # Lines are only counted for the refusals that are shown.
        shown = len(scraped.refusals) < MAX_SHOWN_REFUSALS
        number = self._lines_before + block.count(b"\n", 0, start) + 1 if shown else 0
        if self._strict:
            raise Malformed(f"line {number}: {reason}")
        scraped.refuse(MALFORMED_LINE, f"line {number}: {reason}", Labels(), 0)

    def _read_comments(self, scraped: Scraped, block: bytes, comments: Numbers) -> None:
        for start, end in comments.tolist():
            try:
                told = lines.read_comment(block[start:end], self._openmetrics)
            except Malformed as error:
                self._bad(scraped, block, start, str(error))
                continue
            if told is None:
                continue
            if told[0] == "eof":
                self._ended = True
                if end + 1 < len(block):
                    self._bad(scraped, block, end + 1, _AFTER_EOF)
            else:
                lines.describe(scraped.metadata, *told)

    @staticmethod
    def _read_long_numbers(scan: "_Scan", block: bytes) -> None:
        """Values whose digits need more care; those beyond float64 are left to be refused."""
        for row in np.flatnonzero(scan.shapes == helpers.LONG_NUMBER).tolist():
            value = float(block[scan.rows[row, 4] : scan.rows[row, 5]])
            scan.values[row] = value
            scan.shapes[row] = helpers.CAREFUL if np.isinf(value) else helpers.PLAIN

    def _read_carefully(self, scraped: Scraped, scan: "_Scan", block: bytes) -> None:
        """Reads the lines that the kernel left."""
        for row in np.flatnonzero(scan.shapes == helpers.CAREFUL).tolist():
            start, end = scan.rows[row, :2].tolist()
            try:
                sample = lines.read_sample(
                    block[start:end], self._openmetrics, int(scan.kinds[row])
                )
            except Malformed as error:
                self._bad(scraped, block, start, str(error))
                continue
            scan.put(row, sample)


@dataclass(slots=True)
class _Scan:
    """The columns that ``kernels.scan`` filled, and what was read with care besides."""

    keys: NDArray[np.uint8]
    rows: Numbers
    shapes: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    values: NDArray[np.float64]
    times_ms: Numbers
    more_keys: list[bytes] = field(default_factory=list)
    more_times_ms: list[int] = field(default_factory=list)
    more_bytes: int = 0
    exemplars: Found = field(default_factory=Found)

    def put(self, row: int, sample: lines.Sample) -> None:
        """Fills *row* from a line that was read with care."""
        key = sample.labels.key
        start = len(self.keys) + self.more_bytes
        self.rows[row, 2:4] = start, start + len(key)
        self.more_keys.append(key)
        self.more_bytes += len(key)
        self.values[row] = sample.value
        self.shapes[row] = helpers.PLAIN
        if sample.time_ms is not None:
            self.rows[row, 6] = len(self.times_ms) + len(self.more_times_ms)
            self.more_times_ms.append(sample.time_ms)
        if sample.exemplar is not None:
            self.exemplars.add(row, sample.exemplar)

    def batch(self, now_ms: int) -> tuple[SeriesBatch, NDArray[np.bool_]]:
        """The batch of the rows that were read, and which of them name their time."""
        good = self.shapes == helpers.PLAIN
        rows, values = self.rows, self.values
        if not good.all():
            rows, values = rows[good], values[good]
            self.exemplars.renumber(good)
        keys, times_ms = self.keys, self.times_ms
        if self.more_keys:
            more = np.frombuffer(b"".join(self.more_keys), dtype=np.uint8)
            keys = np.concatenate([keys, more])
        more_times = np.array(self.more_times_ms, dtype=np.int64)
        # The shared time comes first, so -1 + 1 finds it.
        times_ms = np.concatenate([np.array([now_ms], dtype=np.int64), times_ms, more_times])
        batch = SeriesBatch(
            values=normal_nans(values),
            times_ms=times_ms,
            offsets=np.arange(len(values) + 1, dtype=np.int64),
            time_starts=rows[:, 6] + 1,
            keys=keys,
            key_starts=np.ascontiguousarray(rows[:, 2]),
            key_ends=np.ascontiguousarray(rows[:, 3]),
        )
        return replace(batch, exemplars=self.exemplars.columns(batch)), rows[:, 6] >= 0
