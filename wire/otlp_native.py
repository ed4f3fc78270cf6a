"""Data points of OTLP that become native histograms: exponential ones, and explicit ones on demand.

As Prometheus converts them (storage/remote/otlptranslator/prometheusremotewrite/histograms.go):
schemas beyond 8 are merged down, bucket *i* becomes *i* + 1, zero thresholds not told are 1e-128.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from series.histogram import Histograms
from wire import otlp_native_kernels as kernels
from wire.errors import Malformed
from wire.histograms import COUNT_MISMATCH, COUNT_TOO_SMALL, INDEX_RANGE, INVALID_HISTOGRAM
from wire.otlp_labels import RefusedError
from wire.protobuf import STATUS_TEXTS
from wire.protobuf_helpers import OK

_TEXTS = {
    kernels.BAD_SCALE: (
        "cannot convert exponential to native histogram. Scale must be >= -4, was {1}"
    ),
    kernels.INDEX_RANGE: INDEX_RANGE,
    kernels.TOTAL: COUNT_MISMATCH,
    kernels.TOTAL_WITH_NAN: COUNT_TOO_SMALL,
    kernels.BAD_BUCKETS: (
        "bucket counts and explicit bounds do not fit each other, or bounds do not rise"
    ),
}
_OTHERS = RefusedError(INVALID_HISTOGRAM, "invalid histograms")
MAX_SHOWN = 10

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Natives:
    """H points that are native histograms.

    - ``points``: int64[H], which of the request's they are, rising.
    - ``ids``: int64[H], which of ``histograms`` each is, -1 for an end or one that is refused.
    - ``refused``: bool[H].
    """

    points: Numbers
    histograms: Histograms
    ids: Numbers
    refused: NDArray[np.bool_]
    verdicts: Bytes
    details: Numbers

    def errors(self) -> list[RefusedError]:
        """Why each of the refused points is, in Prometheus' words; of many only the first."""
        found = np.flatnonzero(self.refused).tolist()
        shown = [self._error(at) for at in found[:MAX_SHOWN]]
        return shown + [_OTHERS] * (len(found) - len(shown))

    def _error(self, at: int) -> RefusedError:
        verdict = int(self.verdicts[at])
        first, second = self.details[at].tolist()
        if verdict in (kernels.TOTAL, kernels.TOTAL_WITH_NAN):
            first, second = first % 2**64, second % 2**64
        return RefusedError(INVALID_HISTOGRAM, _TEXTS[verdict].format("", first, second))


def read_natives(
    message: Bytes, points: Numbers, starts: Numbers, ends: Numbers, custom: NDArray[np.bool_]
) -> Natives:
    """Reads the *points* whose messages are [starts[h], ends[h]); raises Malformed.

    Where *custom* bool[H] says so, they are histograms with explicit buckets.
    """
    count, total = len(points), int((ends - starts).sum())
    schemas = np.empty(count, dtype=np.int32)
    numbers = np.empty((4, count + 1))
    ids, details = np.empty(count, dtype=np.int64), np.zeros((count, 2), dtype=np.int64)
    verdicts = np.empty(count, dtype=np.uint8)
    offsets, bound_offsets = np.empty(count + 1, np.int64), np.empty(count + 1, np.int64)
    positions, bucket_counts = np.empty(total + count, dtype=np.int32), np.empty(total + count)
    bounds = np.empty(total // 8 + 1)
    status, position, kept, buckets, bounded = kernels.read_native(
        message, starts, ends, custom, schemas, numbers, numbers.view(np.uint64), ids, verdicts,
        details, offsets, positions, bucket_counts, bound_offsets, bounds, bounds.view(np.uint64),
    )  # fmt: skip
    if status != OK:
        raise Malformed(f"proto: {STATUS_TEXTS[status]} at byte {position} of {len(message)}")
    counts, sums, zero_thresholds, zero_counts = numbers[:, :kept].copy()
    histograms = Histograms(
        schemas[:kept], np.zeros(kept, dtype=np.uint8), counts, sums, zero_thresholds, zero_counts,
        offsets[: kept + 1], positions[:buckets], bucket_counts[:buckets],
        bound_offsets[: kept + 1], bounds[:bounded],
    )  # fmt: skip
    return Natives(points, histograms, ids, verdicts > kernels.STALE, verdicts, details)
