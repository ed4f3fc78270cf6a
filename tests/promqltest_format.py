"""The promqltest script format: ``load``, ``clear`` and ``eval`` commands as plain data.

The format is that of Prometheus' own test scripts (promql/promqltest/README.md of 3.14). A script
is read line by line; a command ends at an empty line; lines that begin with ``#`` count as empty.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from series.batch import STALE_NAN
from series.durations import parse_duration_ms
from series.labels import METRIC_NAME, Labels
from tests.promqltest_histograms import (
    NUMBER,
    Literal,
    SampleValue,
    parse_histogram,
    parse_number,
)


class ScriptError(Exception):
    """The script breaks the format; the text names the line."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``start_ms`` is the start timestamp of an ``@st`` line, None without one."""

    time_ms: int
    value: SampleValue
    start_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Samples to add; ``with_nhcb`` also asks for histograms made from the classic buckets."""

    line: int
    series: list[tuple[Labels, list[Sample]]]
    with_nhcb: bool = False


@dataclass(frozen=True, slots=True)
class Clear:
    line: int


@dataclass(frozen=True, slots=True)
class Notice:
    """What an error or annotation must say: ``any`` text, exactly ``msg``, or match ``regex``."""

    kind: str = "any"
    text: str = ""

    def accepts(self, text: str) -> bool:
        if self.kind == "any":
            return True
        return self.text == text if self.kind == "msg" else re.search(self.text, text) is not None


@dataclass(slots=True)
class Eval:
    """One query and what it must answer.

    ``expects`` maps ``fail``, ``warn``, ``no_warn``, ``info``, ``no_info`` to what was asked.
    ``series`` are the expected rows: labels and a value (None: no point) at every step.
    ``raw_range`` tells that an instant query must answer a range vector over start..end.
    """

    line: int
    expr: str
    is_range: bool
    start_ms: int
    end_ms: int
    step_ms: int
    at_ms: int
    ordered: bool = False
    expects: dict[str, list[Notice]] = field(default_factory=dict)
    scalar: float | None = None
    string: str | None = None
    raw_range: bool = False
    series: list[tuple[Labels, list[SampleValue | None]]] = field(default_factory=list)

    @property
    def must_fail(self) -> bool:
        return "fail" in self.expects


Command = Load | Clear | Eval

_LOAD = re.compile(r"load(_with_nhcb)?\s+(\S+)", re.IGNORECASE)
_EVAL = re.compile(
    r"eval(?:_(?P<mode>fail|warn|info|ordered))?\s+"
    r"(?:instant\s+(?:at\s+(?P<at>\S+)\s+)?"
    r"|range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+)\s+)"
    r"(?P<expr>.+)"
)
_EXPECT = re.compile(r"expect\s+(ordered|fail|(?:no_)?(?:warn|info))(?:\s+(msg|regex):\s*(.*))?")
_EXPECT_RANGE = re.compile(r"expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)")
_EXPECT_STRING = re.compile(r"expect\s+string\s+(.*)")
_OLD_FAIL = re.compile(r"expected_fail_(message|regexp)\s+(.*)")


def parse_script(text: str) -> list[Command]:
    """The commands of a script, in order; ScriptError where it breaks the format."""
    lines = [line.strip() for line in text.split("\n")]
    lines = ["" if line.startswith("#") else line for line in lines] + [""]
    commands: list[Command] = []
    at = 0
    while at < len(lines):
        end = lines.index("", at)
        if end > at:
            word = lines[at].split()[0].lower()
            try:
                if word == "clear":
                    commands.append(Clear(at + 1))
                    end = at + 1
                elif word.startswith("load"):
                    commands.append(_parse_load(at + 1, lines[at], lines[at + 1 : end]))
                elif word.startswith("eval"):
                    commands.append(_parse_eval(at + 1, lines[at], lines[at + 1 : end]))
                else:
                    raise ValueError(f"unknown command {word!r}")
            except ValueError as error:
                raise ScriptError(f"line {at + 1}: {error}") from error
        at = max(end, at + 1)
    return commands


def _parse_load(line: int, head: str, body: list[str]) -> Load:
    match = _LOAD.fullmatch(head)
    if match is None:
        raise ValueError("malformed load")
    gap_ms = parse_duration_ms(match[2])
    series: list[tuple[Labels, list[Sample]]] = []
    starts: list[int | None] = []
    for text in body:
        labels, rest = parse_metric(text)
        if rest.startswith("@st"):
            starts = _expand(rest.removeprefix("@st"), _signed_ms, _add_ms)
            continue
        samples = [
            Sample(n * gap_ms, value, _start_time(starts, n, gap_ms))
            for n, value in enumerate(parse_values(rest))
            if value is not None
        ]
        series.append((labels, samples))
        starts = []
    return Load(line, series, match[1] is not None)


def _start_time(starts: list[int | None], at: int, gap_ms: int) -> int | None:
    offset_ms = starts[at] if at < len(starts) else None
    return None if offset_ms is None else at * gap_ms + offset_ms


def _parse_eval(line: int, head: str, body: list[str]) -> Eval:
    match = _EVAL.fullmatch(head)
    if match is None:
        raise ValueError("malformed eval")
    at_ms = _signed_ms(match["at"] or "0")
    command = Eval(line, match["expr"], False, at_ms, at_ms, 1, at_ms)
    if match["start"]:
        command.is_range = True
        command.start_ms, command.end_ms = _signed_ms(match["start"]), _signed_ms(match["end"])
        command.step_ms = parse_duration_ms(match["step"])
    if match["mode"] == "ordered":
        command.ordered = True
    elif match["mode"]:
        command.expects[match["mode"]] = [Notice()]
    for text in body:
        _parse_expectation(command, text)
    return command


def _parse_expectation(command: Eval, text: str) -> None:
    if match := _EXPECT_RANGE.fullmatch(text):
        command.raw_range = True
        command.start_ms, command.end_ms, command.step_ms = (
            parse_duration_ms(part) for part in match.groups()
        )
    elif match := _EXPECT_STRING.fullmatch(text):
        command.string = unquote(match[1])
    elif match := _OLD_FAIL.fullmatch(text):
        command.expects["fail"] = [Notice("msg" if match[1] == "message" else "regex", match[2])]
    elif text.startswith("expect "):
        match = _EXPECT.fullmatch(text)
        if match is None:
            raise ValueError(f"malformed expectation {text!r}")
        if match[1] == "ordered":
            command.ordered = True
        else:
            notice = Notice(match[2] or "any", (match[3] or "").strip())
            command.expects.setdefault(match[1], []).append(notice)
    elif NUMBER.fullmatch(text):
        command.scalar = parse_number(text)
    else:
        labels, rest = parse_metric(text)
        command.series.append((labels, parse_values(rest)))


# --- metrics ---------------------------------------------------------------------------------

_STRING = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`"""
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_BRACES = re.compile(rf"\{{(?!\{{)((?:{_STRING}|[^}}\"'`])*)\}}")
_LABEL = re.compile(rf"\s*(?:([a-zA-Z_]\w*)|({_STRING}))\s*(?:=\s*({_STRING}))?\s*(?:,|$)")


