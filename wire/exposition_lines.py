"""One line of an exposition page, read with care: the whole grammar, and why a line is none.

The grammar and the words of its errors are those of Prometheus' parsers (model/textparse:
promlex.l, promparse.go, openmetricslex.l, openmetricsparse.go), with one difference: a label
value holds no raw newline, so a page is a sequence of lines.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from series.labels import METRIC_NAME, Labels, quote_name
from series.metadata import Metadata
from wire import floats
from wire.errors import Malformed
from wire.exposition_exemplars import MAX_SECONDS, Exemplar
from wire.exposition_kernels import HISTOGRAM, SUMMARY

BOUNDS = {HISTOGRAM: "le", SUMMARY: "quantile"}
"""The label whose value is a number, by type."""

_MAX_QUOTED_BYTES = 1000

_QUOTED = rb'"(?:\\[^\n]|[^\\"\n])*+"'
_METRIC = rb"[a-zA-Z_:][a-zA-Z0-9_:]*+"
_LABEL = rb"[a-zA-Z_][a-zA-Z0-9_]*+"
_Rules = tuple[tuple[str, re.Pattern[bytes]], ...]


def _rules(**patterns: bytes) -> _Rules:
    return tuple((name, re.compile(pattern)) for name, pattern in patterns.items())


_LABELS = _rules(LNAME=_LABEL, QSTRING=_QUOTED, BCLOSE=rb"\}", EQUAL=b"=", COMMA=b",")
_LVALUE = _rules(LVALUE=_QUOTED)
_SERIES = _rules(MNAME=_METRIC, BOPEN=rb"\{")


@dataclass(frozen=True, slots=True)
class _Dialect:
    """The tokens in which the two text formats differ."""

    blanks: re.Pattern[bytes]
    value: _Rules
    time: _Rules
    types: dict[bytes, str]


_PROMETHEUS = _Dialect(
    re.compile(rb"[ \t]*+"),
    _rules(BOPEN=rb"\{", VALUE=rb"[^{ \t\n]++", LINEBREAK=b"\n"),
    _rules(TIMESTAMP=rb"[0-9]++", LINEBREAK=b"\n"),
    {
        b"counter": "counter",
        b"gauge": "gauge",
        b"histogram": "histogram",
        b"summary": "summary",
        b"untyped": "unknown",
    },
)
_OPENMETRICS = _Dialect(
    re.compile(b""),
    _rules(BOPEN=rb"\{", VALUE=rb" [^ \n]++"),
    _rules(COMMENT=rb" # \{", TIMESTAMP=rb" [^ \n]++", LINEBREAK=b"\n"),
    {
        kind.encode(): kind
        for kind in (
            "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset",
            "unknown",
        )
    },
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample line; ``time_ms`` is None where the line names no time."""

    labels: Labels
    value: float
    time_ms: int | None
    exemplar: Exemplar | None


def read_sample(line: bytes, openmetrics: bool, kind: int) -> Sample:
    """Reads a sample *line* (without its newline) below a TYPE line of type *kind*.

    Raises Malformed in Prometheus' words.
    """
    return _Line(line + b"\n", _OPENMETRICS if openmetrics else _PROMETHEUS).sample(kind)


@lru_cache(maxsize=10_000)
def read_comment(line: bytes, openmetrics: bool) -> tuple[str, str, str] | None:
    """(``type``, ``help`` or ``unit``, metric family name, text), or None for a mere comment.

    ``("eof", "", "")`` for the end of an OpenMetrics page. Raises Malformed.
    """
    dialect = _OPENMETRICS if openmetrics else _PROMETHEUS
    return _Line(line + b"\n", dialect).comment()


def describe(known: dict[str, Metadata], what: str, name: str, text: str) -> None:
    """Enters one line's ``type``, ``help`` or ``unit`` into *known*."""
    old = known.get(name) or Metadata("unknown", "", "")
    known[name] = Metadata(
        text if what == "type" else old.type,
        text if what == "help" else old.help,
        text if what == "unit" else old.unit,
    )


