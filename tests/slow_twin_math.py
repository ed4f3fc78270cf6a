"""The arithmetic of the slow twin: Go's float64 functions and folds over samples, one by one.

Written from the definitions in Prometheus' documentation and shared with no code of the engine.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import pairwise

NAN, INF = math.nan, math.inf
Samples = Sequence[tuple[int, float]]
"""(time in ms, value), times rising."""


def divide(a: float, b: float) -> float:
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return NAN
    return math.copysign(INF, a) * math.copysign(1.0, b)


def modulo(a: float, b: float) -> float:
    if b == 0 or math.isinf(a) or math.isnan(a) or math.isnan(b):
        return NAN
    return math.fmod(a, b)


def power(a: float, b: float) -> float:
    odd = abs(b) < 2**53 and b % 2 == 1
    try:
        return math.pow(a, b)
    except OverflowError:
        return -INF if a < 0 and odd else INF
    except ValueError:
        if a == 0:
            return math.copysign(INF, a) if odd else INF
        return NAN


def go_max(a: float, b: float) -> float:
    if INF in (a, b):
        return INF
    return NAN if math.isnan(a) or math.isnan(b) else max(a, b)


def go_min(a: float, b: float) -> float:
    if -INF in (a, b):
        return -INF
    return NAN if math.isnan(a) or math.isnan(b) else min(a, b)


def floor(x: float) -> float:
    return x if math.isinf(x) or math.isnan(x) else _signed(float(math.floor(x)), x)


def ceil(x: float) -> float:
    return x if math.isinf(x) or math.isnan(x) else _signed(float(math.ceil(x)), x)


def _signed(result: float, x: float) -> float:
    return math.copysign(result, x) if result == 0 else result


def round_to(x: float, nearest: float) -> float:
    inverse = divide(1.0, nearest)
    return divide(floor(x * inverse + 0.5), inverse)


def sign(x: float) -> float:
    return math.copysign(1.0, x) if x < 0 or x > 0 else x


def total(
    function: Callable[[float], float], overflow: Callable[[float], float]
) -> Callable[[float], float]:
    """*function* with NaN outside its domain and *overflow* where the result is too large."""

    def wrapped(x: float) -> float:
        try:
            return function(x)
        except ValueError:
            return NAN
        except OverflowError:
            return overflow(x)

    return wrapped


def logarithm(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: -INF if x == 0 else (NAN if x < 0 else function(x))


def _plus(_: float) -> float:
    return INF


def _same_sign(x: float) -> float:
    return math.copysign(INF, x)


UNARY: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "ceil": ceil,
    "floor": floor,
    "sgn": sign,
    "exp": total(math.exp, _plus),
    "sqrt": total(math.sqrt, _plus),
    "ln": logarithm(math.log),
    "log2": logarithm(math.log2),
    "log10": logarithm(math.log10),
    "sin": total(math.sin, _plus),
    "cos": total(math.cos, _plus),
    "tan": total(math.tan, _plus),
    "asin": total(math.asin, _plus),
    "acos": total(math.acos, _plus),
    "atan": math.atan,
    "sinh": total(math.sinh, _same_sign),
    "cosh": total(math.cosh, _plus),
    "tanh": math.tanh,
    "asinh": math.asinh,
    "acosh": total(math.acosh, _plus),
    "atanh": lambda x: math.copysign(INF, x) if abs(x) == 1 else total(math.atanh, _plus)(x),
    "deg": lambda x: x * 180 / math.pi,
    "rad": lambda x: x * math.pi / 180,
}


def add_to(sum_: float, lost: float, x: float) -> tuple[float, float]:
    """One step of a Kahan-Neumaier sum: the new sum and what rounding lost so far."""
    t = sum_ + x
    if math.isinf(t):
        return t, 0.0
    return t, lost + ((sum_ - t) + x if abs(sum_) >= abs(x) else (x - t) + sum_)


def kahan_sum(values: Iterable[float]) -> float:
    sum_ = lost = 0.0
    for value in values:
        sum_, lost = add_to(sum_, lost, value)
    return sum_ + lost


def average(values: Sequence[float]) -> float:
    """The sum over n; once the sum would overflow, a running mean instead."""
    sum_, lost, mean, running = values[0], 0.0, 0.0, False
    for n, value in enumerate(values[1:], 2):
        if not running:
            new_sum, new_lost = add_to(sum_, lost, value)
            if not math.isinf(new_sum):
                sum_, lost = new_sum, new_lost
                continue
            running, mean, lost = True, sum_ / (n - 1), lost / (n - 1)
        q = (n - 1) / n
        mean, lost = add_to(q * mean, q * lost, value / n)
    return mean + lost if running else sum_ / len(values) + lost / len(values)


def variance_of_group(values: Sequence[float]) -> float:
    """Welford's population variance; NaN where the first value is not finite."""
    squares, mean = (0.0 if math.isfinite(values[0]) else NAN), values[0]
    for n, value in enumerate(values[1:], 2):
        delta = value - mean
        mean += delta / n
        squares += delta * (value - mean)
    return squares / len(values)


