"""The interner and the times of resources, each against a few lines of plain Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wire.otlp_intern import Interner
from wire.otlp_rows_kernels import time_ranges

texts = st.binary(max_size=20) | st.sampled_from([b"", b"a", b"a" * 8, b"a" * 9, b"a" * 8 + b"b"])
pairs = st.tuples(texts, st.integers(-1, 2))


@given(st.lists(st.lists(pairs, max_size=60), max_size=4), st.data())
def test_equal_texts_below_equal_parents_have_one_number(
    calls: list[list[tuple[bytes, int]]], data: st.DataObject
) -> None:
    """Ids count up in the order of first sight, whatever was asked before and in which order."""
    interner = Interner()
    known: dict[tuple[bytes, int], int] = {}
    for asked in calls:
        for again in (asked, asked, data.draw(st.permutations(asked))):
            expected = [
                -1 if parent < 0 else known.setdefault((text, parent), len(known))
                for text, parent in again
            ]

            assert _ids(interner, again) == expected
    for (text, parent), one in known.items():
        assert (interner.text(one), interner.parent(one)) == (text, parent)


def test_numbers_stay_while_the_tables_grow() -> None:
    """Thousands of new texts move nothing that was there."""
    interner = Interner()
    for count in (1, 40, 3000, 3000):
        asked = [(b"text-%d" % (number * number), number % 3) for number in range(count)]

        assert _ids(interner, asked) == list(range(count))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(-5, 5), st.integers(0, 3)), max_size=20),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
    st.lists(st.integers(0, 1), min_size=3, max_size=3),
)
def test_a_resource_reaches_from_its_first_to_its_last_chosen_point(
    points: list[tuple[bool, int, int]], scopes: list[int], resources: list[int]
) -> None:
    """Its range is that of the chosen points below it, and empty where there are none."""
    chosen = np.array([good for good, _, _ in points], dtype=np.bool_)
    times_ms = np.array([at for _, at, _ in points], dtype=np.int64)
    metrics = np.array([metric for _, _, metric in points], dtype=np.int64)
    earliest, latest = np.empty(2, dtype=np.int64), np.empty(2, dtype=np.int64)
    time_ranges(chosen, times_ms, metrics, np.array(scopes), np.array(resources), earliest, latest)
    for resource in range(2):
        of_it = [
            at for good, at, metric in points if good and resources[scopes[metric]] == resource
        ]
        if of_it:
            assert (earliest[resource], latest[resource]) == (min(of_it), max(of_it))
        else:
            assert latest[resource] < earliest[resource]


def _ids(interner: Interner, asked: list[tuple[bytes, int]]) -> list[int]:
    """The ids of (text, parent) pairs that lie end to end."""
    ends = np.cumsum([0, *(len(text) for text, _ in asked)], dtype=np.int64)
    data = np.frombuffer(b"".join(text for text, _ in asked), dtype=np.uint8).copy()
    parents = np.array([parent for _, parent in asked], dtype=np.int64)
    ids: list[int] = interner.ids(data, ends[:-1], ends[1:], parents).tolist()
    return ids
