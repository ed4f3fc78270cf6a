"""WriteRequest: what both remote writes decode to, and how they refuse a series.

What cannot be stored is refused series by series and named; the rest of the request is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import METRIC_NAME, Labels
from series.metadata import Metadata
from series.ports import Refusal
from wire.errors import Malformed

MAX_DECODED_BYTES = 32 << 20
MAX_SERIES = 500_000
MAX_HISTOGRAMS = 500_000
"""Native histograms of one request: each takes a hundred bytes, however short its message."""
MAX_IRREGULAR = 100_000
"""Series whose labels have to be put in order, and metadata messages: each costs microseconds."""
MAX_SHOWN_REFUSALS = 10

MAX_REREAD_BYTES = 64 << 20
MAX_REREAD_LABELS = 500_000
"""What all series to put in order may have together; a label costs some 10 microseconds."""
MAX_LABELS = 1000
"""What one of them may have."""

Numbers = NDArray[np.int64]
Pairs = list[tuple[bytes, bytes]]
"""The labels of a series as sent."""

METRIC_TYPES = (
    "unknown",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
)


@dataclass(slots=True)
class WriteRequest:
    """One decoded request.

    - ``batch``: the series that can be stored, in the order sent; keys are canonical, a series may
      occur twice, rows without a sample bring exemplars.
    - ``metadata``: by metric family name, the last of several.
    - ``refused``: samples that cannot be stored, counted by reason; ``refusals`` shows the first.
    - ``skipped``: what is not kept and no error, counted by kind.
    """

    batch: SeriesBatch
    metadata: dict[str, Metadata] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str, detail: str, labels: Labels, samples: int, time_ms: int) -> None:
        """Counts *samples* of one series as refused; samples may be 0, then nothing is lost."""
        if samples == 0:
            return
        self.refused[reason] = self.refused.get(reason, 0) + samples
        if len(self.refusals) < MAX_SHOWN_REFUSALS:
            self.refusals.append(Refusal(reason, detail, labels, time_ms))

    def skip(self, kind: str, count: int) -> None:
        """Counts what is not kept and no error; *count* may be 0."""
        if count:
            self.skipped[kind] = self.skipped.get(kind, 0) + count


def reread_labels(
    request: WriteRequest,
    rows: Sequence[int],
    pairs_of: Callable[[int], Pairs],
    histograms: Numbers,
    named: NDArray[np.bool_],
) -> None:
    """Puts the labels of the given *rows* in order, in an arena behind the batch's keys.

    A row without valid labels is refused with its samples and *histograms* (int64[S]) and leaves
    *named* (bool[S]). Malformed where there is too much of it.
    """
    if len(rows) > MAX_IRREGULAR:
        raise Malformed(f"more than {MAX_IRREGULAR} series with labels missing or out of order")
    batch = request.batch
    key_starts, key_ends = batch.key_starts.copy(), batch.key_ends.copy()
    extra: list[bytes] = []
    end = len(batch.keys)
    read_bytes = read_labels = 0
    for row in rows:
        pairs = pairs_of(row)
        read_bytes += sum(len(name) + len(value) for name, value in pairs)
        read_labels += len(pairs)
        if read_bytes > MAX_REREAD_BYTES or read_labels > MAX_REREAD_LABELS:
            raise Malformed("too many labels of series with labels missing or out of order")
        problem = label_problem(pairs)
        if problem is not None:
            reason, detail = problem
            count = int(batch.offsets[row + 1] - batch.offsets[row] + histograms[row])
            shown = readable(pairs[:MAX_LABELS])
            request.refuse(reason, detail, shown, count, first_time(batch, row))
            named[row] = False
            continue
        key = Labels((name.decode(), value.decode()) for name, value in pairs).key
        extra.append(key)
        key_starts[row], key_ends[row] = end, end + len(key)
        end += len(key)
    if extra:
        arena = np.concatenate([batch.keys, np.frombuffer(b"".join(extra), dtype=np.uint8)])
        request.batch = replace(batch, keys=arena, key_starts=key_starts, key_ends=key_ends)


def label_problem(pairs: list[tuple[bytes, bytes]]) -> tuple[str, str] | None:
    """(reason, sentence) where the labels name no series."""
    if len(pairs) > MAX_LABELS:
        return "too-many-labels", f"a series has {len(pairs)} labels, the limit is {MAX_LABELS}"
    got = readable(pairs)
    names = [name for name, _ in pairs]
    try:
        for pair in pairs:
            for text in pair:
                text.decode()
    except UnicodeDecodeError:
        return "invalid-utf8", f"invalid metric name or labels, got {got}: invalid UTF-8"
    if b"" in names:
        return "empty-label-name", f"invalid metric name or labels, got {got}: empty label name"
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at]).decode()
        return (
            "duplicate-label",
            f"invalid labels for series, labels {got}, duplicated label {twice}",
        )
    if not dict(pairs).get(METRIC_NAME.encode()):
        return "missing-metric-name", f"invalid metric name or labels, got {got}: no metric name"
    return None


def readable(pairs: list[tuple[bytes, bytes]]) -> Labels:
    """The labels as far as they can be shown; of equal names the first."""
    shown: dict[str, str] = {}
    for name, value in pairs:
        shown.setdefault(name.decode(errors="replace"), value.decode(errors="replace"))
    return Labels.of(shown)


def check_histogram_count(count: int) -> None:
    """Malformed where a request brings more than MAX_HISTOGRAMS."""
    if count > MAX_HISTOGRAMS:
        raise Malformed(f"more than {MAX_HISTOGRAMS} native histograms in one request")


def first_time(batch: SeriesBatch, row: int) -> int:
    times_ms = batch.row_times_ms(row)
    return int(times_ms[0]) if len(times_ms) else 0