def variance_over_time(values: Sequence[float]) -> float:
    mean = lost_mean = squares = lost_squares = 0.0
    for n, value in enumerate(values, 1):
        delta = value - (mean + lost_mean)
        mean, lost_mean = add_to(mean, lost_mean, delta / n)
        squares, lost_squares = add_to(squares, lost_squares, delta * (value - (mean + lost_mean)))
    return (squares + lost_squares) / len(values)


def quantile(phi: float, values: Iterable[float]) -> float:
    ordered = sorted(values, key=lambda x: -INF if math.isnan(x) else x)
    ordered.sort(key=lambda x: not math.isnan(x))
    if not ordered or math.isnan(phi):
        return NAN
    if not 0 <= phi <= 1:
        return -INF if phi < 0 else INF
    rank = phi * (len(ordered) - 1)
    low = math.floor(rank)
    weight = rank - low
    return ordered[low] * (1 - weight) + ordered[min(low + 1, len(ordered) - 1)] * weight


def extreme(values: Sequence[float], better: Callable[[float, float], bool]) -> float:
    best = values[0]
    for value in values:
        if better(value, best) or math.isnan(best):
            best = value
    return best


def extreme_time(samples: Samples, better: Callable[[float, float], bool]) -> float:
    at, best = samples[0]
    for time_ms, value in samples:
        if better(value, best) or math.isnan(best):
            at, best = time_ms, value
    return at / 1000


def rate(
    samples: Samples, start_ms: int, end_ms: int, *, counter: bool, per_second: bool
) -> float | None:
    """The increase between first and last sample, extrapolated to the edges of the window."""
    if len(samples) < 2:
        return None
    (first_ms, first), (last_ms, last) = samples[0], samples[-1]
    increase = last - first
    if counter:
        for (_, before), (_, after) in pairwise(samples):
            if after < before:
                increase += before
    to_start, to_end = (first_ms - start_ms) / 1000, (end_ms - last_ms) / 1000
    covered = (last_ms - first_ms) / 1000
    gap = covered / (len(samples) - 1)
    if to_start >= gap * 1.1:
        to_start = gap / 2
    if counter and increase > 0 and first >= 0:
        to_start = min(to_start, covered * (first / increase))
    if to_end >= gap * 1.1:
        to_end = gap / 2
    factor = (covered + to_start + to_end) / covered
    return increase * (factor / ((end_ms - start_ms) / 1000) if per_second else factor)


def last_two(samples: Samples, *, counter: bool) -> float | None:
    """irate (*counter*) or idelta."""
    if len(samples) < 2:
        return None
    (before_ms, before), (after_ms, after) = samples[-2], samples[-1]
    difference = after if counter and after < before else after - before
    return difference / ((after_ms - before_ms) / 1000) if counter else difference


