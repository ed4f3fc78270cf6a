"""Exposition pages in text: what is read, what is refused, and in which words."""

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from series.labels import METRIC_NAME, Labels
from series.metadata import Metadata
from wire import exposition_lines as careful
from wire.errors import Malformed
from wire.exposition import Format, TextDecoder, decode, format_of
from wire.exposition_kernels import HISTOGRAM, OTHER_TYPE, SUMMARY
from wire.exposition_page import Scraped

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
NOW_MS = 1_700_000_000_000
Row = tuple[Labels, float, int | None]


def rows(page: Scraped) -> list[Row]:
    """(labels, value, explicit time or None) of each sample."""
    page.batch.check()
    assert (page.batch.offsets[1:] - page.batch.offsets[:-1] == 1).all()
    found = []
    for row in range(page.batch.series_count):
        time_ms = int(page.batch.row_times_ms(row)[0])
        assert page.explicit[row] or time_ms == NOW_MS
        labels = Labels.from_key(page.batch.key(row))
        assert labels.key == page.batch.key(row), "the key is canonical"
        value = float(page.batch.row_values(row)[0])
        found.append((labels, value, time_ms if page.explicit[row] else None))
    return found


def text(body: str | bytes) -> list[Row]:
    return rows(decode(body.encode() if isinstance(body, str) else body, TEXT, NOW_MS))


def openmetrics(body: str) -> list[Row]:
    return rows(decode(body.encode() + b"# EOF\n", OPENMETRICS, NOW_MS))


def labels(name: str, **pairs: str) -> Labels:
    return Labels.of({METRIC_NAME: name, **pairs})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("up 1\n", (labels("up"), 1.0, None)),
        ("up 1", (labels("up"), 1.0, None)),
        ("  up\t 1 \n", (labels("up"), 1.0, None)),
        ("up{} 1 123\n", (labels("up"), 1.0, 123)),
        ('up{a="b"} 1 123\n', (labels("up", a="b"), 1.0, 123)),
        ('up { b = "2" , a="1", } -1.5e3\n', (labels("up", a="1", b="2"), -1500.0, None)),
        ('up{A="upper sorts first"}3', (labels("up", A="upper sorts first"), 3.0, None)),
        ('up{a=""} 1', (labels("up"), 1.0, None)),
        ('up{a="\\"\\\\\\n"} 1', (labels("up", a='"\\\n'), 1.0, None)),
        ('up{a="ü"} 1', (labels("up", a="ü"), 1.0, None)),
        ('{"my.name",a="1"} 1', (labels("my.name", a="1"), 1.0, None)),
        ('up{"a.b"="1"} 1', (Labels.of({METRIC_NAME: "up", "a.b": "1"}), 1.0, None)),
        ("up +Inf", (labels("up"), math.inf, None)),
        ("up -Inf", (labels("up"), -math.inf, None)),
        ("up inf", (labels("up"), math.inf, None)),
        ("a:b 0.1", (labels("a:b"), 0.1, None)),
        ("up 123456789012345678901", (labels("up"), 123456789012345678901.0, None)),
        ("up 1e-320", (labels("up"), 1e-320, None)),
        ("up 1e99999999", None),
    ],
)
def test_text_lines(body: str, expected: Row | None) -> None:
    """Blanks, labels in any order, empty values, escapes, UTF-8 names, numbers."""
    if expected is None:
        with pytest.raises(Malformed, match="value out of range"):
            text(body)
    else:
        assert text(body) == [expected]


def test_a_page_has_descriptions_and_comments() -> None:
    """HELP and TYPE make metadata; other comments and blank lines nothing."""
    body = b"# HELP up Is it \\\\ up?\\nReally.\n# TYPE up gauge\n#\n# any\n\n \nup 1\n"
    page = decode(body + b"# TYPE x untyped\n", TEXT, NOW_MS)
    assert page.metadata == {
        "up": Metadata("gauge", "Is it \\ up?\nReally.", ""),
        "x": Metadata("unknown", "", ""),
    }
    assert rows(page) == [(labels("up"), 1.0, None)]