class _Line:
    """A reader of one line; ``start`` and ``at`` bound the token read last."""

    __slots__ = ("_dialect", "_line", "at", "start")

    def __init__(self, line: bytes, dialect: _Dialect) -> None:
        self._line = line
        self._dialect = dialect
        self.start = self.at = 0

    def _next(self, rules: _Rules) -> str:
        """Reads one token; INVALID where none of *rules* fits."""
        blanks = self._dialect.blanks.match(self._line, self.at)
        assert blanks is not None
        self.start = self.at = blanks.end()
        for name, pattern in rules:
            if (match := pattern.match(self._line, self.at)) is not None:
                self.at = match.end()
                return name
        return "LINEBREAK" if self._line[self.at :] == b"\n" and not self._exact else "INVALID"

    @property
    def _exact(self) -> bool:
        return self._dialect is _OPENMETRICS

    @property
    def _token(self) -> bytes:
        return self._line[self.start : self.at]

    def _fail(self, expected: str, got: str) -> NoReturn:
        end = min(len(self._line), self.at + 1)
        raise Malformed(
            f"{expected}, got {go_quote(self._line[self.start : end])} ({go_quote(got.encode())})"
            f" while parsing: {go_quote(self._line[:end])}"
        )

    def _so_far(self) -> str:
        return f"while parsing: {go_quote(self._line[: self.at])}"

    def sample(self, kind: int) -> Sample:
        pairs: list[tuple[str, str]] = []
        name = ""
        token = self._next(_SERIES)
        if token == "MNAME":
            name = self._token.decode()
            token = self._next(self._dialect.value)
            if token == "BOPEN":
                self._labels(pairs, name)
                token = self._next(self._dialect.value)
        elif token == "BOPEN":
            name = self._labels(pairs, "")
            token = self._next(self._dialect.value)
            if not name:
                raise Malformed(f"metric name not set {self._so_far()}")
        else:
            self._fail("expected a valid start token", token)
        if token != "VALUE":
            self._fail("expected value after metric", token)
        value = self._float()
        time_ms, exemplar = self._time_and_exemplar()
        return Sample(_labels_of(name, pairs, kind), value, time_ms, exemplar)

    def _labels(self, pairs: list[tuple[str, str]], name: str) -> str:
        """Reads behind a brace into *pairs*; the metric name, which may stand among them."""
        token = self._next(_LABELS)
        while True:
            if token == "BCLOSE":
                return name
            if token not in ("LNAME", "QSTRING"):
                self._fail("expected label name", token)
            quoted = token == "QSTRING"
            text = _unquote(self._token) if quoted else self._token.decode()
            token = self._next(_LABELS)
            if quoted and token in ("COMMA", "BCLOSE"):
                if name:
                    raise Malformed(f"metric name already set {self._so_far()}")
                name = text
                if token == "COMMA":
                    token = self._next(_LABELS)
                continue
            if token != "EQUAL":
                self._fail("expected equal", token)
            token = self._next(_LVALUE)
            if token != "LVALUE":
                self._fail("expected label value", token)
            pairs.append((text, _unquote(self._token)))
            token = self._next(_LABELS)
            if token == "COMMA":
                token = self._next(_LABELS)
            elif self._exact and token != "BCLOSE":
                self._fail("expected comma or brace close", token)

    def _float(self) -> float:
        text = self._token.removeprefix(b" ").decode(errors="replace")
        try:
            return floats.parse(text)
        except ValueError as error:
            raise Malformed(f"{error} {self._so_far()}") from None

    def _time_and_exemplar(self) -> tuple[int | None, Exemplar | None]:
        token = self._next(self._dialect.time)
        time_ms = None
        if token == "TIMESTAMP":
            time_ms = self._seconds("timestamp") if self._exact else self._milliseconds()
            token = self._next(self._dialect.time)
            if token not in ("LINEBREAK", "COMMENT"):
                self._fail("expected next entry after timestamp", token)
        if token == "COMMENT":
            return time_ms, self._exemplar()
        if token != "LINEBREAK":
            what = "# symbol" if self._exact else "new record"
            self._fail(f"expected timestamp or {what}", token)
        return time_ms, None

    def _milliseconds(self) -> int:
        text = self._token.decode()
        if len(text) > 19 or int(text) >= 2**63:
            error = f"strconv.ParseInt: parsing {go_quote(self._token)}: value out of range"
            raise Malformed(f"{error} {self._so_far()}")
        return int(text)

    def _seconds(self, what: str) -> int:
        seconds = self._float()
        if not abs(seconds) < MAX_SECONDS:
            raise Malformed(f"invalid {what} {self._token.strip().decode(errors='replace')}")
        return round(seconds * 1000)

    def _exemplar(self) -> Exemplar:
        """Reads the exemplar behind `` # {``."""
        pairs: list[tuple[str, str]] = []
        self._labels(pairs, "exemplars have no name")
        if (token := self._next(self._dialect.value)) != "VALUE":
            self._fail("expected value after exemplar labels", token)
        value = self._float()
        time_ms = None
        token = self._next(self._dialect.time)
        if token == "TIMESTAMP":
            time_ms = self._seconds("exemplar timestamp")
            token = self._next(self._dialect.time)
            if token != "LINEBREAK":
                self._fail("expected next entry after exemplar timestamp", token)
        elif token != "LINEBREAK":
            self._fail("expected timestamp or comment", token)
        return Exemplar(Labels.of(dict(pairs)).key, value, time_ms)

    def comment(self) -> tuple[str, str, str] | None:
        head = (
            rb"# (HELP|TYPE|UNIT) |# EOF\n" if self._exact else rb"\s*+#[ \t]++(HELP|TYPE)[ \t]++"
        )
        match = re.match(head, self._line)
        if match is None:
            if self._exact:
                self._fail("expected a valid start token", "INVALID")
            return None
        self.at = match.end()
        if match[1] is None:
            return "eof", "", ""
        word = match[1].decode()
        token = self._next(_META)
        if token != "MNAME":
            self._fail(f"expected metric name after {word}", token)
        name = _unquote(self._token) if self._token[:1] == b'"' else self._token.decode()
        rest = self._line[self.at : -1]
        if rest[:1] not in ((b" ",) if self._exact else (b" ", b"\t", b"")):
            raise Malformed(f"expected text in {word}")
        return word.lower(), name, self._described(word, name, rest[1:])

    def _described(self, word: str, name: str, rest: bytes) -> str:
        """The text of a HELP, TYPE or UNIT line for the metric family *name*."""
        if word == "TYPE":
            kind = self._dialect.types.get(rest)
            if kind is None:
                raise Malformed(f"invalid metric type {go_quote(rest)}")
            return kind
        try:
            text = rest.decode()
        except UnicodeDecodeError:
            raise Malformed(f"help text {go_quote(rest)} is not a valid utf8 string") from None
        if word == "UNIT":
            if text and not name.endswith(f"_{text}"):
                unit, metric = go_quote(rest), go_quote(name.encode())
                raise Malformed(f"unit {unit} not a suffix of metric {metric}")
            return text
        return _unescape(text) if self._exact else re.sub(r"\\([\\n])", _escaped, text)


