"""Hypothesis strategies for the twin: small databases, windows, and queries that suit them.

Queries are made as text from the same few metrics, labels and values as the data, so that
selectors find something, groups meet, and matching sometimes fails.
"""

from dataclasses import dataclass
from itertools import product

from hypothesis import strategies as st

from series.batch import STALE_NAN
from series.labels import METRIC_NAME, Labels

Database = dict[Labels, list[tuple[int, float]]]

_METRICS = ("a", "b", "c_total")
_TICKS_MS = st.sampled_from([5_000, 15_000, 60_000, 7_777])
_NUMBERS = st.one_of(
    st.integers(-3, 20).map(float),
    st.sampled_from([0.1, 2.5, -0.5, 1e9, 1 / 3]),
    st.floats(-1e6, 1e6),
)
_ODD = st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 1e308, -1e308, 5e-324])
_STALE = st.just(STALE_NAN)


_LABEL_SETS = [
    Labels.of({METRIC_NAME: metric, "x": x, "y": y})
    for metric, x, y in product(_METRICS, ("", "1", "2"), ("", "p", "q"))
]


@st.composite
def sample_rows(draw: st.DrawFn, *, odd: bool) -> list[tuple[int, float]]:
    """Samples on a regular tick with gaps, resets and, if *odd*, values that are not ordinary."""
    tick_ms = draw(_TICKS_MS)
    first_ms = draw(st.integers(0, 6)) * 10_000
    values = draw(
        st.lists(
            st.one_of(_NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS, _STALE, st.none(), *[_ODD][:odd]),
            min_size=4,
            max_size=24,
        )
    )
    if draw(st.booleans()):  # a counter: rises by what was drawn and falls where that is negative
        total, counted = 0.0, []
        for value in values:
            if value is not None and abs(value) < 1e7:
                total = total + value if value >= 0 else 0.0
                counted.append(total)
            else:
                counted.append(value)
        values = counted
    return [(first_ms + n * tick_ms, v) for n, v in enumerate(values) if v is not None]


@st.composite
def databases(draw: st.DrawFn) -> Database:
    odd = draw(st.booleans())
    names = draw(st.lists(st.sampled_from(_LABEL_SETS), min_size=3, max_size=9, unique=True))
    rows = {labels: draw(sample_rows(odd=odd)) for labels in names}
    if draw(st.booleans()):
        rows |= draw(classic_histograms())
    return rows


@st.composite
def classic_histograms(draw: st.DrawFn) -> Database:
    """Buckets that mostly rise with ``le`` and sometimes break the rules."""
    bounds = draw(st.lists(st.sampled_from(["-1", "0", "0.5", "1", "2.5", "10"]), unique=True))
    if draw(st.integers(0, 9)):
        bounds.append("+Inf")
    out: Database = {}
    for x in draw(st.sampled_from([("1",), ("1", "2")])):
        counts = draw(st.lists(st.integers(0, 9), min_size=len(bounds), max_size=len(bounds)))
        if draw(st.integers(0, 9)):
            counts.sort()
        for bound, count in zip(sorted(bounds, key=float), counts, strict=True):
            labels = Labels.of({METRIC_NAME: "h_bucket", "x": x, "le": bound})
            out[labels] = [(n * 30_000, float(count * n)) for n in range(10)]
    return out