def parse_metric(text: str) -> tuple[Labels, str]:
    """The ``name{labels}`` that *text* begins with, and the rest of *text*."""
    pairs: dict[str, str] = {}
    if name := _NAME.match(text):
        pairs[METRIC_NAME] = name[0]
        text = text[name.end() :]
    if braces := _BRACES.match(text.lstrip()):
        rest = text.lstrip()[braces.end() :]
        inside = braces[1].strip()
        while inside:
            label = _LABEL.match(inside)
            if label is None:
                raise ValueError(f"malformed labels {braces[0]}")
            bare, quoted, value = label.groups()
            if value is None:
                pairs[METRIC_NAME] = unquote(quoted)
            else:
                pairs[bare or unquote(quoted)] = unquote(value)
            inside = inside[label.end() :].strip()
        text = rest
    elif not name:
        raise ValueError(f"not a metric: {text!r}")
    return Labels.of(pairs), text.strip()


_ESCAPE = re.compile(
    rb"""\\([abfnrtv\\'"]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"""
)
_CONTROL = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))


def unquote(text: str) -> str:
    """The value of a quoted PromQL string."""
    if text[0] == "`":
        return text[1:-1]
    return _ESCAPE.sub(_unescape, text[1:-1].encode()).decode()


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if escape[:1] == b"x":
        return bytes([int(escape[1:], 16)])
    if escape[:1] in b"uU":
        return chr(int(escape[1:], 16)).encode()
    if len(escape) == 3:
        return bytes([int(escape, 8)])
    return bytes([_CONTROL.get(escape[0], escape[0])])


# --- values ----------------------------------------------------------------------------------

_NUM = r"(?:(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|nan))"
_DURATION = r"(?:[0-9]+(?:ms|[ywdhms]))+"
_HISTOGRAM = r"\{\{.*?\}\}"
_TERM = rf"{_HISTOGRAM}|{_DURATION}|{_NUM}"
_ITEM = re.compile(
    rf"(?P<gap>_)(?:x(?P<gaps>\d+))?"
    rf"|(?P<base>stale|[+-]?(?:{_TERM}))(?P<delta>[+-](?:{_TERM}))?(?:x(?P<times>\d+))?"
)
_TOKEN = re.compile(rf"(?:{_HISTOGRAM}|\S)+")

T = TypeVar("T")


def parse_values(text: str) -> list[SampleValue | None]:
    """The sample values that *text* lists, repetitions written out; None is an omitted sample."""
    return _expand(text, _parse_value, _add)


def _expand(text: str, parse: Callable[[str], T], add: Callable[[T, T, int], T]) -> list[T | None]:
    """``axN`` is a N + 1 times, ``a+bxN`` adds b N times, ``_xN`` leaves N samples out."""
    out: list[T | None] = []
    for token in _TOKEN.findall(text):
        item = _ITEM.fullmatch(token)
        if item is None or (item["delta"] and not item["times"]):
            raise ValueError(f"malformed value {token!r}")
        if item["gap"]:
            out += [None] * int(item["gaps"] or 1)
            continue
        value = parse(item["base"])
        out.append(value)
        for _ in range(int(item["times"] or 0)):
            if item["delta"]:
                sign = -1 if item["delta"][0] == "-" else 1
                value = add(value, parse(item["delta"][1:]), sign)
            out.append(value)
    return out


def _signed_ms(text: str) -> int:
    """A duration in ms, with a sign."""
    duration_ms = parse_duration_ms(text.lstrip("+-"))
    return -duration_ms if text.startswith("-") else duration_ms


def _parse_value(text: str) -> SampleValue:
    if text == "stale":
        return STALE_NAN
    return parse_histogram(text) if "{" in text else parse_number(text)


def _add(value: SampleValue, delta: SampleValue, sign: int) -> SampleValue:
    if isinstance(value, Literal) and isinstance(delta, Literal):
        return value.plus(delta, sign)
    if not isinstance(value, float) or not isinstance(delta, float):
        raise ValueError("a float and a histogram do not add up")
    return value + sign * delta


def _add_ms(value: int, delta: int, sign: int) -> int:
    return value + sign * delta
