"""Durations: text to milliseconds and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.durations import format_duration_ms, parse_duration_ms


@given(st.integers(0, 10 * 365 * 86_400_000))
def test_a_printed_duration_reads_back(duration_ms: int) -> None:
    """Printing loses nothing."""
    assert parse_duration_ms(format_duration_ms(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("1h30m", 5_400_000), ("1y", 31_536_000_000), ("2w1d", 1_296_000_000), ("0", 0), ("15ms", 15)],
)
def test_durations_read_as_prometheus_reads_them(text: str, duration_ms: int) -> None:
    """Units from the longest to the shortest; a year is 365 days."""
    assert parse_duration_ms(text) == duration_ms


@pytest.mark.parametrize("text", ["", "5", "1.5h", "1m1h", "1h1h", "-5m", "5 m", "300y"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Fractions, repeated or misordered units, missing units and overflow are errors."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(691_200_000, "8d"), (604_800_000, "1w"), (300_000, "5m"), (90_061_001, "1d1h1m1s1ms")],
)
def test_durations_print_as_go_prints_them(duration_ms: int, text: str) -> None:
    """Weeks and years are used only when nothing is left over."""
    assert format_duration_ms(duration_ms) == text
