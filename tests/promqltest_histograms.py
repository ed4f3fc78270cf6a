"""Native histograms of promqltest scripts: literals, classic buckets, hints of a database.

Plain Python, without the engine's arithmetic.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from series.histogram import CUSTOM_SCHEMA, GAUGE, NOT_RESET, OFFSET, RESET, UNKNOWN, Histogram
from series.labels import METRIC_NAME, Labels

_NUM = r"(?:(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|nan))"
NUMBER = re.compile(rf"[+-]?(?:0[xX][0-9a-fA-F]+|{_NUM})")
_FIELD = re.compile(r"\s*([a-z_]+):(\[[^\]]*\]|\S+)")
_HINTS = {"unknown": UNKNOWN, "reset": RESET, "not_reset": NOT_RESET, "gauge": GAUGE}

SampleValue = float | Histogram
"""A float is any float64, the stale marker included."""
Samples = list[tuple[int, SampleValue]]
"""Times in ms, rising, and what was seen then."""


@dataclass(frozen=True, slots=True)
class Literal(Histogram):
    """A histogram as written; ``states_hint``: it says what is known of a counter reset."""

    states_hint: bool = False

    def plus(self, other: "Literal", sign: int = 1) -> "Literal":
        """``{{a}}+{{b}}``, or ``{{a}}-{{b}}`` where *sign* is -1.

        Raises ValueError where *other* is coarser or has other bounds.
        """
        if self.is_custom != other.is_custom or self.schema > other.schema:
            raise ValueError("the histograms do not add up")
        if self.bounds != other.bounds:
            raise ValueError("the histograms have other bounds")
        buckets = dict(self.buckets)
        for position, count in other.buckets:
            at = _coarser(position, other.schema - self.schema)
            buckets[at] = buckets.get(at, 0.0) + sign * count
        return replace(
            self,
            count=self.count + sign * other.count,
            sum=self.sum + sign * other.sum,
            zero_count=self.zero_count + sign * other.zero_count,
            zero_threshold=max(self.zero_threshold, other.zero_threshold),
            buckets=tuple(sorted(buckets.items())),
            hint=_joined_hint(self.hint, other.hint),
        )


def _coarser(position: int, halvings: int) -> int:
    """The position after the resolution was halved so often."""
    index = abs(position)
    index = ((index - OFFSET - 1) >> halvings) + 1 + OFFSET
    return index if position > 0 else -index


def _joined_hint(a: int, b: int) -> int:
    if a == b:
        return a
    return GAUGE if GAUGE in (a, b) else UNKNOWN


def parse_number(text: str) -> float:
    """A decimal or hexadecimal number, Inf or NaN; ValueError for anything else."""
    if not NUMBER.fullmatch(text):
        raise ValueError(f"not a number: {text!r}")
    return float(int(text, 16)) if "x" in text.lower() else float(text)


def parse_histogram(text: str) -> Literal:
    """The histogram that ``{{...}}`` writes; ValueError where it is none."""
    inside = text[2:-2].strip()
    fields: dict[str, str] = {}
    while inside:
        match = _FIELD.match(inside)
        if match is None:
            raise ValueError(f"malformed histogram {text!r}")
        fields[match[1]] = match[2]
        inside = inside[match.end() :].strip()
    schema = int(fields.get("schema", "0"))
    negative = _buckets(fields, "n_buckets", "n_offset")
    positive = _buckets(fields, "buckets", "offset")
    hint = fields.get("counter_reset_hint")
    return Literal(
        schema=schema,
        count=parse_number(fields.get("count", "0")),
        sum=parse_number(fields.get("sum", "0")),
        zero_count=parse_number(fields.get("z_bucket", "0")),
        zero_threshold=parse_number(fields.get("z_bucket_w", "0")),
        buckets=(
            *((-(OFFSET + index), count) for index, count in reversed(negative)),
            *((OFFSET + index, count) for index, count in positive),
        ),
        bounds=tuple(_numbers(fields.get("custom_values", "[]"))),
        hint=_HINTS[hint or "unknown"],
        states_hint=hint is not None,
    )


def _numbers(text: str) -> list[float]:
    return [parse_number(word) for word in text.strip("[]").split()]


def _buckets(fields: dict[str, str], name: str, offset: str) -> list[tuple[int, float]]:
    counts = _numbers(fields.get(name, "[]"))
    return list(enumerate(counts, int(fields.get(offset, "0"))))


# --- classic histograms ----------------------------------------------------------------------


def classic_part(labels: Labels) -> tuple[str, Labels] | None:
    """Which part of a classic histogram a series is, and the labels of the histogram.

    The part is ``bucket``, ``count`` or ``sum``; None for any other series.
    """
    name, found, part = labels.metric.rpartition("_")
    if not found or part not in ("bucket", "count", "sum"):
        return None
    return part, Labels.of({**labels.without(("le",)).as_dict(), METRIC_NAME: name})


def from_classic(parts: Sequence[tuple[str, str, float]]) -> Histogram:
    """The histogram with custom buckets of some (part, ``le``, value) of one time."""
    found: dict[float, float] = {}
    for part, le, value in parts:
        if part == "bucket":
            found.setdefault(float(le), value)
    plain = {part: value for part, _, value in parts if part != "bucket"}
    count = plain.get("count", found[max(found)] if found else 0.0)
    found.setdefault(math.inf, count)
    rising = [found[le] for le in sorted(found)]
    counts = [value - before for value, before in zip(rising, [0.0, *rising], strict=False)]
    return Histogram(
        schema=CUSTOM_SCHEMA,
        count=count,
        sum=plain.get("sum", 0.0),
        buckets=tuple((OFFSET + at, n) for at, n in enumerate(counts) if n),
        bounds=tuple(sorted(found))[:-1],
    )


# --- hints -----------------------------------------------------------------------------------


def with_read_hints(samples: Iterable[tuple[int, SampleValue]]) -> Samples:
    """*samples* with the hints that Prometheus' database gives back.

    Whatever a sender claimed, a histogram that follows another in its chunk is known not to be a
    reset, the first of a chunk may be one; only gauges stay gauges.
    """
    out: Samples = []
    before: Histogram | None = None
    for time_ms, value in samples:
        if isinstance(value, Histogram):
            goes_on = before is not None and _goes_on(before, value)
            before = None if value.hint == GAUGE else value
            if value.hint != GAUGE:
                value = replace(value, hint=NOT_RESET if goes_on else UNKNOWN)
        else:
            before = None
        out.append((time_ms, value))
    return out


def _goes_on(a: Histogram, b: Histogram) -> bool:
    """Whether *b* can follow *a* in a chunk of counters."""
    if b.hint in (GAUGE, RESET) or b.count < a.count or b.zero_count < a.zero_count:
        return False
    if (a.schema, a.zero_threshold, a.bounds) != (b.schema, b.zero_threshold, b.bounds):
        return False
    later = dict(b.buckets)
    return all(later.get(position, 0.0) >= count for position, count in a.buckets)