def line(samples: Samples, origin_ms: int) -> tuple[float, float]:
    """Slope and value at *origin_ms* of the least-squares line."""
    first = samples[0][1]
    if all(value == first for _, value in samples[1:]):
        return (NAN, NAN) if math.isinf(first) else (0.0, first)
    xs = [(time_ms - origin_ms) / 1000 for time_ms, _ in samples]
    ys = [value for _, value in samples]
    n = float(len(samples))
    sum_x, sum_y = kahan_sum(xs), kahan_sum(ys)
    sum_xy = kahan_sum(x * y for x, y in zip(xs, ys, strict=True))
    sum_xx = kahan_sum(x * x for x in xs)
    slope = divide(sum_xy - sum_x * sum_y / n, sum_xx - sum_x * sum_x / n)
    return slope, sum_y / n - slope * sum_x / n


def smooth(samples: Samples, smoothing: float, trending: float) -> float:
    """Holt's double exponential smoothing."""
    previous, level = 0.0, samples[0][1]
    trend = samples[1][1] - samples[0][1]
    for n, (_, value) in enumerate(samples[1:]):
        if n > 0:
            trend = trending * (level - previous) + (1 - trending) * trend
        previous, level = level, smoothing * value + (1 - smoothing) * (level + trend)
    return level


def deviation(values: Sequence[float]) -> float:
    """The median distance from the median; NaN where any value is."""
    if any(map(math.isnan, values)):
        return NAN
    median = quantile(0.5, values)
    return quantile(0.5, [abs(value - median) for value in values])


def changes(values: Sequence[float]) -> float:
    pairs = pairwise(values)
    return float(sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairs))


def resets(values: Sequence[float]) -> float:
    return float(sum(b < a for a, b in pairwise(values)))


Buckets = list[tuple[float, float]]
"""(upper bound, cumulative count)."""


def _coalesced(buckets: Buckets) -> Buckets:
    merged: dict[float, float] = {}
    for bound, count in sorted(buckets, key=lambda bucket: bucket[0]):
        merged[bound] = merged[bound] + count if bound in merged else count
    return list(merged.items())


def bucket_quantile(phi: float, buckets: Buckets) -> float:
    if math.isnan(phi):
        return NAN
    if not 0 <= phi <= 1:
        return -INF if phi < 0 else INF
    merged = _coalesced(buckets)
    if merged[-1][0] != INF or len(merged) < 2:
        return NAN
    counts = [merged[0][1]]
    for _, count in merged[1:]:
        close = abs(count - counts[-1]) <= 1e-12 * count
        counts.append(counts[-1] if close or count < counts[-1] else count)
    bounds = [bound for bound, _ in merged]
    if counts[-1] == 0:
        return NAN
    rank = phi * counts[-1]
    at = next((i for i, count in enumerate(counts[:-1]) if count >= rank), len(counts) - 1)
    if at == len(counts) - 1:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    low, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    return low + (bounds[at] - low) * divide(rank - below, counts[at] - below)


def bucket_fraction(lower: float, upper: float, buckets: Buckets) -> float:
    merged = _coalesced(buckets)
    count = merged[-1][1]
    if merged[-1][0] != INF or count == 0 or math.isnan(lower) or math.isnan(upper):
        return NAN
    if lower >= upper:
        return 0.0
    ranks = (min(_rank(value, merged), count) for value in (upper, lower))
    return divide(next(ranks) - next(ranks), count)


def _rank(value: float, buckets: Buckets) -> float:
    """How many observations lie below *value*, by linear interpolation."""
    low, below = (0.0 if buckets[0][0] > 0 else -INF), 0.0
    for bound, count in buckets:
        if value <= low:
            return below
        if value < bound and low == -INF:  # there is no place inside a bucket without a width
            return count
        if value < bound:
            return below + (count - below) * (value - low) / (bound - low)
        low, below = bound, count
    return buckets[-1][1]


def decimal_text(value: float) -> str:
    """The shortest decimal that reads back as *value*, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0") if "." in text else text