def test_bounds_are_printed_alike() -> None:
    """``le`` of histograms and ``quantile`` of summaries become Go's shortest with a point."""
    bounds = ["1", "1.00", "10.0", "+Inf", "1e6", "1000000", "0.00001", "abc", "-0", "0.0001", "07"]
    body = "# TYPE h histogram\n" + "".join(f'h_bucket{{le="{b}"}} 1\n' for b in bounds)
    assert [row[0].get("le") for row in text(body)] == [
        "1.0", "1.0", "10.0", "+Inf", "1e+06", "1e+06", "1e-05", "abc", "0.0", "0.0001", "7.0",
    ]  # fmt: skip
    body = '# TYPE s summary\ns{quantile="1",le="1",quantity="1"} 1\n# TYPE g gauge\ng{le="1"} 1\n'
    summary, gauge = text(body)
    assert summary[0] == labels("s", quantile="1.0", le="1", quantity="1")
    assert gauge[0] == labels("g", le="1")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("a", 'expected value after metric, got "\\n" ("LINEBREAK") while parsing: "a\\n"'),
        ("a{b='c'} 1", 'expected label value, got "\'" ("INVALID") while parsing: "a{b=\'"'),
        ("a{b=\n1", 'expected label value, got "\\n" ("LINEBREAK") while parsing: "a{b=\\n"'),
        ("a{ü} 1", 'expected label name, got "\\xc3" ("INVALID") while parsing: "a{\\xc3"'),
        ('a{=""} 0', 'expected label name, got "=\\"" ("EQUAL") while parsing: "a{=\\""'),
        ('a{b"c"} 0', "expected equal"),
        ("foo 1_2", 'unsupported character in float while parsing: "foo 1_2"'),
        ("foo 0x1p-3", "unsupported character in float"),
        ("foo 0 1_2", 'expected next entry after timestamp, got "_" ("INVALID")'),
        ("foo 0 -1", 'expected timestamp or new record, got "-" ("INVALID")'),
        ("foo 0 99999999999999999999", 'strconv.ParseInt: parsing "99999999999999999999"'),
        ("a true", 'strconv.ParseFloat: parsing "true": invalid syntax while parsing: "a true"'),
        ('{a="ok"} 1', 'metric name not set while parsing: "{a=\\"ok\\"} 1"'),
        ('a{"b"} 1', "metric name already set"),
        ('a{b="1",b="2"} 1', 'label name "b" is not unique: invalid sample'),
        ('a{__name__="2"} 1', 'label name "__name__" is not unique'),
        ('a{""="2"} 1', "empty label name"),
        ("# TYPE a widget", 'invalid metric type "widget"'),
        ("# TYPE 1a gauge", 'expected metric name after TYPE, got "1" ("INVALID")'),
        ("%", 'expected a valid start token, got "%" ("INVALID") while parsing: "%"'),
    ],
)
def test_text_errors(body: str, words: str) -> None:
    """Prometheus' words, with the number of the line before them."""
    with pytest.raises(Malformed) as error:
        text("up 1\n" + body + "\n")
    assert words in str(error.value)
    assert str(error.value).startswith("line 2: ")


def test_bytes_that_are_not_utf8() -> None:
    """In label values and help texts they are named."""
    with pytest.raises(Malformed, match=r'line 1: invalid UTF-8 label value: "\\"\\xff\\""'):
        text(b'a{b="\xff"} 1')
    with pytest.raises(Malformed, match=r'help text "\\xff" is not a valid utf8 string'):
        text(b"# HELP a \xff\n")


