"""What accompanies a query."""

import time

import pytest

from series.ports import Context, QueryCanceled, QueryTimeout, StorageError, TooManySamples


def test_a_part_ends_with_the_whole() -> None:
    """Cancelled by whoever holds the whole, at its deadline, by its budget, as strict as it is."""
    whole = Context(deadline=time.monotonic() + 1000, max_samples=5, strict=True)
    part = whole.apart()
    part.check()
    whole.cancelled.set()
    with pytest.raises(QueryCanceled):
        part.check()
    with pytest.raises(TooManySamples):
        part.hold(6)
    with pytest.raises(StorageError, match="a file"):
        part.damaged("a file")
    with pytest.raises(QueryTimeout):
        Context(deadline=0.0).apart().check()


def test_parts_hear_and_count_by_themselves_until_they_are_joined() -> None:
    """Then everything counts once, in the order of joining, beside what is held at that time."""
    whole = Context(max_samples=10)
    whole.samples_read, whole.step_samples = 1, {1: 1}
    whole.warn("first")
    whole.hold(4)
    parts = [whole.apart() for _ in range(2)]
    for number, part in reversed([*enumerate(parts, 1)]):
        assert part.step_samples == {} and not part.warnings and not part.samples_read
        part.samples_read = number
        part.step_samples = {number: 2}
        part.warn(f"of {number}")
        part.hold(number)
        part.touched_disk = number == 1
    assert whole.warnings == {"first": None} and not whole.touched_disk
    for part in parts:
        whole.join(part, 6)
    assert [*whole.warnings] == ["first", "of 1", "of 2"]
    assert whole.samples_read == 4 and whole.step_samples == {1: 3, 2: 2}
    assert whole.touched_disk and whole.peak_samples == 8
    with pytest.raises(TooManySamples):
        whole.join(parts[1], 9)
