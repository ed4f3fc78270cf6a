"""Since when a series counts, as an OpenMetrics page tells it by its ``_created`` series.

The specification gives each counter, histogram and summary such a series with the labels of the
metric. It stays a series like any other.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import METRIC_NAME, decode_key
from series.metadata import Metadata

_CREATED = "_created"
_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum", ""),
}
"""What the series of a metric family of a type put behind its name."""
_BOUNDS = frozenset({"le", "quantile"})
_MAX_SECONDS = 253_402_300_799

Numbers = NDArray[np.int64]
Metric = tuple[str, frozenset[tuple[str, str]]]


def created_rows(batch: SeriesBatch, metadata: Mapping[str, Metadata]) -> Numbers | None:
    """int64[S]: the row that tells when each series was created, or -1; None where none does."""
    keys = batch.keys.tobytes()
    if _CREATED.encode() not in keys:
        return None
    told: dict[Metric, int] = {}
    metrics: list[Metric | None] = []
    spans = zip(batch.key_starts.tolist(), batch.key_ends.tolist(), strict=True)
    for row, (start, end) in enumerate(spans):
        labels = dict(decode_key(keys[start:end]))
        name = labels.pop(METRIC_NAME)
        family = name.removesuffix(_CREATED)
        if family != name and _type(metadata, family) in _SUFFIXES:
            told[family, frozenset(labels.items())] = row
            metrics.append(None)
            continue
        pairs = frozenset(pair for pair in labels.items() if pair[0] not in _BOUNDS)
        found = _family(metadata, name)
        metrics.append((found, pairs) if found else None)
    if not told:
        return None
    rows = [told.get(metric, -1) if metric is not None else -1 for metric in metrics]
    return np.array(rows, dtype=np.int64)


def starts_ms(values: NDArray[np.float64], rows: Numbers) -> Numbers:
    """int64[S]: the times that ``values[rows]`` tell in seconds; 0 for what is no time."""
    seconds = np.where(rows >= 0, values[rows], 0.0)
    seconds[~(np.abs(seconds) < _MAX_SECONDS)] = 0.0
    return (seconds * 1000).astype(np.int64)


def _type(metadata: Mapping[str, Metadata], family: str) -> str:
    one = metadata.get(family)
    return one.type if one is not None else ""


def _family(metadata: Mapping[str, Metadata], name: str) -> str:
    """The metric family behind the *name* of a series that counts, or ''."""
    for kind, suffixes in _SUFFIXES.items():
        for suffix in suffixes:
            family = name.removesuffix(suffix)
            if name.endswith(suffix) and _type(metadata, family) == kind:
                return family
    return ""