_META = _rules(MNAME=_METRIC + b"|" + _QUOTED)


def _labels_of(name: str, pairs: list[tuple[str, str]], kind: int) -> Labels:
    """The labels of a sample; Malformed where one stands twice or has no name."""
    bound = BOUNDS.get(kind)
    if bound is not None:
        pairs = [(n, bound_text(value) if n == bound else value) for n, value in pairs]
    names = [METRIC_NAME, *(label for label, _ in pairs)]
    if len(set(names)) < len(names):
        twice = next(label for at, label in enumerate(names) if label in names[:at])
        raise Malformed(f"label name {go_quote(twice.encode())} is not unique: invalid sample")
    if "" in names:
        shown = ", ".join(f"{quote_name(n)}={go_quote(v.encode())}" for n, v in pairs)
        raise Malformed(f"invalid metric name or labels, got {{{shown}}}: empty label name")
    return Labels([(METRIC_NAME, name), *pairs])


def bound_text(text: str) -> str:
    """How the value of ``le`` or ``quantile`` is kept: 1 and 1.00 are both ``1.0``."""
    try:
        return floats.openmetrics_text(floats.parse(text))
    except ValueError:
        return text


def _unquote(token: bytes) -> str:
    """The text of a quoted token; Malformed where it is not UTF-8."""
    try:
        return _unescape(token[1:-1].decode())
    except UnicodeDecodeError:
        raise Malformed(f"invalid UTF-8 label value: {go_quote(token)}") from None


def _unescape(text: str) -> str:
    return re.sub(r'\\([\\"n])', _escaped, text) if "\\" in text else text


def _escaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def go_quote(raw: bytes) -> str:
    """*raw* as Go's ``%q`` prints it, cut off; bytes that are not UTF-8 as ``\\xff``."""
    out = []
    if len(raw) > _MAX_QUOTED_BYTES:
        raw = raw[:_MAX_QUOTED_BYTES] + b"..."
    for char in raw.decode(errors="surrogateescape"):
        if "\udc80" <= char <= "\udcff":
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char == "\x7f":
            out.append("\\x7f")
        else:
            out.append(json.dumps(char, ensure_ascii=False)[1:-1])
    return '"' + "".join(out) + '"'
