"""Native histograms one by one in plain Python: the independent twin of the columns.

Written from the rules of model/histogram and promql/quantile.go of Prometheus 3.14; shares only
the data class with the product.
"""

import math
from dataclasses import dataclass

from series.histogram import OFFSET, Histogram


@dataclass(frozen=True)
class Bucket:
    """``closed``: whether the lower and the upper bound belong to it."""

    lower: float
    upper: float
    count: float
    closed: tuple[bool, bool]
    is_zero: bool = False


_SQRT = math.nextafter(math.sqrt(2.0), 0.0)


def _fraction(index: int, schema: int) -> float:
    """The bound's mantissa: a product of roots of two, the square root cut off."""
    value, root = 0.5, _SQRT
    for bit in range(schema - 1, -1, -1):
        if index >> bit & 1:
            value *= root
        root = math.sqrt(math.sqrt(2.0)) if root == _SQRT else math.sqrt(root)
    return value


def exponential_bound(index: int, schema: int) -> float:
    """The upper bound of exponential bucket *index*."""
    if schema < 0:
        exponent, fraction = index * 2**-schema + 1, 0.5
    else:
        exponent, part = divmod(index, 2**schema)
        exponent, fraction = exponent + 1, _fraction(part, schema)
    if fraction == 0.5 and exponent == 1025:
        return 1.7976931348623157e308
    try:
        return math.ldexp(fraction, exponent)
    except OverflowError:
        return math.inf


def plain_bucket(h: Histogram, position: int, count: float) -> Bucket:
    """The bucket at *position* as its schema has it."""
    index = abs(position) - OFFSET
    if h.is_custom:
        bounds = (-math.inf, *h.bounds, math.inf)
        return Bucket(bounds[index], bounds[index + 1], count, (index == 0, True))
    lower, upper = exponential_bound(index - 1, h.schema), exponential_bound(index, h.schema)
    if position < 0:
        lower, upper = -upper, -lower
    return Bucket(lower, upper, count, (lower < 0, upper > 0))


def all_buckets(h: Histogram) -> list[Bucket]:
    """All buckets in ascending order, those that the zero bucket cuts shortened."""
    threshold = h.zero_threshold
    negative: list[Bucket] = []
    positive: list[Bucket] = []
    for position, count in h.buckets:
        b = plain_bucket(h, position, count)
        lower, upper = b.lower, b.upper
        if -threshold < upper < 0:
            upper = -threshold
        elif 0 < lower < threshold:
            lower = threshold
        (negative if position < 0 else positive).append(Bucket(lower, upper, count, b.closed))
    zero = Bucket(-threshold, threshold, h.zero_count, (True, True), True)
    return [*negative, *([zero] if h.zero_count > 0 else []), *positive]


# --- functions -------------------------------------------------------------------------------


def _one_sided(h: Histogram, lower: float, upper: float) -> tuple[float, float]:
    """The zero bucket's bounds where all other buckets lie on one side of it."""
    signs = {position > 0 for position, _ in h.buckets}
    return (0.0 if signs == {True} else lower), (0.0 if signs == {False} else upper)


def _share(b: Bucket, bound: float, linear: bool) -> float:
    """How far *bound* lies into the bucket, from 0 to 1."""
    if linear:
        return (bound - b.lower) / (b.upper - b.lower)
    low, high = math.log2(abs(b.lower)), math.log2(abs(b.upper))
    return abs((math.log2(abs(bound)) - low) / (high - low))


def quantile(h: Histogram, q: float) -> tuple[float, str]:
    """The quantile, and '', 'nan' or 'skewed' where there are NaN observations."""
    if q < 0 or q > 1:
        return math.copysign(math.inf, q), ""
    if h.count == 0 or math.isnan(q):
        return math.nan, ""
    forward = math.isnan(h.sum) or q < 0.5
    walked = all_buckets(h) if forward else all_buckets(h)[::-1]
    rank = (q if forward else 1 - q) * h.count
    seen, visited, b = 0.0, 0, Bucket(0.0, 0.0, 0.0, (False, False))
    for b in walked:
        seen += b.count
        visited += 1
        if b.count and seen >= rank:
            break
    lower, upper = b.lower, b.upper
    if h.is_custom and math.isinf(lower):
        if upper <= 0:
            return upper, ""
        lower = 0.0
    elif h.is_custom and math.isinf(upper):
        return lower, ""
    elif not h.is_custom and lower < 0 < upper:
        lower, upper = _one_sided(h, lower, upper)
    all_seen = sum((b.count for b in walked[visited:]), seen)
    seen = min(seen, h.count)
    if seen < rank:
        return (math.nan, "nan") if math.isnan(h.sum) else (upper, "")
    said = "skewed" if math.isnan(h.sum) and all_seen < h.count else ""
    into = rank - (seen - b.count) if forward else seen - rank
    if b.count == 0:
        return math.nan, said
    share = into / b.count
    if h.is_custom or lower <= 0 <= upper:
        return lower + (upper - lower) * share, said
    return lower * (upper / lower) ** share, said


