"""A native histogram as text, as Prometheus' ``FloatHistogram.String`` writes it."""

import math
from collections.abc import Iterator
from functools import lru_cache

from promql.go_text import format_g
from promql.histogram_helpers import FRACTIONS, MAX_FLOAT
from series.histogram import OFFSET, Histogram


def histogram_text(histogram: Histogram) -> str:
    """``{count:3, sum:2, [-1,-0.5):1, [-0.001,0.001]:1, (0.5,1]:1}``, without empty buckets."""
    parts = [f"count:{format_g(histogram.count)}", f"sum:{format_g(histogram.sum)}"]
    return f"{{{', '.join([*parts, *_bucket_texts(histogram)])}}}"


def _bucket_texts(histogram: Histogram) -> Iterator[str]:
    zero = f"[{format_g(-histogram.zero_threshold)},{format_g(histogram.zero_threshold)}]"
    zeros = [f"{zero}:{format_g(histogram.zero_count)}"] if histogram.zero_count else []
    for position, count in histogram.buckets:
        if position > 0:
            yield from zeros
            zeros = []
        if count:
            yield f"{_range_text(histogram, position)}:{format_g(count)}"
    yield from zeros


def _range_text(histogram: Histogram, position: int) -> str:
    index = abs(position) - OFFSET
    if histogram.is_custom:
        lower = histogram.bounds[index - 1] if index > 0 else -math.inf
        upper = histogram.bounds[index] if index < len(histogram.bounds) else math.inf
        return f"{'(' if index else '['}{format_g(lower)},{format_g(upper)}]"
    return _exponential_text(position, histogram.schema)


@lru_cache(4096)
def _exponential_text(position: int, schema: int) -> str:
    index = abs(position) - OFFSET
    inner, outer = _bound(index - 1, schema), _bound(index, schema)
    if position < 0:
        return f"[{format_g(-outer)},{format_g(-inner)})"
    return f"({format_g(inner)},{format_g(outer)}]"


def _bound(index: int, schema: int) -> float:
    """The upper bound of an exponential bucket."""
    if schema < 0:
        fraction, exponent = 0.5, (index << -schema) + 1
    else:
        fraction = float(FRACTIONS[(index & ((1 << schema) - 1)) << (8 - schema)])
        exponent = (index >> schema) + 1
    if exponent > 1024:
        return MAX_FLOAT if fraction == 0.5 and exponent == 1025 else math.inf
    return math.ldexp(fraction, exponent)