def test_every_nan_is_the_normal_one() -> None:
    """So nobody forges a stale marker."""
    page = decode(b"a NaN\nb nan\n", TEXT, NOW_MS)
    assert page.batch.values.view("u8").tolist() == [0x7FF8000000000001] * 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a 1", (labels("a"), 1.0, None)),
        ("a 1 1520879607.789", (labels("a"), 1.0, 1520879607789)),
        ("a 1 1395066363.001", (labels("a"), 1.0, 1395066363001)),
        ("a 1 1.5e9", (labels("a"), 1.0, 1_500_000_000_000)),
        ("a 1 -1.5", (labels("a"), 1.0, -1500)),
        ('a_total{b="c"} 1 # {id="1"} 0.5', (labels("a_total", b="c"), 1.0, None)),
        ('a_total 1 2 # {id="1",} 0.5 1.25', (labels("a_total"), 1.0, 2000)),
        ('{"a.b",c="d"} 1', (labels("a.b", c="d"), 1.0, None)),
    ],
)
def test_openmetrics_lines(body: str, expected: Row) -> None:
    """Times in seconds, exemplars, quoted names."""
    assert openmetrics(body + "\n") == [expected]


def test_openmetrics_exemplars_and_units() -> None:
    """Exemplars come with their series, units are metadata."""
    page = decode(
        b'# TYPE a_bytes counter\n# UNIT a_bytes bytes\n# HELP a_bytes Say \\"hi\\".\n'
        b'a_bytes_total 1 # {id="1"} 0.5\n'
        b'a_bytes_total{b="2"} 1 7.5 # {id="2",a="}"} 1.5 3.25\n'
        b'a_bytes_total{b="\\n"} 1 # {} 2.5\n# EOF\n',
        OPENMETRICS,
        NOW_MS,
    )
    exemplars = page.batch.exemplars
    assert exemplars is not None and page.exemplars == 3
    exemplars.check()
    assert exemplars.rows.tolist() == [0, 1, 2]
    assert exemplars.times_ms.tolist() == [NOW_MS, 3250, NOW_MS]
    assert exemplars.values.tolist() == [0.5, 1.5, 2.5]
    assert [Labels.from_key(exemplars.key(at)).as_dict() for at in range(3)] == [
        {"id": "1"},
        {"id": "2", "a": "}"},
        {},
    ]
    assert page.metadata == {"a_bytes": Metadata("counter", 'Say "hi".', "bytes")}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("a 1\n", "data does not end with # EOF"),
        ("", "data does not end with # EOF"),
        ("# EOF\na 1\n", "line 2: unexpected data after # EOF"),
        ("a 1\n\n# EOF\n", 'line 2: expected a valid start token, got "\\n" ("INVALID")'),
        ("a  1\n# EOF\n", "line 1: expected value after metric"),
        ("a\t1\n# EOF\n", "line 1: expected value after metric"),
        ("# comment\n# EOF\n", "line 1: expected a valid start token"),
        ('a{b="c" ,d="e"} 1\n# EOF\n', "line 1: expected comma or brace close"),
        ('a{b="c"d="e"} 1\n# EOF\n', "line 1: expected comma or brace close"),
        ("a 1 NaN\n# EOF\n", "line 1: invalid timestamp NaN"),
        ('a 1 # {b="c"}\n# EOF\n', "line 1: expected value after exemplar labels"),
        ("a 1 # {} 1 Inf\n# EOF\n", "line 1: invalid exemplar timestamp Inf"),
        ('a 1 # {"b"} 1\n# EOF\n', "line 1: metric name already set"),
        ("# TYPE a untyped\n# EOF\n", 'line 1: invalid metric type "untyped"'),
        ("# UNIT a seconds\n# EOF\n", 'line 1: unit "seconds" not a suffix of metric "a"'),
        ("a 1 2 3\n# EOF\n", "line 1: expected next entry after timestamp"),
    ],
)
def test_openmetrics_errors(body: str, words: str) -> None:
    """Stricter than text: single blanks, no empty lines, an end."""
    with pytest.raises(Malformed) as error:
        decode(body.encode(), OPENMETRICS, NOW_MS)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (TEXT, Format.TEXT),
        ("text/plain", Format.TEXT),
        (OPENMETRICS, Format.OPENMETRICS),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
            "encoding=delimited",
            Format.PROTOBUF,
        ),
        ("application/vnd.google.protobuf", None),
        ("text/html", None),
        ("", None),
    ],
)
def test_content_types(header: str, expected: Format | None) -> None:
    """Parameters and case do not matter, the protobuf message does."""
    assert format_of(header) is expected
    assert format_of(header.upper()) is expected