def fraction(h: Histogram, lowest: float, highest: float) -> tuple[float, bool]:
    """The share of observations, and whether NaN ones are told to be left out."""
    if h.count == 0 or math.isnan(lowest) or math.isnan(highest):
        return math.nan, False
    if lowest >= highest:
        return 0.0, False
    buckets = all_buckets(h)
    total = sum((b.count for b in buckets), 0.0) if math.isnan(h.sum) else h.count

    def below(bound: float) -> float:
        rank = 0.0
        for b in buckets:
            zero = b.lower <= 0 <= b.upper
            lower, upper = _one_sided(h, b.lower, b.upper) if zero else (b.lower, b.upper)
            if bound <= lower:
                return min(rank, total)
            if bound < upper:
                if math.isinf(lower):
                    return min(b.count, total)
                cut = Bucket(lower, upper, b.count, b.closed)
                return min(rank + b.count * _share(cut, bound, h.is_custom or zero), total)
            rank += b.count
        return total

    said = math.isnan(h.sum) and total < h.count
    return (below(highest) - below(lowest)) / h.count, said


def variance(h: Histogram) -> float:
    """The variance, every bucket's observations taken as one value."""
    if h.count == 0:
        return math.nan
    mean, squares = h.sum / h.count, []
    for b in all_buckets(h):
        if b.count:
            if h.is_custom:
                value = (b.lower + b.upper) / 2
            elif b.lower <= 0 <= b.upper:
                value = 0.0
            else:
                value = math.copysign(math.sqrt(b.lower * b.upper), b.upper)
            squares.append(b.count * ((value - mean) * (value - mean)))
    if not math.isfinite(sum(squares)):
        return sum(squares) / h.count
    return math.fsum(squares) / h.count


# --- trimming --------------------------------------------------------------------------------


def trim(h: Histogram, bound: float, *, below: bool) -> Histogram:
    """What of *h* lies below *bound*, else above it."""
    kept: dict[int, float] = {}
    sums: list[float] = []
    for position, count in h.buckets:
        if count:
            b = plain_bucket(h, position, count)
            kept[position], middle = _trimmed_bucket(h, b, bound, below)
            sums.append(kept[position] * middle)
    zero = h.zero_count
    if zero > 0:
        zero, middle = _trimmed_zero(h, bound, below)
        sums.append(zero * middle)
    if zero == h.zero_count and all(kept.get(at, 0.0) == n for at, n in h.buckets):
        return h
    return Histogram(
        h.schema,
        sum(kept.values()) + max(zero, 0.0),
        sum(sums),
        h.zero_threshold,
        zero,
        tuple((at, kept[at]) for at in sorted(kept) if kept[at] != 0),
        h.bounds,
        h.hint,
    )


def _middle(lower: float, upper: float, linear: bool) -> float:
    if math.isinf(lower) and math.isinf(upper):
        return 0.0
    if math.isinf(lower):
        return upper / 2 if upper > 0 else upper
    if math.isinf(upper):
        return lower
    if linear:
        return (lower + upper) / 2
    return math.copysign(math.sqrt(abs(lower * upper)), lower + upper)


def _trimmed_bucket(h: Histogram, b: Bucket, bound: float, below: bool) -> tuple[float, float]:
    """The count that is kept, and what stands for those observations."""
    if (b.upper <= bound) if below else (b.lower >= bound):
        return b.count, _middle(b.lower, b.upper, h.is_custom)
    if not ((b.lower < bound) if below else (b.upper > bound)):
        return 0.0, 0.0
    if math.isinf(b.lower):
        return _trimmed_first(b, bound, below)
    if math.isinf(b.upper):
        return (0.0, 0.0) if below else (b.count, bound)
    under = b.count * _share(b, bound, h.is_custom)
    if below:
        return under, _middle(b.lower, bound, h.is_custom)
    return b.count - under, _middle(bound, b.upper, h.is_custom)


def _trimmed_first(b: Bucket, bound: float, below: bool) -> tuple[float, float]:
    """Of a custom bucket without a lower bound; it begins at 0 where its upper bound allows."""
    if below:
        if bound > 0 and 0 < b.upper < math.inf:
            return b.count * bound / b.upper, bound / 2
        return (b.count, bound) if b.upper <= 0 else (0.0, 0.0)
    if 0 <= bound < b.upper < math.inf:
        return b.count * (1 - bound / b.upper), (bound + b.upper) / 2
    return 0.0, 0.0


def _trimmed_zero(h: Histogram, bound: float, below: bool) -> tuple[float, float]:
    signs = {position > 0 for position, count in h.buckets if count}
    lower = 0.0 if signs == {True} else -h.zero_threshold
    upper = 0.0 if signs == {False} else h.zero_threshold
    if bound <= lower or bound >= upper:
        whole = (bound > lower) if below else (bound <= lower)
        return (h.zero_count, (lower + upper) / 2) if whole else (0.0, 0.0)
    width = upper - lower or math.nan  # only where the bound is NaN itself
    if below:
        return h.zero_count * ((bound - lower) / width), (lower + bound) / 2
    return h.zero_count * ((upper - bound) / width), (bound + upper) / 2
