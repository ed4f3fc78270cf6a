"""Native histograms of a request: decoded together, refused one by one in Prometheus' words."""

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from series.histogram import CUSTOM_SCHEMA, MAX_SCHEMA, MIN_SCHEMA, Histograms
from wire import histogram_kernels as kernels
from wire import histogram_message_helpers as messages
from wire.errors import Malformed
from wire.protobuf import STATUS_TEXTS
from wire.protobuf_helpers import OK

INVALID_HISTOGRAM = "invalid-native-histogram"
"""The reason of a refused histogram."""

Numbers = NDArray[np.int64]


def _roles(numbers: dict[int, int]) -> Numbers:
    """The table of roles int64[n] where field n has role ``numbers[n]``."""
    table = np.zeros(max(numbers) + 1, dtype=np.int64)
    table[list(numbers)] = list(numbers.values())
    return table


REMOTE_WRITE_2 = _roles(
    {
        1: messages.COUNT_INT,
        2: messages.COUNT_FLOAT,
        3: messages.SUM,
        4: messages.SCHEMA,
        5: messages.ZERO_THRESHOLD,
        6: messages.ZERO_COUNT_INT,
        7: messages.ZERO_COUNT_FLOAT,
        8: messages.NEGATIVE_SPANS,
        9: messages.NEGATIVE_DELTAS,
        10: messages.NEGATIVE_COUNTS,
        11: messages.POSITIVE_SPANS,
        12: messages.POSITIVE_DELTAS,
        13: messages.POSITIVE_COUNTS,
        14: messages.HINT,
        15: messages.TIME,
        16: messages.BOUNDS,
        17: messages.START,
    }
)
"""The fields of io.prometheus.write.v2.Histogram."""
REMOTE_WRITE_1 = REMOTE_WRITE_2[:17].copy()
"""The fields of prometheus.Histogram, which knows no start."""
EXPOSITION = _roles(
    {
        1: messages.COUNT_INT,
        2: messages.SUM,
        4: messages.COUNT_FLOAT,
        5: messages.SCHEMA,
        6: messages.ZERO_THRESHOLD,
        7: messages.ZERO_COUNT_INT,
        8: messages.ZERO_COUNT_FLOAT,
        9: messages.NEGATIVE_SPANS,
        10: messages.NEGATIVE_DELTAS,
        11: messages.NEGATIVE_COUNTS,
        12: messages.POSITIVE_SPANS,
        13: messages.POSITIVE_DELTAS,
        14: messages.POSITIVE_COUNTS,
    }
)
"""The fields of io.prometheus.client.Histogram that make it a native one."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """H histograms as they came.

    - ``ids``: int64[H], which of ``histograms`` each is; -1 where it is an end or refused.
    - ``refused``: bool[H]; neither kept nor refused is one that only marks an end.
    - ``times_ms``, ``starts_ms``: int64[H].
    """

    histograms: Histograms
    ids: Numbers
    refused: NDArray[np.bool_]
    times_ms: Numbers
    starts_ms: Numbers
    verdicts: NDArray[np.uint8]
    details: Numbers

    def problem(self, at: int) -> str:
        """Why histogram *at* is refused."""
        verdict = int(self.verdicts[at])
        side, first, second = self.details[at].tolist()
        first_float, second_float = self.details[at, 1:].view(np.float64).tolist()
        shown: tuple[object, object] = first, second
        if verdict in (kernels.ZERO_COUNT, kernels.OBSERVATION_COUNT):
            shown = _go(first_float), second
        elif verdict == kernels.FLOAT_BUCKET_COUNT:
            shown = first, _go(second_float)
        elif verdict == kernels.BOUND_ORDER:
            shown = _go_fixed(first_float), _go_fixed(second_float)
        elif verdict in (kernels.TOTAL, kernels.TOTAL_WITH_NAN):
            shown = first % 2**64, second % 2**64
        return _TEXTS[verdict].format(_SIDES[side], *shown)


_SIDES = {
    messages.NEGATIVE: "negative side",
    messages.POSITIVE: "positive side",
    messages.CUSTOM: "custom buckets",
}
_BUCKET_COUNT = (
    "{0}: bucket number {1} has observation count of {2}: "
    "histogram has a bucket whose observation count is negative"
)
INDEX_RANGE = "a bucket has index {1}, which no observation falls into"
_FOUND = "{1} observations found in buckets, but the Count field is {2}: histogram's observation"
COUNT_MISMATCH = (
    f"{_FOUND} count should equal the number of observations found in the buckets"
    " (in absence of NaN)"
)
COUNT_TOO_SMALL = (
    f"{_FOUND} count should be at least the number of observations found in the buckets"
)
_TEXTS = {
    kernels.BAD_SCHEMA: (
        f"histogram has an invalid schema, which must be between {MIN_SCHEMA} and {MAX_SCHEMA} for"
        f" exponential buckets, or {CUSTOM_SCHEMA} for custom buckets, got schema {{1}}"
    ),
    kernels.SPAN_OFFSET: (
        "{0}: span number {1} with offset {2}: histogram has a span whose offset is negative"
    ),
    kernels.SPAN_LENGTHS: (
        "{0}: spans need {1} buckets, have {2} buckets: "
        "histogram spans specify different number of buckets than provided"
    ),
    kernels.BUCKET_COUNT: _BUCKET_COUNT,
    kernels.FLOAT_BUCKET_COUNT: _BUCKET_COUNT,
    kernels.TOTAL: COUNT_MISMATCH,
    kernels.TOTAL_WITH_NAN: COUNT_TOO_SMALL,
    kernels.BOUND_NAN: "{0}: histogram custom bounds must not be NaN",
    kernels.BOUND_ORDER: (
        "{0}: previous bound is {1} and current is {2}: "
        "histogram custom bounds must be in strictly increasing order"
    ),
    kernels.BOUND_INFINITE: (
        "{0}: last +Inf bound must not be explicitly defined: "
        "histogram custom bounds must be finite"
    ),
    kernels.BOUNDS_FEW: (
        "{0}: only {1} custom bounds defined which is insufficient to cover total span length of"
        " {2}: histogram custom bounds are too few"
    ),
    kernels.CUSTOM_ZERO_COUNT: "custom buckets: must have zero count of 0",
    kernels.CUSTOM_ZERO_THRESHOLD: "custom buckets: must have zero threshold of 0",
    kernels.CUSTOM_NEGATIVE_SPANS: "custom buckets: must not have negative spans",
    kernels.CUSTOM_NEGATIVE_BUCKETS: "custom buckets: must not have negative buckets",
    kernels.BOUNDS_UNWANTED: "histogram with exponential schema must not have custom bounds",
    kernels.ZERO_COUNT: (
        "zero bucket has observation count of {1}: "
        "histogram has a bucket whose observation count is negative"
    ),
    kernels.OBSERVATION_COUNT: (
        "observation count is  {1}: histogram's observation count is negative"
    ),
    kernels.INDEX_RANGE: f"{{0}}: {INDEX_RANGE}",
}
"""What is said of each verdict; {0} is the side, {1} and {2} its details."""


def decode(
    message: NDArray[np.uint8], spans: Numbers, roles: Numbers, *, by_value: bool = False
) -> Decoded:
    """Decodes the Histogram messages ``message[spans[h, 0] : spans[h, 1]]``; raises Malformed.

    *roles* is one of the tables above; *by_value* see ``kernels.decode``.
    """
    count = len(spans)
    lengths = spans[:, 1] - spans[:, 0]
    total, longest = int(lengths.sum()), int(lengths.max(initial=0))
    schemas, hints = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.uint8)
    number_bits = np.empty((4, count), dtype=np.uint64)
    times_ms, starts_ms, ids = (np.empty(count, dtype=np.int64) for _ in range(3))
    verdicts, details = np.empty(count, dtype=np.uint8), np.zeros((count, 3), dtype=np.int64)
    offsets, bound_offsets = np.empty(count + 1, dtype=np.int64), np.empty(count + 1, np.int64)
    positions, bucket_counts = np.empty(total, dtype=np.int32), np.empty(total)
    bounds = np.empty(total // 8 + 1)
    status, position, kept, buckets, bounded = kernels.decode(
        message, np.ascontiguousarray(spans), roles, by_value, longest, schemas, hints,
        number_bits, times_ms, starts_ms, ids, verdicts, details, offsets, positions,
        bucket_counts, bound_offsets, bounds,
    )  # fmt: skip
    if status != OK:
        raise Malformed(
            f"proto: {STATUS_TEXTS[status]} in the histogram at byte {position} of {len(message)}"
        )
    counts, sums, zero_thresholds, zero_counts = number_bits.view(np.float64)
    histograms = Histograms(
        schemas[:kept], hints[:kept], counts[:kept], sums[:kept], zero_thresholds[:kept],
        zero_counts[:kept], offsets[: kept + 1], positions[:buckets], bucket_counts[:buckets],
        bound_offsets[: kept + 1], bounds[:bounded],
    )  # fmt: skip
    refused = verdicts > kernels.STALE
    return Decoded(histograms, ids, refused, times_ms, starts_ms, verdicts, details)


def _go(value: float) -> str:
    """*value* as Go's ``%v`` prints it."""
    if not abs(value) < 1e21:
        return repr(value)
    text = format(Decimal(repr(value)), "f") if abs(value) >= 1e-4 else repr(value)
    return text.removesuffix(".0")


def _go_fixed(value: float) -> str:
    """*value* as Go's ``%f`` prints it."""
    return f"{value:+}".title() if math.isinf(value) else f"{value:f}"
