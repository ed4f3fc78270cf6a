"""Matchers: RE2, anchored, a dot matches a newline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.matcher import Matcher, MatchType, literal_alternatives


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
    ],
)
def test_a_malformed_expression_is_refused_in_gos_words(pattern: str, message: str) -> None:
    """The error reads as Go's regexp/syntax words it."""
    with pytest.raises(ValueError, match="error parsing regexp: ") as refused:
        Matcher(MatchType.REGEX, "l", pattern)

    assert message in str(refused.value)


def test_alternatives_of_literals_are_recognised() -> None:
    """Only patterns without any operator but | count as literals."""
    assert literal_alternatives("a|b|c-d") == frozenset(("a", "b", "c-d"))
    assert literal_alternatives("a.b") is None
    assert literal_alternatives("") == frozenset(("",))
