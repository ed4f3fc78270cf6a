"""Native histograms as senders encode them, and a slow reader that shares nothing with ours."""

import math
import struct
from dataclasses import dataclass, field

from hypothesis import strategies as st

from series.histogram import CUSTOM_SCHEMA, OFFSET, Histogram
from tests.wire.encode import chunk, varint

STALE = struct.pack("<Q", 0x7FF0000000000002)
Span = tuple[int, int]


def zigzag(number: int) -> bytes:
    return varint(number * 2 if number >= 0 else -number * 2 - 1)


def integer(number: int, value: int) -> bytes:
    return varint(number * 8) + varint(value)


def double(number: int, value: float | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else struct.pack("<d", value)
    return varint(number * 8 + 1) + raw


@dataclass
class Sent:
    """A Histogram message; counts are absolute, whatever they travel as."""

    is_float: bool = False
    schema: int = 0
    count: float = 0
    sum: float | bytes = 0.0
    zero_threshold: float = 0.0
    zero_count: float = 0
    negative_spans: list[Span] = field(default_factory=list)
    negative: list[float] = field(default_factory=list)
    positive_spans: list[Span] = field(default_factory=list)
    positive: list[float] = field(default_factory=list)
    hint: int = 0
    time_ms: int = 0
    bounds: list[float] = field(default_factory=list)
    start_ms: int = 0

    def message(self, *, packed: bool = True) -> bytes:
        out = [double(3, self.sum), varint(4 * 8) + zigzag(self.schema)]
        if self.is_float:
            out += [double(2, self.count), double(7, self.zero_count)]
        else:
            out += [integer(1, int(self.count)), integer(6, int(self.zero_count))]
        out.append(double(5, self.zero_threshold))
        for number, spans, counts in (
            (8, self.negative_spans, self.negative),
            (11, self.positive_spans, self.positive),
        ):
            for offset, length in spans:
                out.append(chunk(number, varint(8) + zigzag(offset) + integer(2, length)))
            out.append(self._counts(number, counts, packed))
        bounds = [struct.pack("<d", bound) for bound in self.bounds]
        if packed:
            out.append(chunk(16, b"".join(bounds)))
        else:
            out += [double(16, bound) for bound in bounds]
        out += [integer(14, self.hint), integer(15, self.time_ms)]
        if self.start_ms:
            out.append(integer(17, self.start_ms))
        return b"".join(out)

    def exposition(self) -> bytes:
        """The same as an io.prometheus.client.Histogram, which knows no bounds, hint and start."""
        renumbered = []
        for number, kind, value in read_fields(self.message()):
            if number not in _EXPOSITION:
                continue
            head = varint(_EXPOSITION[number] * 8 + kind)
            if isinstance(value, int):
                renumbered.append(head + varint(value))
            else:
                renumbered.append(head + (varint(len(value)) if kind == 2 else b"") + value)
        return b"".join(renumbered)

    def _counts(self, spans_number: int, counts: list[float], packed: bool) -> bytes:
        if self.is_float:
            number, kind = spans_number + 2, 1
            values = [struct.pack("<d", count) for count in counts]
        else:
            number, kind = spans_number + 1, 0
            before = [0, *counts][:-1] if counts else []
            values = [zigzag(int(b) - int(a)) for a, b in zip(before, counts, strict=True)]
        if packed:
            return chunk(number, b"".join(values)) if values else b""
        return b"".join(varint(number * 8 + kind) + value for value in values)


_EXPOSITION = {
    1: 1, 2: 4, 3: 2, 4: 5, 5: 6, 6: 7, 7: 8, 8: 9, 9: 10, 10: 11, 11: 12, 12: 13, 13: 14,
}  # fmt: skip
"""Field numbers of remote write and of the exposition."""


class Broken(Exception):
    """The slow reader gives up."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for count in range(10):
        if at + count >= len(data):
            raise Broken
        number += data[at + count] % 128 * 128**count
        if data[at + count] < 128:
            return number % 2**64, at + count + 1
    raise Broken


def read_fields(data: bytes) -> list[tuple[int, int, int | bytes]]:
    found: list[tuple[int, int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, kind = tag % 2**32 // 8, tag % 8
        if number == 0 or kind not in (0, 1, 2, 5):
            raise Broken
        if kind == 0:
            value, at = read_varint(data, at)
            found.append((number, kind, value))
            continue
        if kind == 2:
            size, at = read_varint(data, at)
        else:
            size = {1: 8, 5: 4}[kind]
        if at + size > len(data):
            raise Broken
        found.append((number, kind, data[at : at + size]))
        at += size
    return found


def signed(number: int, bits: int = 64) -> int:
    number %= 2**bits
    return number - 2**bits if number >= 2 ** (bits - 1) else number


def unzigzag(number: int, bits: int) -> int:
    number %= 2**bits
    return -(number // 2) - 1 if number % 2 else number // 2


@dataclass
class Read:
    """What the slow reader makes of a message: a histogram, an end, or why it is refused."""

    time_ms: int
    start_ms: int
    histogram: Histogram | None = None
    problem: str = ""

    @property
    def is_end(self) -> bool:
        return self.histogram is None and not self.problem


_KINDS = {
    1: (0,), 2: (1,), 3: (1,), 4: (0,), 5: (1,), 6: (0,), 7: (1,), 8: (2,), 9: (0, 2), 10: (1, 2),
    11: (2,), 12: (0, 2), 13: (1, 2), 14: (0,), 15: (0,), 16: (1, 2), 17: (0,),
}  # fmt: skip


def slow_histogram(content: bytes, *, knows_start: bool = True) -> Read:
    """Reads a Histogram message of remote write; Broken where it is none."""
    last: dict[int, int] = {}
    doubles: dict[int, bytes] = {}
    many: dict[int, list[tuple[int, int | bytes]]] = {n: [] for n in (8, 9, 10, 11, 12, 13, 16)}
    is_float = False
    for number, kind, value in read_fields(content):
        if number not in _KINDS or (number == 17 and not knows_start):
            continue
        if kind not in _KINDS[number]:
            raise Broken
        if number in many:
            many[number].append((kind, value))
        elif isinstance(value, bytes):
            doubles[number] = value
        else:
            last[number] = value
        if number in (1, 2):
            is_float = number == 2
        if number in (6, 7):
            (doubles if number == 6 else last).pop(13 - number, None)
    read = Read(signed(last.get(15, 0)), signed(last.get(17, 0)))
    spans = {side: [slow_span(value) for _, value in many[side]] for side in (8, 11)}
    bounds = slow_doubles(many[16])
    counts: dict[int, list[float]] = {}
    for side in (8, 11):
        if is_float:
            counts[side] = slow_doubles(many[side + 2])
        else:
            counts[side] = list(slow_deltas(many[side + 1]))
    if doubles.get(3) == STALE:
        return read
    total: float = last.get(1, 0)
    zero: float = last.get(6, 0)
    if is_float:
        total, zero = (struct.unpack("<d", doubles.get(n, bytes(8)))[0] for n in (2, 7))
    sum_of = struct.unpack("<d", doubles.get(3, bytes(8)))[0]
    threshold = struct.unpack("<d", doubles.get(5, bytes(8)))[0]
    schema = unzigzag(last.get(4, 0), 32)
    read.problem = slow_problem(
        schema, is_float, total, sum_of, threshold, zero, spans, counts, bounds
    )
    if read.problem:
        return read
    shift = max(0, schema - 8)
    buckets: dict[int, float] = {}
    for side, sign in ((8, -1), (11, 1)):
        at = 0
        remaining = iter(counts[side])
        for offset, length in spans[side]:
            at += offset
            for _ in range(length):
                index = -(-at // 2**shift)
                if abs(index) >= OFFSET:
                    where = "negative" if side == 8 else "positive"
                    read.problem = (
                        f"{where} side: a bucket has index {index}, which no observation falls into"
                    )
                    return read
                position = sign * (OFFSET + index)
                buckets[position] = buckets.get(position, 0.0) + next(remaining)
                at += 1
    read.histogram = Histogram(
        schema=min(schema, 8),
        count=float(total),
        sum=sum_of,
        zero_threshold=threshold,
        zero_count=float(zero),
        buckets=tuple(sorted((at, float(count)) for at, count in buckets.items())),
        bounds=tuple(bounds),
        hint=last.get(14, 0) if last.get(14, 0) < 4 else 0,
    )
    return read


def slow_span(content: int | bytes) -> Span:
    assert isinstance(content, bytes)
    offset = length = 0
    for number, kind, value in read_fields(content):
        if number in (1, 2):
            if kind != 0 or isinstance(value, bytes):
                raise Broken
            if number == 1:
                offset = unzigzag(value, 32)
            else:
                length = value % 2**32
    return offset, length


def slow_doubles(parts: list[tuple[int, int | bytes]]) -> list[float]:
    joined = b""
    for _, part in parts:
        assert isinstance(part, bytes)
        if len(part) % 8:
            raise Broken
        joined += part
    return [float(value) for (value,) in struct.iter_unpack("<d", joined)]


def slow_deltas(parts: list[tuple[int, int | bytes]]) -> list[int]:
    found: list[int] = []
    current = 0
    for _, part in parts:
        raw = part if isinstance(part, bytes) else varint(part)
        at = 0
        while at < len(raw):
            delta, at = read_varint(raw, at)
            current = signed(current + unzigzag(delta, 64))
            found.append(current)
    return found


def slow_problem(
    schema: int, is_float: bool, total: float, sum_of: float, threshold: float, zero: float,
    spans: dict[int, list[Span]], counts: dict[int, list[float]], bounds: list[float],
) -> str:  # fmt: skip
    """Why Prometheus refuses a histogram, or ''."""
    if schema == CUSTOM_SCHEMA:
        problem = _bounds_problem(bounds) or _spans_problem(spans[11], counts[11], custom=True)
        covered = sum(offset + length for offset, length in spans[11])
        if not problem and covered > len(bounds) + 1:
            problem = (
                f"only {len(bounds)} custom bounds defined which is insufficient to cover total "
                f"span length of {covered}: histogram custom bounds are too few"
            )
        if problem:
            return f"custom buckets: {problem}"
        for wrong, what in (
            (zero != 0, "must have zero count of 0"),
            (threshold != 0, "must have zero threshold of 0"),
            (bool(spans[8]), "must not have negative spans"),
            (bool(counts[8]), "must not have negative buckets"),
        ):
            if wrong:
                return f"custom buckets: {what}"
    elif -4 <= schema <= 52:
        if problem := _spans_problem(spans[11], counts[11], custom=False):
            return f"positive side: {problem}"
        problem = _spans_problem(spans[8], counts[8], custom=False) or _count_problem(counts[8])
        if problem:
            return f"negative side: {problem}"
        if zero < 0:
            return (
                f"zero bucket has observation count of {zero:g}: "
                "histogram has a bucket whose observation count is negative"
            )
        if bounds:
            return "histogram with exponential schema must not have custom bounds"
    else:
        return (
            "histogram has an invalid schema, which must be between -4 and 8 for exponential "
            f"buckets, or -53 for custom buckets, got schema {schema}"
        )
    if total < 0:
        return f"observation count is  {total:g}: histogram's observation count is negative"
    if problem := _count_problem(counts[11]):
        return f"positive side: {problem}"
    if is_float:
        return ""
    found = int(sum(counts[8]) + sum(counts[11]) + zero) % 2**64
    begins = f"{found} observations found in buckets, but the Count field is {total}: "
    if math.isnan(sum_of):
        if found > total:
            return (
                f"{begins}histogram's observation count should be at least the number of "
                "observations found in the buckets"
            )
    elif found != total:
        return (
            f"{begins}histogram's observation count should equal the number of observations "
            "found in the buckets (in absence of NaN)"
        )
    return ""


def _bounds_problem(bounds: list[float]) -> str:
    for at, bound in enumerate(bounds):
        if math.isnan(bound):
            return "histogram custom bounds must not be NaN"
        if at and bound <= bounds[at - 1]:
            return (
                f"previous bound is {_f(bounds[at - 1])} and current is {_f(bound)}: "
                "histogram custom bounds must be in strictly increasing order"
            )
    if bounds and bounds[-1] == math.inf:
        return (
            "last +Inf bound must not be explicitly defined: histogram custom bounds must be finite"
        )
    return ""


def _f(bound: float) -> str:
    """As Go's %f."""
    if math.isinf(bound):
        return "+Inf" if bound > 0 else "-Inf"
    return f"{bound:.6f}"


def _spans_problem(spans: list[Span], counts: list[float], *, custom: bool) -> str:
    for at, (offset, _) in enumerate(spans):
        if offset < 0 and (custom or at > 0):
            return (
                f"span number {at + 1} with offset {offset}: "
                "histogram has a span whose offset is negative"
            )
    needed = sum(length for _, length in spans)
    if needed != len(counts):
        return (
            f"spans need {needed} buckets, have {len(counts)} buckets: "
            "histogram spans specify different number of buckets than provided"
        )
    return ""


def _count_problem(counts: list[float]) -> str:
    for at, count in enumerate(counts):
        if count < 0:
            return (
                f"bucket number {at + 1} has observation count of {count:g}: "
                "histogram has a bucket whose observation count is negative"
            )
    return ""


@st.composite
def _sent(draw: st.DrawFn) -> Sent:
    """Mostly sound histograms of all kinds, some with one thing wrong."""
    is_float = draw(st.booleans())
    schema = draw(st.sampled_from([*range(-4, 9), *range(-4, 9), 9, 20, 52, -53, -53]))
    custom = schema == CUSTOM_SCHEMA
    numbers = st.integers(0, 50)
    counts = st.lists(numbers | st.floats(0, 9) if is_float else numbers, max_size=6)
    one = Sent(is_float, schema, hint=draw(st.integers(0, 4)), time_ms=draw(numbers))
    one.sum = draw(st.floats(allow_nan=True) | st.just(STALE))
    one.positive = draw(counts)
    one.positive_spans = _spans(draw, len(one.positive), custom)
    if custom:
        covered = sum(offset + length for offset, length in one.positive_spans)
        one.bounds = [1.5 * at for at in range(covered + draw(st.integers(-1, 1)))]
    else:
        one.negative = draw(counts)
        one.negative_spans = _spans(draw, len(one.negative), custom)
        one.zero_threshold = draw(st.sampled_from([0.0, 1e-128, 0.5]))
        one.zero_count = draw(numbers)
    one.count = sum(one.positive) + sum(one.negative) + one.zero_count
    one.start_ms = draw(st.integers(0, 3))
    for wrong, value in draw(st.lists(st.sampled_from(_WRONGS), max_size=1)):
        setattr(one, wrong, value)
    return one


def _spans(draw: st.DrawFn, buckets: int, custom: bool) -> list[Span]:
    """Spans of so many buckets, some of them of none."""
    spans: list[Span] = []
    while buckets:
        length = draw(st.integers(0, buckets))
        first = not spans and not custom
        spans.append((draw(st.integers(-300, 300) if first else st.integers(0, 5)), length))
        buckets -= length
    return spans


_WRONGS: list[tuple[str, object]] = [
    ("count", 1000), ("schema", -5), ("schema", 53), ("zero_count", 3), ("zero_threshold", 1.0),
    ("bounds", [1.0, 1.0]), ("bounds", [math.nan]), ("bounds", [1.0, math.inf]), ("bounds", [1.0]),
    ("positive", [1, -1]), ("negative", [2, -2]), ("positive_spans", [(0, 1), (-1, 1)]),
    ("positive_spans", [(-1, 2)]), ("negative_spans", [(0, 3)]), ("positive", [1] * 7),
    ("positive_spans", [(2**31 - 1, 2**32 - 1)]), ("positive_spans", [(2**30, 1)]),
]  # fmt: skip

sent = _sent()
