"""Pages that we write are read back by the readers of pages."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from series.frame import LabelFrame
from series.histogram import GAUGE, OFFSET, Histogram
from series.labels import Labels
from wire.exposition_write import Exposed, protobuf_page, text_page
from wire.protobuf import fields, varint


def test_text_pages_are_read_by_the_python_client() -> None:
    """Names, escaped values, times and values come through; each name has its type line once."""
    series = [
        {"__name__": "a", "path": 'x\\y\n"z"'},
        {"__name__": "a", "path": "z"},
        {"__name__": "b"},
    ]
    frame = LabelFrame.from_labels([Labels.of(labels) for labels in series])
    page = text_page(frame, [1_500, 2_000, 0], ["1.5", "+Inf", "3"]).decode()
    assert page.count("# TYPE") == 2
    families = list(text_string_to_metric_families(page))
    found = [
        (s.name, s.labels, s.value, s.timestamp) for family in families for s in family.samples
    ]
    assert found == [
        ("a", {"path": 'x\\y\n"z"', "instance": ""}, 1.5, 1.5),
        ("a", {"path": "z", "instance": ""}, float("inf"), 2.0),
        ("b", {"instance": ""}, 3.0, 0.0),
    ]


def test_names_beyond_the_classic_syntax_are_quoted() -> None:
    """A name with dots moves into the braces."""
    labels = Labels.of({"__name__": "a.b", "c.d": "e", "instance": "f"})
    page = text_page(LabelFrame.from_labels([labels]), [1], ["1"])
    assert page == b'# TYPE "a.b" untyped\n{"a.b","c.d"="e",instance="f"} 1 1\n'


def messages(page: bytes) -> list[dict[int, list[int | bytes]]]:
    """The fields of each length-delimited message."""
    found, at = [], 0
    while at < len(page):
        size, at = varint(page, at)
        fields_of: dict[int, list[int | bytes]] = {}
        for number, _, value in fields(page[at : at + size]):
            fields_of.setdefault(number, []).append(value)
        found.append(fields_of)
        at += size
    return found


def test_protobuf_families_split_by_name_and_kind() -> None:
    """Floats are untyped; histograms, and those of the gauge kind, are families of their own."""
    name = {"__name__": "m"}
    samples = [
        Exposed(Labels.of({**name, "a": "1"}), 5, 1.5),
        Exposed(Labels.of({**name, "a": "2"}), 5, 2.5),
        Exposed(Labels.of({**name, "a": "3"}), 5, Histogram(buckets=((OFFSET + 1, 2.0),))),
        Exposed(Labels.of({**name, "a": "4"}), 5, Histogram(hint=GAUGE)),
    ]
    found = messages(protobuf_page(samples))
    assert [(one[3], len(one[4])) for one in found] == [([3], 2), ([4], 1), ([5], 1)]
    assert all(one[1] == [b"m"] for one in found)
    assert all(b"\n\x08instance\x12\x00" in bytes(found[0][4][0]) for one in found)


@pytest.mark.parametrize("hint", [0, GAUGE])
def test_an_empty_histogram_has_a_span(hint: int) -> None:
    """Without a span a reader would take it for a classic one."""
    page = protobuf_page([Exposed(Labels.of({"__name__": "m"}), 5, Histogram(hint=hint))])
    (metric,) = messages(page)[0][4]
    assert isinstance(metric, bytes)
    (histogram,) = [value for number, _, value in fields(metric) if number == 7]
    assert isinstance(histogram, bytes)
    assert [number for number, _, _ in fields(histogram)].count(12) == 1
