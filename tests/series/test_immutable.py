"""Immutable types: equal and hashed by their fields, without room for others."""

from dataclasses import field, replace

import pytest

from series.immutable import immutable


@immutable
class Pair:
    first: int
    second: str = "b"
    note: list[int] = field(default_factory=list, compare=False)


def test_fields_decide_what_is_equal() -> None:
    """As in a frozen dataclass; a field may stand aside."""
    assert Pair(1) == Pair(1, "b", [2])
    assert hash(Pair(1)) == hash(Pair(1, "b", [2]))
    assert Pair(1) != Pair(1, "c")
    assert replace(Pair(1), second="c") == Pair(1, "c")
    assert Pair(1).note is not Pair(1).note


def test_there_is_no_room_for_other_attributes() -> None:
    """Slots keep objects small, and mistakes from hiding."""
    with pytest.raises(AttributeError):
        Pair(1).third = 3  # type: ignore[attr-defined]