def test_bad_lines_are_named_and_the_rest_kept() -> None:
    """An import keeps what is sound and counts lines through all blocks."""
    decoder = TextDecoder(False, NOW_MS)
    first = decoder.feed(b'# TYPE h histogram\na 1\nb\nh_bucket{le="1"} 1\n')
    second = decoder.feed(b'h_bucket{le="2"} 1\n' + b"bad line here\n" * 20)
    decoder.finish()
    assert [row[0].metric for row in rows(first)] == ["a", "h_bucket"]
    assert [row[0].get("le") for row in rows(second)] == ["2.0"], "the type holds on"
    assert first.refused == {"malformed-line": 1}
    assert first.refusals[0].detail.startswith("line 3: expected value after metric")
    assert second.refused == {"malformed-line": 20}
    assert len(second.refusals) == 10
    assert second.refusals[0].detail.startswith("line 6: ")


NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,9}", fullmatch=True)
LABEL_NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,5}|le|quantile", fullmatch=True)
VALUES = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=5).map(str),
    st.sampled_from(["NaN", "+Inf", "-Inf", "1e5", "1E-5", ".5", "5."]),
)
LABEL_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def in_braces(pairs: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in pairs.items()) + "}"


@st.composite
def exemplars(draw: Any) -> str:
    pairs = draw(st.dictionaries(LABEL_NAMES, LABEL_TEXTS | st.just("0.5"), max_size=3))
    time = draw(st.sampled_from(["", " 1700000000.123", " 1", " x", " 1 2", " "]))
    return f" # {in_braces(pairs)} {draw(VALUES)}{time}"


@st.composite
def sample_lines(draw: Any) -> str:
    pairs = draw(st.dictionaries(LABEL_NAMES, LABEL_TEXTS | st.just("0.5"), max_size=5))
    braces = in_braces(pairs) if pairs or draw(st.booleans()) else ""
    time = draw(st.one_of(st.just(""), st.integers(0, 10**14).map(lambda t: f" {t}")))
    return f"{draw(NAMES)}{braces} {draw(VALUES)}{time}"


def same(a: Row, b: Row) -> bool:
    values = a[1] == b[1] or (math.isnan(a[1]) and math.isnan(b[1]))
    return a[0] == b[0] and values and a[2] == b[2]


@given(st.lists(sample_lines(), max_size=8))
def test_text_as_prometheus_client_reads_it(lines: list[str]) -> None:
    """The Python client's own parser finds the same samples."""
    body = "".join(line + "\n" for line in lines)
    expected = [
        (Labels.of({METRIC_NAME: s.name, **s.labels}), s.value, s.timestamp)
        for line in lines
        for family in text_string_to_metric_families(line + "\n")
        for s in family.samples
    ]
    found = text(body)
    assert len(found) == len(expected)
    for a, (name, value, seconds) in zip(found, expected, strict=True):
        time_ms = None if seconds is None else round(float(seconds) * 1000)
        assert same(a, (name, float(value), time_ms))


