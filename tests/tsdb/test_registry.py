"""The registry gives every key one number and finds it again."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from series.batch import build_batch
from series.known import KnownRows, Numbering
from series.labels import Labels
from tests.examples import examples
from tsdb.head.registry import Registry

_labels = st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=40), max_size=4).map(
    Labels.of
)


@examples(30)
@given(st.lists(st.lists(_labels, max_size=12), max_size=6))
def test_numbers_are_those_of_a_dict(rounds: list[list[Labels]]) -> None:
    """Series are numbered in the order of their first appearance, whatever comes twice."""
    registry = Registry(b"seed")
    numbers: dict[bytes, int] = {}
    for series in rounds:
        batch = build_batch((labels, [0], [0.0]) for labels in series)
        ids, fingerprints = registry.look_up(batch)
        assert ids.tolist() == [numbers.get(labels.key, -1) for labels in series]
        new_rows = registry.add(batch, ids, fingerprints)
        expected_new = []
        for row, labels in enumerate(series):
            if labels.key not in numbers:
                numbers[labels.key] = len(numbers)
                expected_new.append(row)
        assert new_rows.tolist() == expected_new
        assert ids.tolist() == [numbers[labels.key] for labels in series]
    assert registry.size == len(numbers)
    assert [registry.key(number) for number in numbers.values()] == list(numbers)


def test_many_series_fill_the_table_and_are_all_found() -> None:
    """The table grows with its content and forgets nobody."""
    batch = build_batch((Labels.of({"n": str(n)}), [0], [0.0]) for n in range(5000))
    registry = Registry(b"seed")
    ids, fingerprints = registry.look_up(batch)
    registry.add(batch, ids, fingerprints)
    assert (registry.look_up(batch)[0] == range(5000)).all()
    assert len({tuple(pair) for pair in fingerprints.tolist()}) == 5000


def test_adopted_rows_are_known_under_new_numbers() -> None:
    """Keys and fingerprints come along; the others are unknown."""
    batch = build_batch((Labels.of({"n": str(n)}), [0], [0.0]) for n in range(100))
    registry = Registry(b"seed")
    ids, fingerprints = registry.look_up(batch)
    registry.add(batch, ids, fingerprints)
    chosen = ids.astype("int64")
    other = Registry(b"seed")
    other.adopt(registry, chosen[10:15])
    other.adopt(registry, chosen[15:20])
    found = other.look_up(batch)[0].tolist()
    assert found == [-1] * 10 + list(range(10)) + [-1] * 80
    assert other.key(3) == batch.key(13)
    assert (other.fingerprints == fingerprints[10:20]).all()


def test_fingerprints_depend_on_the_seed_and_on_every_byte() -> None:
    """Other seeds and keys that differ in a byte or in length have other fingerprints."""
    texts = ["", "a", "b", "a" * 7, "a" * 8, "a" * 9, "a" * 16, "a" * 17, "a" * 16 + "b"]
    batch = build_batch((Labels.of({"n": text or "x"}), [0], [0.0]) for text in texts)
    first = Registry(b"one").look_up(batch)[1]
    second = Registry(b"two").look_up(batch)[1]
    both = {tuple(pair) for pair in [*first.tolist(), *second.tolist()]}
    assert len(both) == 2 * len(texts)
    assert len({word for pair in both for word in pair}) == 4 * len(texts)


def test_rows_that_a_decoder_knew_are_not_looked_up() -> None:
    """Ids and fingerprints are those that a look-up of all finds; other numberings say nothing."""
    batch = build_batch((Labels.of({"n": str(n)}), [0], [0.0]) for n in range(9))
    registry = Registry(b"seed")
    for first, end in ((0, 3), (3, 6)):
        rows = np.arange(9)
        part = batch.take((rows >= first) & (rows < end))
        registry.add(part, *registry.look_up(part))
    expected_ids, expected = registry.look_up(batch)
    for decoded in ([0, 1, 2, 3, 4, 5, -1, -1, -1], [0, -1, 2, -1, -1, 5, -1, -1, -1]):
        known = KnownRows(registry.numbering, np.array(decoded, dtype=np.int32), False)
        again = replace(batch, known=known)
        found_ids, found = registry.look_up(again)
        assert found_ids.tolist() == expected_ids.tolist()
        assert (found == expected).all()
        assert not len(registry.ids_of(again))
    wrong = np.arange(9, dtype=np.int32)[::-1].copy()
    foreign = replace(batch, known=KnownRows(Numbering(), wrong, True))
    assert registry.look_up(foreign)[0].tolist() == expected_ids.tolist()
    assert not len(registry.ids_of(foreign))
    mine = replace(batch, known=KnownRows(registry.numbering, wrong, True))
    assert registry.ids_of(mine).tolist() == wrong.tolist()


def test_what_was_not_published_is_not_known() -> None:
    """Decoders see the series of the last publication, and those that another registry adopts."""
    batch = build_batch((Labels.of({"n": str(n)}), [0], [0.0]) for n in range(50))
    registry = Registry(b"seed")
    registry.add(batch, *registry.look_up(batch))
    assert registry.known.size == 0
    registry.publish()
    known = registry.known
    assert known.size == 50 and known.numbering is registry.numbering
    other = Registry(b"seed")
    other.adopt(registry, np.arange(10, 20))
    assert other.known.size == 10 and other.known.numbering is not known.numbering