@dataclass(frozen=True)
class Span:
    """The instants of a query, in ms; an instant query where the ends are equal."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def is_range(self) -> bool:
        return self.end_ms > self.start_ms


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start_ms = draw(
        st.one_of(st.integers(4, 30).map(lambda n: n * 15_000), st.integers(0, 500_000))
    )
    if draw(st.booleans()):
        return Span(start_ms, start_ms, 1)
    step_ms = draw(st.sampled_from([1_000, 15_000, 30_000, 60_000, 77_777]))
    return Span(start_ms, start_ms + draw(st.integers(1, 8)) * step_ms, step_ms)


# --- queries ---------------------------------------------------------------------------------

_DURATIONS = st.sampled_from(["15s", "30s", "1m", "1m30s", "5m", "10m", "47s", "1ms"])
_STEPS = st.sampled_from(["15s", "30s", "1m", "13s", ""])
_MATCHERS = st.sampled_from(
    [
        *["", "", "", "", "{}", '{x="1"}', '{x!="1"}', '{x=""}'],
        *['{y=~"p|q"}', '{y!~"p.*"}', '{x=~".+",y="q"}'],
    ]
)
_MODIFIERS = st.sampled_from(
    [
        *[""] * 8,
        *[" offset 1m", " offset -45s", " offset 15s", " @ 300", " @ 120 offset 30s"],
        *[" @ start()", " @ end()"],
    ]
)
_GROUPINGS = st.sampled_from(
    [
        *["", "by ()", "by (x)", "by (x, y)", "by (__name__)", "by (nolabel)"],
        *["without (x)", "without ()", "without (x, y)"],
    ]
)
_MATCHINGS = st.sampled_from(
    [
        *["", "", "", "on (x)", "on (x, y)", "on ()"],
        *["ignoring (x)", "ignoring (y)", "ignoring (x, y)"],
        *["on (x) group_left ()", "on (x) group_right ()", "on (x) group_left (y)"],
        *["on (x) group_right (y)", "ignoring (y) group_left (y)", "ignoring (x) group_right ()"],
    ]
)
_SET_MATCHINGS = st.sampled_from(["", "on (x)", "on ()", "ignoring (y)", "on (__name__)"])
_ARITHMETIC = st.sampled_from(["+", "-", "*", "/", "%"])
_COMPARISONS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
_BOOL = st.sampled_from(["", "bool"])
_ROLLUPS = st.sampled_from(
    [f"{name}_over_time" for name in ("avg", "sum", "min", "max", "count", "present", "last")]
    + [f"{name}_over_time" for name in ("stddev", "stdvar", "first", "mad", "absent")]
    + [f"ts_of_{name}_over_time" for name in ("first", "last", "min", "max")]
    + ["rate", "increase", "delta", "irate", "idelta", "changes", "resets", "deriv"]
)
_FOLDS = st.sampled_from(["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group"])
_CONSTANTS = st.sampled_from(["0", "1", "2", "-1", "0.5", "NaN", "Inf", "1e9", "time()"])
_EXACT = st.sampled_from(
    ["abs", "ceil", "floor", "sgn", "sort", "sort_desc", "timestamp", "absent"]
)
_CLOCKS = st.sampled_from(["minute", "hour", "day_of_week", "day_of_month", "month", "year"])


@st.composite
def selectors(draw: st.DrawFn) -> str:
    return draw(st.sampled_from([*_METRICS, "a", "b", '{x=~".+"}'])) + draw(_MATCHERS)


@st.composite
def ranges(draw: st.DrawFn, depth: int) -> str:
    if depth <= 0 or draw(st.integers(0, 3)):
        return f"{_braced(draw(selectors()))}[{draw(_DURATIONS)}]{draw(_MODIFIERS)}"
    inner = draw(vectors(depth - 1))
    return f"({inner})[{draw(_DURATIONS)}:{draw(_STEPS)}]{draw(_MODIFIERS)}"


def _braced(selector: str) -> str:
    """One pair of braces at most: ``{a}{b}`` is no selector."""
    return selector.replace("}{}", "}").replace("}{", ", ")


@st.composite
def vectors(draw: st.DrawFn, depth: int) -> str:
    """The text of an instant vector expression of at most *depth* nested operations."""
    if depth <= 0:
        return _braced(draw(selectors())) + draw(_MODIFIERS)
    kind = draw(st.sampled_from(_KINDS))
    return draw(kind(depth - 1))


@st.composite
def _rollup(draw: st.DrawFn, depth: int) -> str:
    window = draw(ranges(depth))
    name = draw(_ROLLUPS)
    if name == "deriv" and draw(st.booleans()):
        return f"predict_linear({window}, {draw(st.sampled_from(['60', '-30', '0']))})"
    if name == "mad_over_time" and draw(st.booleans()):
        return f"quantile_over_time({draw(st.sampled_from(['0', '0.3', '1', '2']))}, {window})"
    if name == "deriv" and draw(st.booleans()):
        return f"double_exponential_smoothing({window}, 0.5, 0.25)"
    return f"{name}({window})"


@st.composite
def _aggregation(draw: st.DrawFn, depth: int) -> str:
    inner, grouping = draw(vectors(depth)), draw(_GROUPINGS)
    other = draw(st.integers(0, 5))
    if other == 0:
        return f"quantile {grouping} ({draw(st.sampled_from(['0.5', '0', '0.9']))}, {inner})"
    if other == 1:
        return f'count_values {grouping} ("x", {inner})'
    if other == 2:
        k = draw(st.sampled_from(["1", "2", "0", "3"]))
        return f"{draw(st.sampled_from(['topk', 'bottomk', 'limitk']))} {grouping} ({k}, {inner})"
    return f"{draw(_FOLDS)} {grouping} ({inner})"


@st.composite
def _binary(draw: st.DrawFn, depth: int) -> str:
    left, right = draw(vectors(depth)), draw(vectors(depth))
    kind = draw(st.integers(0, 2))
    if kind == 0:
        op = f"{draw(_ARITHMETIC)} {draw(_MATCHINGS)}"
    elif kind == 1:
        op = f"{draw(_COMPARISONS)} {draw(_BOOL)} {draw(_MATCHINGS)}"
    else:
        op = f"{draw(st.sampled_from(['and', 'or', 'unless']))} {draw(_SET_MATCHINGS)}"
    return f"({left}) {op} ({right})"


@st.composite
def _with_scalar(draw: st.DrawFn, depth: int) -> str:
    sides = [f"({draw(vectors(depth))})", draw(_CONSTANTS)]
    if draw(st.booleans()):
        sides.reverse()
    op = draw(st.one_of(_ARITHMETIC, st.builds(" ".join, st.tuples(_COMPARISONS, _BOOL))))
    return f"{sides[0]} {op} {sides[1]}"


@st.composite
def _call(draw: st.DrawFn, depth: int) -> str:
    inner = draw(vectors(depth))
    return draw(
        st.sampled_from(
            [
                f"{draw(_EXACT)}({inner})",
                f"{draw(_CLOCKS)}(({inner}) % 1e9 < 1e9)",
                f"clamp({inner}, {draw(_CONSTANTS)}, {draw(_CONSTANTS)})",
                f"clamp_min({inner}, {draw(_CONSTANTS)})",
                f"clamp_max({inner}, {draw(_CONSTANTS)})",
                f"round({inner})",
                f"round({inner}, 5)",
                f"vector(scalar({inner}))",
                f"-({inner})",
                f"+({inner})",
                f'label_replace({inner}, "x", "n$1", "y", "(p|q)")',
                f'label_replace({inner}, "z", "${{1}}-$2", "x", "(.)(.*)")',
                f'label_replace({inner}, "y", "", "x", "1")',
                f'label_replace({inner}, "__name__", "renamed", "x", ".*")',
                f'label_join({inner}, "z", "-", "x", "y")',
                f"histogram_quantile({draw(st.sampled_from(['0.5', '0', '0.99']))}, h_bucket)",
                f"histogram_fraction(0.2, {draw(st.sampled_from(['1', '3', 'Inf']))}, h_bucket)",
            ]
        )
    )


_KINDS = (_rollup, _rollup, _aggregation, _binary, _with_scalar, _call)


def queries() -> st.SearchStrategy[str]:
    """The text of an instant vector expression."""
    return st.sampled_from([0, 1, 1, 2, 2, 2, 3, 3]).flatmap(vectors)
