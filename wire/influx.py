"""Influx line protocol: ``measurement,tag=a field=1,other=2i 1700000000000000000``.

Grammar: docs.influxdata.com, line protocol reference. Each number field becomes the sample of a
series named ``measurement_field`` with the tags as labels, as VictoriaMetrics names them; booleans
are 1 and 0, texts are skipped. A line break ends a line even within a text field.
"""

import re
from dataclasses import dataclass, field

from series.labels import METRIC_NAME, Labels, quote
from wire.errors import Malformed
from wire.exposition_page import MALFORMED_LINE, Scraped, single_samples

PRECISIONS = {
    "": 1, "ns": 1, "n": 1,
    "us": 1_000, "u": 1_000, "µ": 1_000, "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}  # fmt: skip
"""The unit of times in nanoseconds, by the name that writers give it."""

_MAX_KNOWN = 100_000
_MAX_SHOWN = 100

_HEAD = re.compile(rb"((?:\\.|[^\\, ])++)((?:,(?:\\.|[^\\,= ])++=(?:\\.|[^\\,= ])*+)*+) ++")
_TAG = re.compile(rb",((?:\\.|[^\\,=])++)=((?:\\.|[^\\,=])*+)")
_FIELD = re.compile(rb'((?:\\.|[^\\,= ])++)=("(?:\\.|[^\\"])*+"|[^, "]++)(,|(?= )|$)')
_NUMBER = re.compile(rb"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_INTEGER = re.compile(rb"([+-]?[0-9]{1,20})[iu]")
_TIME = re.compile(rb"[+-]?[0-9]{1,19}")
_BOOLEANS = {
    b"t": 1.0, b"T": 1.0, b"true": 1.0, b"True": 1.0, b"TRUE": 1.0,
    b"f": 0.0, b"F": 0.0, b"false": 0.0, b"False": 0.0, b"FALSE": 0.0,
}  # fmt: skip


@dataclass(slots=True)
class _Samples:
    """The samples of a block so far."""

    keys: list[bytes] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times_ms: list[int | None] = field(default_factory=list)


class InfluxDecoder:
    """Reads lines in blocks; ``skipped_texts`` counts text fields."""

    def __init__(self, now_ms: int, precision: str = "", db: str = "") -> None:
        """Lines without a time get *now_ms*; a *db* becomes a label where no tag is called so.

        Malformed where *precision* is none of PRECISIONS.
        """
        if precision not in PRECISIONS:
            raise Malformed(f"invalid precision {quote(precision[:_MAX_SHOWN])}")
        self._now_ms = now_ms
        self._unit_ns = PRECISIONS[precision]
        self._db = db
        self._lines_before = 0
        self._known: dict[tuple[bytes, bytes], bytes] = {}
        self.skipped_texts = 0

    def feed(self, block: bytes) -> Scraped:
        """Decodes *block*, which holds whole lines; bad ones are refused and named."""
        page = Scraped(*single_samples((), (), (), self._now_ms))
        samples = _Samples()
        lines = block.split(b"\n")
        for number, line in enumerate(lines, self._lines_before + 1):
            text = line.strip(b" \t\r")
            if not text or text.startswith(b"#"):
                continue
            try:
                self._line(text, samples)
            except Malformed as error:
                detail = f"line {number}: {error}"
                page.refuse(MALFORMED_LINE, detail, Labels(), 0)
        self._lines_before += len(lines) - (lines[-1] == b"")
        page.batch, page.explicit = single_samples(
            samples.keys, samples.values, samples.times_ms, self._now_ms
        )
        return page

    def _line(self, line: bytes, samples: _Samples) -> None:
        """Reads one line into *samples*, all of it or nothing; Malformed says why."""
        head = _HEAD.match(line)
        if head is None:
            raise Malformed(f"missing fields or malformed tags: {_shown(line)}")
        at = head.end()
        found = []
        texts = 0
        while True:
            match = _FIELD.match(line, at)
            if match is None:
                raise Malformed(f"invalid field format: {_shown(line[at:])}")
            at = match.end()
            value = _value(match[2])
            if value is None:
                texts += 1
            else:
                found.append((self._key(head[0], match[1]), value))
            if match[3] != b",":
                break
        time_ms = self._time_ms(line[at:].strip())
        self.skipped_texts += texts
        for key, number in found:
            samples.keys.append(key)
            samples.values.append(number)
            samples.times_ms.append(time_ms)

    def _time_ms(self, text: bytes) -> int | None:
        if not text:
            return None
        if not _TIME.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
            raise Malformed(f"bad timestamp: {_shown(text)}")
        time_ms = int(text) * self._unit_ns // 1_000_000
        if not -(2**62) < time_ms < 2**62:
            raise Malformed(f"time outside range: {_shown(text)}")
        return time_ms

    def _key(self, head: bytes, name: bytes) -> bytes:
        """The key of the series; heads repeat, so what was assembled is remembered."""
        if (known := self._known.get((head, name))) is not None:
            return known
        if len(self._known) == _MAX_KNOWN:
            self._known.clear()
        key = self._known[head, name] = self._labels(head, name).key
        return key

    def _labels(self, head: bytes, field_name: bytes) -> Labels:
        match = _HEAD.match(head)
        assert match is not None
        measurement, tags = match[1], match[2]
        pairs = [
            (METRIC_NAME, f"{_text(measurement)}_{_text(field_name)}"),
            *((_text(name), _text(value)) for name, value in _TAG.findall(tags)),
        ]
        if self._db and all(name != "db" for name, _ in pairs):
            pairs.append(("db", self._db))
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            twice = next(name for at, name in enumerate(names) if name in names[:at])
            raise Malformed(f"duplicate tag {quote(twice)}")
        return Labels(pairs)


def _value(text: bytes) -> float | None:
    """The number of a field's text; None for a text in quotes."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        if abs(number) != float("inf"):
            return number
    elif match := _INTEGER.fullmatch(text):
        return float(int(match[1]))
    elif text in _BOOLEANS:
        return _BOOLEANS[text]
    elif text[:1] == b'"':
        return None
    raise Malformed(f"invalid number: {_shown(text)}")


def _text(raw: bytes) -> str:
    """A name or a tag's value without its escapes: only blanks, commas and = are escaped."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Malformed(f"invalid UTF-8: {_shown(raw)}") from None
    return re.sub(r"\\([ ,=])", r"\1", text) if "\\" in text else text


def _shown(raw: bytes) -> str:
    return quote(raw[:_MAX_SHOWN].decode(errors="replace"))
