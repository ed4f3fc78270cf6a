"""LabelIndex selects what a loop over all series would select."""

import threading
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.batch import build_batch
from series.labels import Labels
from series.matcher import Matcher, MatchType
from tests.examples import examples
from tsdb.label.interner import Interner
from tsdb.label.postings import LabelIndex

_names = st.sampled_from(["__name__", "job", "zone", "ö"])
_values = st.sampled_from(["a", "b", "ab", "ünï\nx", "x" * 200, "0"])
_series = st.dictionaries(_names, _values, max_size=4).map(Labels.of)
_patterns = st.sampled_from(["a|b", ".*", ".+", "a.*", "", "(a|)", "[^a]", "x+", "nothing", "a|"])
_matchers = st.one_of(
    st.builds(
        Matcher,
        st.sampled_from([MatchType.EQUAL, MatchType.NOT_EQUAL]),
        st.sampled_from(["__name__", "job", "zone", "ö", "absent"]),
        st.one_of(_values, st.sampled_from(["", "unknown"])),
    ),
    st.builds(
        Matcher,
        st.sampled_from([MatchType.REGEX, MatchType.NOT_REGEX]),
        st.sampled_from(["__name__", "job", "zone", "ö", "absent"]),
        _patterns,
    ),
)


def _append(index: LabelIndex, series: Iterable[Labels]) -> int:
    batch = build_batch([(labels, [], []) for labels in series])
    return index.append(batch.keys, batch.key_starts, batch.key_ends)


def _wanted(series: list[Labels], matchers: list[Matcher]) -> list[int]:
    return [
        row
        for row, labels in enumerate(series)
        if all(matcher.matches(labels.get(matcher.name)) for matcher in matchers)
    ]


def _check(index: LabelIndex, series: list[Labels], matchers: list[Matcher], limit: int) -> None:
    rows = index.select(matchers, limit)
    assert rows.tolist() == _wanted(series[:limit], matchers)
    assert index.frame(rows).all_labels() == [series[row] for row in rows.tolist()]
    matching = [series[row] for row in rows.tolist()]
    assert sorted(index.label_names(rows)) == sorted({n for one in matching for n, _ in one})
    assert sorted(index.label_values("job", rows)) == sorted(
        {one.get("job") for one in matching} - {""}
    )


@examples(50)
@given(
    st.lists(st.lists(_series, max_size=30), max_size=4),
    st.lists(st.lists(_matchers, max_size=3), min_size=1, max_size=4),
    st.data(),
)
def test_selects_what_a_loop_over_all_series_selects(
    rounds: list[list[Labels]], selectors: list[list[Matcher]], data: st.DataObject
) -> None:
    """All matcher types on a growing index and on one loaded from columns, with a row limit."""
    index = LabelIndex()
    series: list[Labels] = []
    for fresh in rounds:
        assert _append(index, fresh) == len(series)
        series += fresh
        for matchers in selectors:
            _check(index, series, matchers, data.draw(st.integers(0, len(series))))
    batch = build_batch([(labels, [], []) for labels in series])
    interner = Interner()
    interner.append(batch.keys, batch.key_starts, batch.key_ends)
    assert index.in_label_order(np.arange(len(series))).tolist() == sorted(
        range(len(series)), key=series.__getitem__
    )
    loaded = LabelIndex.load(interner.table())
    for matchers in selectors:
        _check(loaded, series, matchers, len(series))
    assert index.size == loaded.size == len(series)


def _many(count: int) -> list[Labels]:
    return [
        Labels.of({"__name__": f"m{i % 3}", "job": f"j{i % 40}", "pod": f"pod-{i}"})
        for i in range(count)
    ]


def test_postings_and_the_rows_behind_them_agree() -> None:
    """Selection is right before, at and after each rebuilding of the postings."""
    series = _many(4000)
    index = LabelIndex()
    selectors = [
        [Matcher(MatchType.EQUAL, "job", "j7")],
        [Matcher(MatchType.REGEX, "pod", "pod-1.*"), Matcher(MatchType.EQUAL, "__name__", "m1")],
        [Matcher(MatchType.NOT_EQUAL, "job", "j7"), Matcher(MatchType.REGEX, "job", "j1|j7|j9")],
        [Matcher(MatchType.REGEX, "pod", ".+")],
    ]
    for start in range(0, 4000, 400):
        _append(index, series[start : start + 400])
        for matchers in selectors:
            known = series[: start + 400]
            assert index.select(matchers).tolist() == _wanted(known, matchers)
            assert index.select(matchers, 100).tolist() == _wanted(known[:100], matchers)


def test_selecting_goes_on_while_another_thread_appends() -> None:
    """What was published before a selection began is always found, whatever is added meanwhile."""
    series = _many(6000)
    index = LabelIndex()
    _append(index, series[:100])
    failures: list[str] = []
    done = threading.Event()

    def read() -> None:
        matchers = [
            Matcher(MatchType.REGEX, "pod", "pod-[0-9]+"),
            Matcher(MatchType.EQUAL, "job", "j3"),
        ]
        while not done.is_set():
            limit = index.size
            rows = index.select(matchers, limit)
            texts = index.frame(rows).texts("pod")
            if texts != [f"pod-{row}" for row in range(3, limit, 40)]:
                failures.append(f"{limit} rows: {texts}")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(100, 6000, 100):
        _append(index, series[start : start + 100])
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []


def test_a_frame_of_few_rows_does_not_carry_every_value() -> None:
    """The dictionary of a column stays in proportion to the rows asked for."""
    index = LabelIndex()
    _append(index, _many(2000))
    column = index.frame(np.array([5, 1999])).columns["pod"]
    assert column.values == ("", "pod-1999", "pod-5") or column.values == ("", "pod-5", "pod-1999")


@pytest.mark.parametrize(
    "key",
    [
        b"\x0a",
        b"\x0b\x02",
        b"\x0a\x05\x0a\x01x",
        b"\x0a\xff\xff\xff\xff\xff",
        b"\x0a\x06\x0b\x01x\x12\x01y",
        b"\x0a\x06\x0a\x09x\x12\x01y",
        b"\x0a\x06\x0a\x01x\x13\x01y",
        b"\x0a\x06\x0a\x01x\x12\x02y",
        b"\x0a\x06\x0a\x01x\x12\x00y",
        b"\x0a\x06\x0a\x01x\x12\x01\xff",
        b"\x0a\x06\x0a\x01\xff\x12\x01y",
    ],
)
def test_a_malformed_key_appends_nothing(key: bytes) -> None:
    """A key that is no key is refused by its position, and the index stays as it was."""
    index = LabelIndex()
    _append(index, [Labels.of({"a": "b"})])
    good = Labels.of({"c": "d"}).key
    with pytest.raises(ValueError, match="malformed series key"):
        index.append(
            np.frombuffer(good + key, dtype=np.uint8),
            np.array([0, len(good)]),
            np.array([len(good), len(good) + len(key)]),
        )
    assert index.size == 1
    assert _append(index, [Labels.of({"c": "d"})]) == 1
    assert index.frame(np.array([0, 1])).all_labels() == [
        Labels.of({"a": "b"}),
        Labels.of({"c": "d"}),
    ]
