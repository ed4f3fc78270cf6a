"""Labels and their canonical key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.labels import Labels, decode_key, quote

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=200)
PAIRS = st.dictionaries(TEXT.filter(bool), TEXT, max_size=6)


@given(PAIRS)
def test_a_key_reads_back_as_the_same_labels(pairs: dict[str, str]) -> None:
    """The canonical key holds everything that labels hold, empty values left out."""
    labels = Labels.of(pairs)

    assert Labels.from_key(labels.key) == labels
    assert labels.as_dict() == {name: value for name, value in pairs.items() if value}


@given(PAIRS, st.data())
def test_a_damaged_key_is_refused_or_other_labels(
    pairs: dict[str, str], data: st.DataObject
) -> None:
    """A cut key never reads as the whole labels and never fails other than by ValueError."""
    key = Labels.of(pairs).key
    cut = key[: data.draw(st.integers(0, max(0, len(key) - 1)))]

    try:
        read = decode_key(cut)
    except ValueError:
        return
    assert len(read) < len(Labels.of(pairs)) or not key


def test_a_name_that_stands_twice_is_refused() -> None:
    """Duplicate names are an error even with equal values."""
    with pytest.raises(ValueError, match='duplicate label name "a"'):
        Labels([("a", "1"), ("a", "1")])


def test_labels_print_as_prometheus_prints_them() -> None:
    """Sorted pairs, Go-quoted values, quoted names where the classic syntax needs it."""
    labels = Labels.of({"job": 'a"b\n', "__name__": "up", "http.code": "200"})

    assert str(labels) == '{__name__="up", "http.code"="200", job="a\\"b\\n"}'
    assert quote("tab\t") == '"tab\\t"'


def test_order_is_name_then_value_then_length() -> None:
    """A label set that is a prefix of another comes first."""
    a, b, c = Labels.of({"a": "1"}), Labels.of({"a": "1", "b": "1"}), Labels.of({"b": "0"})

    assert sorted([c, b, a]) == [a, b, c]
