"""The script runner itself: it reads the whole format and lets no wrong answer pass."""

import math

import pytest

from series.labels import Labels
from tests.promqltest_compare import almost_equal
from tests.promqltest_format import (
    Eval,
    Histogram,
    Load,
    Notice,
    ScriptError,
    parse_script,
    parse_values,
    unquote,
)
from tests.promqltest_runner import run_script

DATA = """
load 30s
  m{i="1"} 1 2 3 4
  m{i="2"} 10 20 30 40
  gone 1 2 stale
"""


def _reason(eval_text: str) -> str:
    (outcome,) = run_script("a.test", f"{DATA}\n{eval_text}")
    return outcome.reason


def test_values_are_expanded() -> None:
    """Steps, repetitions, omissions and literals become one value a sample."""
    assert parse_values("1+2x2 5x1 _ _x2 -1-.5x1") == [1, 3, 5, 5, 5, None, None, None, -1, -1.5]
    assert parse_values("0x2 Inf -inf 1e3 1_000") == [0, 0, 0, math.inf, -math.inf, 1000, 1000]
    (nan,) = parse_values("stale")
    assert isinstance(nan, float) and math.isnan(nan)


def test_histogram_literals() -> None:
    """A histogram literal's fields are read, and a step adds bucket by bucket."""
    one, two = parse_values("{{schema:1 count:2 sum:3 buckets:[1 1]}}+{{count:1 buckets:[1]}}x1")
    assert one == Histogram(schema=1, count=2, sum=3, positive=((0, 1), (1, 1)))
    assert isinstance(two, Histogram) and (two.count, two.positive) == (3, ((0, 2), (1, 1)))


def test_commands() -> None:
    """Loads carry times and start timestamps, evals what they expect."""
    load, query = parse_script(
        """
        load 1m
          m{"a b"="c\\n"}@st _ -30s
          m{"a b"="c\\n"} 1 2

        # between two minutes
        eval range from 1m to 2m step 30s rate(m[1m])
          expect no_info
          expect warn msg: look out
          {i="1"} _ 1 2
        """
    )
    assert isinstance(load, Load) and isinstance(query, Eval)
    ((labels, samples),) = load.series
    assert labels == Labels.of({"__name__": "m", "a b": "c\n"})
    assert [(s.time_ms, s.value, s.start_ms) for s in samples] == [(0, 1, None), (60000, 2, 30000)]
    assert (query.start_ms, query.end_ms, query.step_ms) == (60_000, 120_000, 30_000)
    assert query.expects == {"no_info": [Notice()], "warn": [Notice("msg", "look out")]}
    assert query.series == [(Labels.of({"i": "1"}), [None, 1, 2])]


@pytest.mark.parametrize("text", ["load x\n m 1", "eval instant", "what\n", "load 1m\n m 1+2"])
def test_what_breaks_the_format_is_refused(text: str) -> None:
    """A malformed command names its line instead of being skipped."""
    with pytest.raises(ScriptError, match="line 1"):
        parse_script(text)


def test_strings_are_unquoted_as_promql_does() -> None:
    """All escapes of double-quoted strings, and none in back quotes."""
    assert unquote(r'"a\x41\u00e9\101\"\t"') == 'aAéA"\t'
    assert unquote(r"`\n`") == r"\n"


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1.0, 1.0000005, True),
        (1.0, 1.00001, False),
        (math.nan, math.nan, True),
        (math.nan, 1.0, False),
        (math.inf, math.inf, True),
        (math.inf, -math.inf, False),
        (0.0, 1e-300, False),
        (0.0, -0.0, True),
    ],
)
def test_tolerance(a: float, b: float, equal: bool) -> None:
    """Values may differ by a millionth, zero by nothing."""
    assert almost_equal(a, b) is equal


@pytest.mark.parametrize(
    "text",
    [
        'eval instant at 1m m\n  m{i="1"} 3\n  m{i="2"} 30',
        "eval instant at 1m gone",
        "eval instant at 1m 1 + 1\n  2",
        'eval instant at 1m "x"\n  expect string "x"',
        "eval_fail instant at 1m {}",
        "eval instant at 1m topk(1, m)\n  expect ordered\n  m{i='2'} 30",
        "eval range from 0 to 1m step 30s sum(m)\n  {} 11 22 33",
        'eval instant at 1m m{i="1"}[1m]\n  expect range vector from 30s to 1m step 30s\n'
        '  m{i="1"} 2 3',
    ],
)
def test_right_expectations_pass(text: str) -> None:
    """Every kind of expectation can be met."""
    assert _reason(text) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('eval instant at 1m m\n  m{i="1"} 3', "unexpected series"),
        ('eval instant at 1m m{i="1"}\n  m{i="1"} 3\n  m{i="2"} 30', "missing series"),
        ('eval instant at 1m m{i="1"}\n  m{i="1"} 3.1', "expected 3.1, got 3.0"),
        ('eval instant at 1m m{i="1"}\n  {i="1"} 3', "unexpected series"),
        ('eval instant at 1m m{i="1"}\n  m{i="1"} {{count:1}}', "expected a histogram"),
        ("eval instant at 1m m", "unexpected series"),
        ("eval instant at 1m 1 + 1\n  3", "expected 3.0, got 2.0"),
        ("eval instant at 1m vector(2)\n  2", "expected a scalar"),
        ("eval instant at 1m 2\n  {} 2", "expected a vector"),
        ('eval instant at 1m "x"\n  expect string "y"', "expected string"),
        ("eval instant at 1m up\n  expect fail", "expected an error, got none"),
        ("eval instant at 1m {}\n", "error: "),
        ("eval instant at 1m {}\n  expect fail msg: other", "another error"),
        ("eval instant at 1m rate(m[1m])\n  expect no_info", "unexpected info"),
        ("eval instant at 1m m\n  expect warn", "expected warn, got none"),
        ("eval range from 0 to 1m step 30s sum(m)\n  {} 11 _ 33", "expected points"),
        ("eval range from 0 to 1m step 30s sum(m)\n  {} 11 22 33 44", "more expected values"),
        ('eval instant at 1m topk(2, m)\n  expect ordered\n  m{i="1"} 3\n  m{i="2"} 30', "order"),
    ],
)
def test_wrong_expectations_fail(text: str, reason: str) -> None:
    """Every kind of mismatch is seen."""
    assert reason in _reason(text)


def test_left_out_samples_are_named() -> None:
    """An eval over samples that no source holds says which; others do not."""
    script = """
    load 1m
      h {{count:1}}
      m 1

    eval instant at 0 h

    eval instant at 0 m
      m 1
    """
    assert [o.missing for o in run_script("a.test", script)] == [("native histograms",), ()]
