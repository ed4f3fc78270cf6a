"""Native histograms in plain Python, one object each: the slow twin of the engine's arithmetic.

Counts are whole numbers in the tests, so that sums are exact in any order. Written from the
documented behaviour of Prometheus 3.14, with dictionaries where the engine merges columns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from series.histogram import (
    CUSTOM_SCHEMA,
    GAUGE,
    NOT_RESET,
    OFFSET,
    RESET,
    UNKNOWN,
    Histogram,
)

Buckets = dict[int, float]


class Incompatible(Exception):
    """Exponential buckets met custom ones."""


@dataclass(frozen=True)
class Twin:
    """A histogram with its buckets by index, those of either sign apart."""

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    threshold: float = 0.0
    zero: float = 0.0
    positive: Buckets = field(default_factory=dict)
    negative: Buckets = field(default_factory=dict)
    bounds: tuple[float, ...] = ()
    hint: int = UNKNOWN

    @classmethod
    def of(cls, h: Histogram) -> "Twin":
        return cls(
            h.schema,
            h.count,
            h.sum,
            h.zero_threshold,
            h.zero_count,
            {at - OFFSET: n for at, n in h.buckets if at > 0},
            {-at - OFFSET: n for at, n in h.buckets if at < 0},
            h.bounds,
            h.hint,
        )

    @property
    def custom(self) -> bool:
        return self.schema == CUSTOM_SCHEMA

    def key(self) -> tuple[object, ...]:
        """What can be seen of it: everything but empty buckets."""
        seen = [sorted((i, n) for i, n in side.items() if n) for side in self.sides()]
        return (
            self.schema, self.count, self.sum, round(self.threshold, 12), self.zero, seen,
            self.bounds, self.hint,
        )  # fmt: skip

    def sides(self) -> tuple[Buckets, Buckets]:
        return self.positive, self.negative

    def scaled(self, factor: float) -> "Twin":
        return replace(
            self,
            count=self.count * factor,
            sum=self.sum * factor,
            zero=self.zero * factor,
            positive={i: n * factor for i, n in self.positive.items()},
            negative={i: n * factor for i, n in self.negative.items()},
            hint=GAUGE if factor < 0 else self.hint,
        )

    def divided(self, by: float) -> "Twin":
        return replace(
            self,
            count=self.count / by,
            sum=self.sum / by,
            zero=self.zero / by,
            positive={i: n / by for i, n in self.positive.items()},
            negative={i: n / by for i, n in self.negative.items()},
        )

    def reduced(self, schema: int) -> "Twin":
        """In a coarser schema."""
        step = 2 ** (self.schema - schema)
        sides = []
        for side in self.sides():
            merged: Buckets = {}
            for i, n in side.items():
                at = math.ceil(i / step)
                merged[at] = merged.get(at, 0.0) + n
            sides.append(merged)
        return replace(self, schema=schema, positive=sides[0], negative=sides[1])

    def upper(self, index: int) -> float:
        return float(2.0 ** (index * 2.0**-self.schema))

    def widened(self, threshold: float) -> "Twin":
        """With a zero bucket of at least *threshold* that cuts no populated bucket."""
        if threshold <= self.threshold:
            return self
        populated = [i for side in self.sides() for i, n in side.items() if n]
        while cut := [i for i in populated if self.upper(i - 1) < threshold < self.upper(i)]:
            threshold = max(self.upper(i) for i in cut)
        swallowed = [
            n for side in self.sides() for i, n in side.items() if self.upper(i - 1) < threshold
        ]
        kept = [
            {i: n for i, n in side.items() if not self.upper(i - 1) < threshold}
            for side in self.sides()
        ]
        return replace(
            self,
            threshold=threshold,
            zero=self.zero + math.fsum(swallowed),
            positive=kept[0],
            negative=kept[1],
        )

    def on_bounds(self, bounds: tuple[float, ...]) -> Buckets:
        """The custom buckets after all bounds but *bounds* went away."""
        out: Buckets = {}
        for i, n in self.positive.items():
            end = self.bounds[i] if i < len(self.bounds) else math.inf
            at = sum(bound < end for bound in bounds)
            out[at] = out.get(at, 0.0) + n
        return out


def joined_hint(a: int, b: int) -> int:
    if a in (b, GAUGE):
        return a
    return GAUGE if b == GAUGE else UNKNOWN


def conflict(a: int, b: int) -> bool:
    return {a, b} == {RESET, NOT_RESET}


def combined(a: Twin, b: Twin, sign: float = 1.0) -> Twin:
    """``a + sign * b``; Incompatible where they do not add up."""
    if a.custom != b.custom:
        raise Incompatible
    result = replace(
        a,
        count=a.count + sign * b.count,
        sum=a.sum + sign * b.sum,
        hint=joined_hint(a.hint, b.hint),
    )
    if a.custom:
        bounds = tuple(sorted(set(a.bounds) & set(b.bounds)))
        if a.bounds == b.bounds:
            return replace(result, positive=_sum(a.positive, b.positive, sign))
        merged = _sum(a.on_bounds(bounds), b.on_bounds(bounds), sign)
        return replace(result, positive=merged, bounds=bounds)
    wide_a, wide_b = a, b
    while wide_a.threshold != wide_b.threshold:
        wide_b = b.widened(wide_a.threshold)
        wide_a = a.widened(wide_b.threshold)
    threshold = wide_a.threshold
    schema = min(a.schema, b.schema)
    left, right = wide_a.reduced(schema), b.reduced(schema)
    sides = [
        _sum(x, {i: n for i, n in y.items() if right.upper(i) > threshold}, sign)
        for x, y in zip(left.sides(), right.sides(), strict=True)
    ]
    return replace(
        result,
        schema=schema,
        threshold=threshold,
        zero=wide_a.zero + sign * wide_b.zero,
        positive=sides[0],
        negative=sides[1],
    )


def _sum(a: Buckets, b: Buckets, sign: float) -> Buckets:
    return {i: a.get(i, 0.0) + sign * b.get(i, 0.0) for i in a.keys() | b.keys()}


def is_reset(previous: Twin, current: Twin) -> bool:
    """Whether a counter was reset before *current*."""
    if current.hint in (RESET, NOT_RESET):
        return current.hint == RESET
    if current.count < previous.count or current.custom != previous.custom:
        return True
    if current.custom:
        bounds = tuple(sorted(set(current.bounds) & set(previous.bounds)))
        return _fell(previous.on_bounds(bounds), current.on_bounds(bounds))
    if current.schema > previous.schema or current.threshold < previous.threshold:
        return True
    wide = previous.widened(current.threshold)
    if wide.threshold != current.threshold or current.zero < wide.zero:
        return True
    coarse = previous.reduced(current.schema)
    return any(
        _fell({i: n for i, n in old.items() if coarse.upper(i) > current.threshold}, new)
        for old, new in zip(coarse.sides(), current.sides(), strict=True)
    )


def _fell(old: Buckets, new: Buckets) -> bool:
    return any(new.get(i, 0.0) < n for i, n in old.items())


Sample = tuple[int, float | Twin]


def rate(
    window: Sequence[Sample], end_ms: int, range_ms: int, *, counter: bool, per_second: bool
) -> Twin | None:
    """rate, increase and delta of a window of histograms; Incompatible where they are mixed."""
    found = [h for _, h in window if isinstance(h, Twin)]
    assert len(found) == len(window)
    if len(found) < 2:
        return None
    first, last = found[0], found[-1]
    base = first
    if counter and is_reset(first, found[1]):
        base = Twin(schema=found[1].schema, bounds=found[1].bounds)
    if counter and len({h.custom for h in (base, *found[1:])}) > 1:
        raise Incompatible
    if base.custom != last.custom:
        raise Incompatible
    # A coarser sample between them makes the result as coarse.
    total = last
    if not last.custom:
        seen = (base, *found[1:]) if counter else (base, last)
        total = last.reduced(min(h.schema for h in seen))
    total = combined(total, base, -1.0)
    if counter:
        for before, after in pairwise((base, *found[1:])):
            if is_reset(before, after):
                total = combined(total, before)
    first_ms, last_ms = window[0][0], window[-1][0]
    covered = (last_ms - first_ms) / 1000
    gap = covered / (len(window) - 1)
    left, right = (first_ms - (end_ms - range_ms)) / 1000, (end_ms - last_ms) / 1000
    left = gap / 2 if left >= gap * 1.1 else left
    right = gap / 2 if right >= gap * 1.1 else right
    if counter and total.count > 0 and first.count >= 0:
        left = min(left, covered * (first.count / total.count))
    factor = (covered + left + right) / covered
    return replace(total, hint=GAUGE).scaled(factor / (range_ms / 1000) if per_second else factor)


def total(found: Sequence[Twin], *, average: bool) -> Twin:
    """The sum or mean of histograms; Incompatible where they are mixed."""
    result = found[0]
    for h in found[1:]:
        result = combined(result, h)
    return result.divided(float(len(found))) if average else result