@given(st.lists(sample_lines(), min_size=1, max_size=8), st.sampled_from(["", "h", "s"]))
def test_the_kernel_and_the_careful_reader_agree(lines: list[str], kind: str) -> None:
    """Whatever the kernel reads itself, the careful reader reads alike, in both formats."""
    types = {"": b"", "h": b"# TYPE h histogram\n", "s": b"# TYPE s summary\n"}
    code = {"": OTHER_TYPE, "h": HISTOGRAM, "s": SUMMARY}
    for strict, ending in ((False, b""), (True, b"# EOF\n")):
        body = types[kind] + "".join(line + "\n" for line in lines).encode() + ending
        found = rows(decode(body, OPENMETRICS if strict else TEXT, NOW_MS))
        for row, line in zip(found, lines, strict=True):
            sample = careful.read_sample(line.encode(), strict, code[kind])
            assert same(row, (sample.labels, sample.value, sample.time_ms))


@given(sample_lines(), exemplars())
def test_exemplars_are_read_alike(line: str, exemplar: str) -> None:
    """By the kernel and by the careful reader: the same samples, counts and refusals."""
    page = TextDecoder(True, NOW_MS).feed(f"{line}{exemplar}\n".encode())
    try:
        sample = careful.read_sample((line + exemplar).encode(), True, OTHER_TYPE)
    except Malformed:
        assert page.refused == {"malformed-line": 1}
        return
    exemplars = page.batch.exemplars
    assert exemplars is not None and exemplars.size == 1
    assert not page.refused
    told = sample.exemplar
    assert told is not None
    when = page.batch.row_times_ms(0)[0] if told.time_ms is None else told.time_ms
    assert (exemplars.key(0), exemplars.times_ms[0]) == (told.key, when)
    assert repr(exemplars.values[0]) == repr(np.float64(told.value))
    assert same(rows(page)[0], (sample.labels, sample.value, sample.time_ms))


FRAGMENTS = st.sampled_from(
    [b"a", b"{", b"}", b'"', b"=", b",", b" ", b"\n", b"\\", b"1", b"e", b".", b"#", b"# TYPE ",
     b"# HELP ", b"# EOF", b"# UNIT ", b"\x00", b"\xff", b"\t", b'{a="b"}', b"Inf", b"NaN", b"le",
     b" # {", b"histogram", b"_", b"-", b"+", b"\r", b"\xc3\xbc"]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=40).map(b"".join), st.booleans())
def test_malformed_pages_never_break(body: bytes, strict: bool) -> None:
    """Any bytes are read or refused; what the strict reading accepts the patient one accepts."""
    content_type = OPENMETRICS if strict else TEXT
    patient = TextDecoder(strict, NOW_MS).feed(body)
    patient.batch.check()
    for row in range(patient.batch.series_count):
        Labels.from_key(patient.batch.key(row))
    try:
        page = decode(body, content_type, NOW_MS)
    except Malformed:
        return
    assert not patient.refused
    assert [a[0] for a in rows(page)] == [a[0] for a in rows(patient)]


def test_openmetrics_as_prometheus_client_reads_it() -> None:
    """A whole page of every type."""
    body = (
        "# HELP c help\n# TYPE c counter\nc_total{a=\"1\"} 17.0 1520879607.789\n"
        "c_created{a=\"1\"} 1.5 1520879607.789\n# TYPE g gauge\n# UNIT g \ng 1e-9\n"
        "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1 # {trace=\"x\"} 0.5\nh_bucket{le=\"+Inf\"} 2\n"
        "h_count 2\nh_sum 3.25\n# TYPE i info\ni_info{v=\"ü\\\"\\\\\"} 1\n"
        "# TYPE st stateset\nst{st=\"on\"} 1\nst{st=\"off\"} 0\n"
    )  # fmt: skip
    theirs = [
        (
            Labels.of({METRIC_NAME: s.name, **s.labels}),
            s.value,
            None if s.timestamp is None else round(float(s.timestamp) * 1000),
        )
        for family in openmetrics_families(body + "# EOF\n")  # type: ignore[no-untyped-call]
        for s in family.samples
    ]
    assert openmetrics(body) == theirs
