"""Matchers: RE2, anchored, a dot matches a newline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.matcher import (
    LONG_PATTERN,
    Matcher,
    MatchType,
    _compile_long,
    _literals_long,
    literal_alternatives,
)


@pytest.mark.parametrize(
    ("pattern", "text", "hit"),
    [
        ("a.c", "a\nc", True),
        ("a", "ab", False),
        ("a|b", "b", True),
        ("a|bc", "abc", False),
        ("", "", True),
        ("(?i)UP", "up", True),
        ("i-1.*", "i-12", True),
        (".+", "", False),
    ],
)
def test_regular_expressions_match_whole_values(pattern: str, text: str, hit: bool) -> None:
    """=~ is anchored on both sides and !~ is its opposite."""
    assert Matcher(MatchType.REGEX, "l", pattern).matches(text) is hit
    assert Matcher(MatchType.NOT_REGEX, "l", pattern).matches(text) is not hit


@given(
    st.sampled_from(MatchType),
    st.sampled_from(["", "a", "a|b", "a.*", "(a|b)c?", ".+"]),
    st.lists(st.sampled_from(["", "a", "b", "ac", "abc", "\n"])),
)
def test_many_values_match_as_each_alone(
    match_type: MatchType, pattern: str, texts: list[str]
) -> None:
    """matches_many is matches, value by value."""
    matcher = Matcher(match_type, "l", pattern)

    assert matcher.matches_many(texts).tolist() == [matcher.matches(text) for text in texts]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "missing closing ): `(a`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("a\\", "trailing backslash at end of expression"),
        (r"a(\C)", r"invalid escape sequence: `\C`"),
    ],
)
def test_a_malformed_expression_is_refused_in_gos_words(pattern: str, message: str) -> None:
    """The error reads as Go's regexp/syntax words it."""
    with pytest.raises(ValueError, match="error parsing regexp: ") as refused:
        Matcher(MatchType.REGEX, "l", pattern)

    assert message in str(refused.value)


@pytest.mark.parametrize(("pattern", "text"), [(r"\Q\C\E", r"\C"), (r"\\C", r"\C")])
def test_no_byte_is_asked_for_where_the_backslash_is_one(pattern: str, text: str) -> None:
    """Go has no ``\\C``; behind ``\\Q`` or a backslash it is two characters like any others."""
    assert Matcher(MatchType.REGEX, "l", pattern).matches(text)


def test_alternatives_of_literals_are_recognised() -> None:
    """Only patterns without any operator but | count as literals."""
    assert literal_alternatives("a|b|c-d") == frozenset(("a", "b", "c-d"))
    assert literal_alternatives("a.b") is None
    assert literal_alternatives("") == frozenset(("",))


def test_matching_many_texts_can_be_stopped() -> None:
    """*check* is called again and again, and what it raises ends the search."""
    matcher, calls = Matcher(MatchType.REGEX, "l", "(a+)+$"), 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        matcher.matches_many(["aaa"] * 1000, check)
    assert calls == 3
    assert matcher.matches_many(["aaa", "ab"] * 20).tolist() == [True, False] * 20


def test_few_long_patterns_are_kept() -> None:
    """A thousand queries with patterns of some KiB each do not fill the memory."""
    for number in range(100):
        Matcher(MatchType.REGEX, "l", f"{number}|" + "a.b|" * LONG_PATTERN).matches("x")
    assert _compile_long.cache_info().currsize <= 16
    assert _literals_long.cache_info().currsize <= 16


def test_a_long_pattern_is_not_repeated_in_full() -> None:
    """The complaint shows the beginning of what is wrong."""
    with pytest.raises(ValueError, match="missing closing") as refused:
        Matcher(MatchType.REGEX, "l", "(" + "a" * 100_000)
    assert len(str(refused.value)) < 1_200
