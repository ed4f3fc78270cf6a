"""LabelFrame against plain lists of Labels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from series.frame import LabelFrame, shared_group_ids
from series.labels import Labels

LABELS = st.dictionaries(
    st.sampled_from(["__name__", "a", "b", "c", "zone"]), st.sampled_from(["", "x", "y", "ä", "zz"])
).map(Labels.of)
SERIES = st.lists(LABELS, max_size=12)


@given(SERIES)
def test_a_frame_gives_back_its_labels(series: list[Labels]) -> None:
    """Rows read back as they were put in, one by one and all at once."""
    frame = LabelFrame.from_labels(series)

    assert frame.all_labels() == series
    assert [frame.labels(row) for row in range(frame.size)] == series
    assert frame.texts("a") == [labels.get("a") for labels in series]


@given(SERIES)
def test_the_sort_order_is_that_of_labels(series: list[Labels]) -> None:
    """Sorting by columns equals sorting Labels, missing names included."""
    frame = LabelFrame.from_labels(series)

    assert [series[row] for row in frame.sort_order()] == sorted(series)


@given(SERIES, st.sets(st.sampled_from(["a", "b", "zone", "nowhere"])))
def test_groups_are_equal_labels(series: list[Labels], names: set[str]) -> None:
    """Two rows share a group exactly when the kept labels are equal; first rows represent it."""
    ids, first = LabelFrame.from_labels(series).drop(names).group_ids()
    reduced = [labels.without(names) for labels in series]

    distinct = list(dict.fromkeys(reduced))
    assert ids.tolist() == [distinct.index(labels) for labels in reduced]
    assert [reduced[row] for row in first] == distinct


@given(SERIES, SERIES)
def test_groups_are_shared_across_frames(left: list[Labels], right: list[Labels]) -> None:
    """The same labels in two frames get the same id although their dictionaries differ."""
    frames = [LabelFrame.from_labels(left), LabelFrame.from_labels(right)]

    (left_ids, right_ids), count = shared_group_ids(frames)

    assert count == len(set(left) | set(right))
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            assert (left_ids[i] == right_ids[j]) == (a == b)


@given(SERIES, st.data())
def test_taking_and_concatenating_rows(series: list[Labels], data: st.DataObject) -> None:
    """take and concat move whole rows."""
    frame = LabelFrame.from_labels(series)
    picks = data.draw(st.lists(st.integers(0, len(series) - 1))) if series else []
    rows = np.array(picks, dtype=np.int64)

    both = LabelFrame.concat([frame.take(rows), frame])

    assert both.all_labels() == [series[pick] for pick in picks] + series


@given(SERIES)
def test_setting_and_dropping_labels_in_some_rows(series: list[Labels]) -> None:
    """set_texts writes one label in every row; drop_where removes labels where the mask says."""
    frame = LabelFrame.from_labels(series)
    texts = [f"v{row % 3}" if row % 4 else "" for row in range(len(series))]
    mask = np.arange(len(series)) % 2 == 0

    set_rows = frame.set_texts("a", texts).all_labels()
    dropped = frame.drop_where(["a", "b"], mask).all_labels()

    for row, labels in enumerate(series):
        assert set_rows[row] == Labels.of({**labels.as_dict(), "a": texts[row]})
        assert dropped[row] == (labels.without(["a", "b"]) if mask[row] else labels)


def test_parts_of_one_frame_join_without_comparing_texts() -> None:
    """Slices keep the dictionary of the whole, so joining them again does too."""
    whole = LabelFrame.from_labels([Labels.of({"a": str(n), "b": "x"}) for n in range(9)])
    joined = LabelFrame.concat([whole.take(slice(0, 4)), whole.take(slice(4, 9))])
    assert joined.all_labels() == whole.all_labels()
    assert all(joined.columns[name].values is whole.columns[name].values for name in "ab")
