"""What is remembered of pushed groups."""

import pytest

from server.doors import push_groups
from server.doors.push_groups import PushGroups

A = ("acme", (("job", "a"),))
B = ("acme", (("job", "b"),))
SERIES = {b"1": "up", b"2": "down"}


def test_what_a_later_push_lacks_is_gone() -> None:
    """All of it, or only that of the named metrics; other groups do not matter."""
    groups = PushGroups()
    assert groups.gone(A, {}, None) == []
    groups.put(A, SERIES, [], 5)
    assert groups.gone(A, {b"2": "down", b"3": "up"}, None) == [b"1"]
    assert groups.gone(A, {}, frozenset({"down"})) == [b"2"]
    assert groups.gone(B, {}, None) == []
    groups.put(A, {b"3": "up"}, [b"1"], 6)
    assert groups.gone(A, {}, None) == [b"2", b"3"]
    assert groups.series_count == 2


def test_times_of_a_group_rise() -> None:
    """However fast pushes follow each other."""
    groups = PushGroups()
    groups.put(A, SERIES, [], 5)
    assert groups.next_time_ms(A, 5) == 6
    assert groups.next_time_ms(A, 9) == 9
    assert groups.next_time_ms(B, 5) == 5


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The groups pushed to longest ago go first, by count of groups and of series."""
    monkeypatch.setattr(push_groups, "MAX_GROUPS", 2)
    groups = PushGroups()
    for job in ("a", "b", "a", "c"):
        groups.put(("acme", (("job", job),)), SERIES, [], 1)
    assert len(groups) == 2
    assert groups.gone(B, {}, None) == []
    assert groups.gone(A, {}, None) == [b"1", b"2"]
    monkeypatch.setattr(push_groups, "MAX_GROUP_SERIES", 3)
    groups.put(A, SERIES, [], 2)
    assert len(groups) == 1
    assert groups.series_count == 2
