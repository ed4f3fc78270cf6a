"""The script runner itself: it reads the whole format and lets no wrong answer pass."""

import math

import pytest

from series.histogram import (
    CUSTOM_SCHEMA,
    GAUGE,
    NOT_RESET,
    OFFSET,
    RESET,
    UNKNOWN,
    Histogram,
)
from series.labels import Labels
from tests.promqltest_compare import almost_equal, same_value
from tests.promqltest_format import (
    Eval,
    Load,
    Notice,
    ScriptError,
    parse_script,
    parse_values,
    unquote,
)
from tests.promqltest_histograms import Literal, parse_histogram, with_read_hints
from tests.promqltest_runner import Store, run_script

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
    """A literal's fields are read, buckets in ascending order of what they take."""
    text = (
        "{{schema:1 count:9 sum:3 z_bucket:2 z_bucket_w:0.5 buckets:[1 2] offset:-1"
        " n_buckets:[3 1] n_offset:2 counter_reset_hint:gauge}}"
    )
    buckets = (-(OFFSET + 3), 1), (-(OFFSET + 2), 3), (OFFSET - 1, 1), (OFFSET, 2)
    assert parse_histogram(text) == Literal(1, 9, 3, 0.5, 2, buckets, (), GAUGE, True)
    custom = parse_histogram("{{schema:-53 custom_values:[5 10] buckets:[1 4]}}")
    assert custom == Literal(
        CUSTOM_SCHEMA, buckets=((OFFSET, 1), (OFFSET + 1, 4)), bounds=(5, 10), states_hint=False
    )


def test_histograms_are_expanded() -> None:
    """A step adds or takes away bucket by bucket, in the resolution of the first histogram."""
    one, two = parse_values(
        "{{schema:0 count:2 buckets:[1 1]}}+{{schema:1 count:1 buckets:[1 2]}}x1"
    )
    assert one == Literal(count=2, buckets=((OFFSET, 1), (OFFSET + 1, 1)))
    assert two == Literal(count=3, buckets=((OFFSET, 2), (OFFSET + 1, 3)))
    *_, less = parse_values("{{count:3 sum:5}}-{{count:1 sum:2}}x1")
    assert less == Literal(count=2, sum=3)


@pytest.mark.parametrize(
    "text", ["{{}}+1x1", "{{schema:1}}+{{}}x1", "{{schema:-53 custom_values:[1]}}+{{}}x1"]
)
def test_histograms_that_do_not_add_up_are_refused(text: str) -> None:
    """A step of another kind or in a coarser resolution breaks the format."""
    with pytest.raises(ValueError, match="add up"):
        parse_values(text)


def test_histograms_are_compared_as_upstream() -> None:
    """Empty buckets and a hint that is not stated do not matter, all else does."""
    wanted = parse_histogram("{{count:2 sum:1 buckets:[1 0 1]}}")
    same = Histogram(count=2, sum=1.0000001, buckets=((OFFSET, 1), (OFFSET + 2, 1)), hint=RESET)
    assert same_value(wanted, same)
    assert not same_value(parse_histogram("{{count:2 sum:1 buckets:[1 1]}}"), same)
    assert not same_value(parse_histogram("{{count:2 sum:2 buckets:[1 0 1]}}"), same)
    stated = "{{count:2 sum:1 buckets:[1 0 1] counter_reset_hint:not_reset}}"
    assert not same_value(parse_histogram(stated), same)
    assert not same_value(wanted, 2.0) and not same_value(2.0, same)


def test_hints_are_those_that_a_database_gives() -> None:
    """Only gauges and histograms that follow without a reset are known for what they are."""
    counts: list[float | Histogram] = [
        Histogram(count=count, hint=hint)
        for count, hint in ((1, RESET), (2, UNKNOWN), (3, RESET), (2, NOT_RESET), (9, GAUGE))
    ]
    counts += [Histogram(count=9), 1.0, Histogram(count=10), Histogram(count=10, zero_threshold=1)]
    read = [value for _, value in with_read_hints(enumerate(counts))]
    assert [value.hint for value in read if isinstance(value, Histogram)] == [
        UNKNOWN, NOT_RESET, UNKNOWN, UNKNOWN, GAUGE, UNKNOWN, UNKNOWN, UNKNOWN
    ]  # fmt: skip


def test_classic_histograms_are_converted() -> None:
    """``load_with_nhcb`` adds a histogram with custom buckets for each classic one."""
    (load,) = parse_script(
        """
        load_with_nhcb 1m
          h_bucket{le="2",i="a"} 3 _
          h_bucket{le="1",i="a"} 1 _
          h_bucket{le="+Inf",i="a"} 3 _
          h_sum{i="a"} 7 8
          other 1
        """
    )
    assert isinstance(load, Load)
    store = Store()
    store.load(load)
    row = store.series[Labels.of({"__name__": "h", "i": "a"})]
    assert row == {
        0: Histogram(CUSTOM_SCHEMA, 3, 7, buckets=((OFFSET, 1), (OFFSET + 1, 2)), bounds=(1, 2)),
        60_000: Histogram(CUSTOM_SCHEMA, 0, 8),
    }
    assert len(store.series) == 6


def test_start_times_are_loaded() -> None:
    """The times of an ``@st`` line are counted from the samples that it speaks of."""
    (load,) = parse_script("load 1m\n m@st _ -30s -1m\n m 1 2 {{}}")
    assert isinstance(load, Load)
    store = Store()
    store.load(load)
    assert store.starts == {Labels.of({"__name__": "m"}): {60_000: 30_000, 120_000: 60_000}}


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
        ('eval instant at 1m m{i="1"}\n  m{i="1"} {{count:1}}', "expected Literal"),
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
