"""Influx line protocol."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.labels import METRIC_NAME, Labels
from wire.errors import Malformed
from wire.exposition_page import Scraped
from wire.influx import InfluxDecoder

NOW_MS = 1_700_000_000_000
Rows = list[tuple[dict[str, str], float, int | None]]


def rows(page: Scraped) -> Rows:
    page.batch.check()
    found: Rows = []
    for row in range(page.batch.series_count):
        time_ms = int(page.batch.row_times_ms(row)[0])
        assert page.explicit[row] or time_ms == NOW_MS
        labels = Labels.from_key(page.batch.key(row)).as_dict()
        value = float(page.batch.row_values(row)[0])
        found.append((labels, value, time_ms if page.explicit[row] else None))
    return found


def read(text: str, precision: str = "", db: str = "") -> Rows:
    page = InfluxDecoder(NOW_MS, precision, db).feed(text.encode())
    assert not page.refused, page.refusals
    return rows(page)


def named(name: str, **pairs: str) -> dict[str, str]:
    return {METRIC_NAME: name, **pairs}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m f=1", [(named("m_f"), 1.0, None)]),
        ("m,a=b f=1", [(named("m_f", a="b"), 1.0, None)]),
        (" m,b=2,a=1 f=1,g=2  ", [(named("m_f", a="1", b="2"), 1.0, None),
                                  (named("m_g", a="1", b="2"), 2.0, None)]),
        ("m f=1i,g=-2i,h=3u", [(named("m_f"), 1.0, None), (named("m_g"), -2.0, None),
                               (named("m_h"), 3.0, None)]),
        ("m f=t,g=FALSE", [(named("m_f"), 1.0, None), (named("m_g"), 0.0, None)]),
        ("m f=-1.5e-3 1465839830100400200", [(named("m_f"), -0.0015, 1465839830100)]),
        ("m f=1 -1", [(named("m_f"), 1.0, -1)]),
        ('m s="text, with = \\" all",f=2', [(named("m_f"), 2.0, None)]),
        ('m s="only"', []),
        ("m\\ x\\,y,a\\ b=c\\,d\\=e f\\ g=1", [
            ({METRIC_NAME: "m x,y_f g", "a b": "c,d=e"}, 1.0, None)]),
        ("m,p=C:\\dir f=1", [(named("m_f", p="C:\\dir"), 1.0, None)]),
        ("m,a= f=1", [(named("m_f"), 1.0, None)]),
        ("mü,ä=ö f=1", [({METRIC_NAME: "mü_f", "ä": "ö"}, 1.0, None)]),
        ("m f=1\r", [(named("m_f"), 1.0, None)]),
        ("# a comment\n\nm f=1\n", [(named("m_f"), 1.0, None)]),
    ],
)  # fmt: skip
def test_lines(line: str, expected: Rows) -> None:
    """Tags, escapes, every kind of field, times in nanoseconds."""
    assert read(line) == expected


@pytest.mark.parametrize(
    ("precision", "time", "time_ms"),
    [("ns", 1_700_000_000_123_456_789, 1_700_000_000_123), ("u", 1_700_000_000_123_456,
      1_700_000_000_123), ("ms", 5, 5), ("s", 5, 5000), ("m", 5, 300_000), ("h", 1, 3_600_000)],
)  # fmt: skip
def test_precisions(precision: str, time: int, time_ms: int) -> None:
    """The unit of times, by name."""
    assert read(f"m f=1 {time}", precision) == [(named("m_f"), 1.0, time_ms)]


def test_an_unknown_precision_is_malformed() -> None:
    """Before anything is read."""
    with pytest.raises(Malformed, match='invalid precision "x"'):
        InfluxDecoder(NOW_MS, "x")


def test_the_database_is_a_label() -> None:
    """Unless a tag says otherwise."""
    assert read("m f=1\nm,db=own f=1", db="d") == [
        (named("m_f", db="d"), 1.0, None),
        (named("m_f", db="own"), 1.0, None),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("m", "missing fields or malformed tags"),
        ("m,a f=1", "missing fields or malformed tags"),
        ("m,=b f=1", "missing fields or malformed tags"),
        (",a=b f=1", "missing fields or malformed tags"),
        ("m f", "invalid field format"),
        ("m f=1,", "invalid field format"),
        ("m f=1,,g=2", "invalid field format"),
        ('m f="open', "invalid field format"),
        ("m f=x", 'invalid number: "x"'),
        ("m f=NaN", 'invalid number: "NaN"'),
        ("m f=1e999", 'invalid number: "1e999"'),
        ("m f=1_0", 'invalid number: "1_0"'),
        ("m f=1 x", 'bad timestamp: "x"'),
        ("m f=1 1 2", 'bad timestamp: "1 2"'),
        ("m f=1 9223372036854775808", "bad timestamp"),
        ("m,a=1,a=2 f=1", 'duplicate tag "a"'),
        ("m,__name__=2 f=1", 'duplicate tag "__name__"'),
    ],
)
def test_bad_lines_are_named(line: str, words: str) -> None:
    """By number; the others, before and behind, are kept."""
    decoder = InfluxDecoder(NOW_MS)
    first = decoder.feed(f"ok f=1\n{line}\nok f=2\n".encode())
    assert [value for _, value, _ in rows(first)] == [1.0, 2.0]
    assert first.refused == {"malformed-line": 1}
    assert first.refusals[0].detail.startswith("line 2: ")
    assert words in first.refusals[0].detail
    second = decoder.feed(line.encode())
    assert second.refusals[0].detail.startswith("line 4: ")


def test_a_bad_field_takes_its_line_along() -> None:
    """A line is stored whole or not at all."""
    assert rows(InfluxDecoder(NOW_MS).feed(b"m f=1,g=x")) == []


def test_texts_are_counted() -> None:
    """Skipped, not refused."""
    decoder = InfluxDecoder(NOW_MS)
    decoder.feed(b'm a="x",b="y",f=1')
    assert decoder.skipped_texts == 2


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)


def escape(text: str) -> str:
    for char in ", =":
        text = text.replace(char, f"\\{char}")
    return text


@given(
    TEXTS.filter(lambda text: "\\" not in text and text[0] != "#"),
    st.dictionaries(TEXTS.filter(lambda text: "\\" not in text), TEXTS, max_size=4),
    st.dictionaries(
        TEXTS.filter(lambda text: "\\" not in text),
        st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 2**62),
)
def test_what_is_written_is_read(
    name: str, tags: dict[str, str], fields: dict[str, float], time_ns: int
) -> None:
    """A line written by the rules of the format comes back as it was."""
    tags = {key: value.replace("\\", "/") for key, value in tags.items() if key != METRIC_NAME}
    head = escape(name) + "".join(f",{escape(k)}={escape(v)}" for k, v in tags.items())
    body = ",".join(f"{escape(key)}={value!r}" for key, value in fields.items())
    found = read(f"{head} {body} {time_ns}")
    assert [row[0] for row in found] == [{METRIC_NAME: f"{name}_{key}", **tags} for key in fields]
    assert all(
        a == b and math.copysign(1, a) == math.copysign(1, b)
        for (_, a, _), b in zip(found, fields.values(), strict=True)
    )
    assert {row[2] for row in found} == {time_ns // 1_000_000}


PIECES = st.sampled_from(
    [b"m", b",", b"=", b" ", b"\\", b'"', b"1", b"i", b"\n", b"\xff", b"#", b"t"]
)


@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_malformed_lines_never_break(body: bytes) -> None:
    """Any bytes are read or refused."""
    rows(InfluxDecoder(NOW_MS).feed(body))
