"""The record of changes tells a time that is never too late, whatever it has forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tsdb import changes
from tsdb.changes import EVERYTHING_MS, NOTHING_MS, Changes

_times = st.one_of(st.integers(0, 100_000), st.just(EVERYTHING_MS))


@examples(300)
@given(st.lists(_times, max_size=60), st.integers(4, 12), st.sampled_from([1, 1000]))
def test_what_is_told_is_never_too_late(times_ms: list[int], most: int, near_ms: int) -> None:
    """At most the earliest time of the changes since; just that where nothing was thinned out."""
    known = Changes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes, "_MAX_KNOWN", most)
        patch.setattr(changes, "_NEAR_MS", near_ms)
        for time_ms in times_ms:
            known.note(time_ms)
    for version in range(len(times_ms) + 1):
        expected = min(times_ms[version:], default=NOTHING_MS)
        told = known.earliest_since(version)
        assert told <= expected
        if len(times_ms) <= most and near_ms == 1:
            assert told == expected
        if expected == NOTHING_MS:
            assert told == NOTHING_MS


def test_the_record_stays_short_and_the_recent_sharp() -> None:
    """Of a hundred thousand seconds of rising times the last minute is known sharply."""
    known = Changes()
    for second in range(100_000):
        known.note(1000 * second)
    assert len(known._versions) <= changes._MAX_KNOWN
    for ago in (1, 10, 60):
        assert known.earliest_since(known.version - ago) == 1000 * (100_000 - ago)
    for ago in (3600, 50_000):
        told = known.earliest_since(known.version - ago)
        assert 1000 * (100_000 - 1.2 * ago) <= told <= 1000 * (100_000 - ago)


def test_many_rounds_a_second_are_one_change() -> None:
    """What is known does not depend on how many writes there are."""
    known = Changes()
    for at in range(10_000):
        known.note(1_000_000 + at // 20)
    assert len(known._versions) == 1
    assert known.earliest_since(9_999) == 1_000_000


def test_everything_is_before_all_times() -> None:
    """Who looked before hears that anything may have changed; who looks later does not."""
    known = Changes()
    known.note(5)
    known.note_everything()
    version = known.version
    known.note(7)
    assert known.earliest_since(version - 1) == EVERYTHING_MS
    assert known.earliest_since(version) == 7
    assert known.earliest_since(known.version) == NOTHING_MS
