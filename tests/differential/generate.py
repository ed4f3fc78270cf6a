"""Seeded queries over the constructs that Prometheus 2.42 knows, about the metrics of ``data``."""

from dataclasses import dataclass
from random import Random

from tests.differential.data import Data
from tests.differential.mistakes import MISTAKES

MAX_STEPS = 12


@dataclass(frozen=True)
class Question:
    """A query as one asks it of 3.14, and when; an instant query where ``step_ms`` is 0."""

    text: str
    start_ms: int
    end_ms: int
    step_ms: int


def make_question(random: Random, data: Data) -> Question:
    """One question about *data*; about one in thirty is malformed."""
    half = random.random() < 0.6
    start_ms = data.start_ms + 15_000 * random.randint(3, 125) + (500 if half else 0)
    step_ms = random.choice((0, 0, 15_000, 30_000, 60_000, 77_000, 300_000))
    end_ms = start_ms + step_ms * random.randint(0, MAX_STEPS)
    if step_ms and random.random() < 0.3:
        end_ms += random.randrange(step_ms)
    if random.random() < 0.035:
        return Question(random.choice(MISTAKES), start_ms, end_ms, step_ms)
    writer = Writer(random, data, half)
    depth = random.choice((0, 1, 1, 2, 2, 2, 3, 3))
    kind = random.random()
    if kind < 0.01 and not step_ms:
        text = random.choice(STRINGS)
    elif kind < 0.05:
        text = writer.scalar(depth)
    elif kind < 0.09 and not step_ms:
        text = writer.raw(depth)
    elif kind < 0.15 and not step_ms:
        text = f"{random.choice(('sort', 'sort_desc'))}({writer.selector(('g', 'h', 'odd'))})"
    else:
        text = writer.vector(depth)
    return Question(text, start_ms, end_ms, step_ms)


STRINGS = ('"text"', "'it\\'s'", "`a\\b`", r'"\u00e9\n\x41\101"', '""')

FOLDS = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
OVER_TIME = ("avg", "sum", "min", "max", "count", "present", "last", "stddev", "stdvar", "absent")
UNARY = (
    *("abs", "ceil", "floor", "sgn", "sqrt", "exp", "ln", "log2", "log10", "deg", "rad"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh"),
    "atanh",
)
CALENDAR = (
    *("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month"),
    *("month", "year"),
)
SELECTED = ("g", "g", "h", "c_total", "lone", "build", "odd", "rule:shapes:sum")
CONDITIONS = (
    *("", "", 'job="a"', 'job!="a"', 'instance=~"1|2"', 'mode="idle"', 'mode=""', 'nolabel=""'),
    *('instance!~"[12]"', 'job=~".+",mode=~"i.*"', 'job=~"a|x",instance="2"', 'job="nothing"'),
    'instance=~".",job="b"',
)
EDGES = ("-Inf", "-2", "-1", "-0.125", "0.125", "0.25", "0.5", "1", "2", "8", "16", "Inf")
"""Where buckets of native histograms end: inside them the versions interpolate differently."""


@dataclass
class Writer:
    """Writes expressions as text.

    ``half``: the expression is evaluated on half seconds, on which no point of a subquery and no
    sample lies; inside subqueries that is not so. ``exact``: no value depends on the order in
    which numbers are rounded, so that comparisons fall out alike.
    """

    random: Random
    data: Data
    half: bool
    exact: bool = False

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def vector(self, depth: int) -> str:
        if depth <= 0:
            return self.selector()
        kinds = (
            *(self.rollup, self.rollup, self.aggregation, self.aggregation),
            *(self.operation, self.with_scalar, self.set_operation, self.call, self.matched),
            *(self.trigonometry, self.trigonometry, self.calendar),
        )
        return self.random.choice(kinds)(depth - 1)

    # --- leaves -----------------------------------------------------------------------------

    def selector(self, names: tuple[str, ...] = ()) -> str:
        name = self.random.choice(names or SELECTED)
        return self.braced(name) + self.modifiers()

    def braced(self, name: str) -> str:
        conditions = self.pick("", "", "", "", *CONDITIONS)
        if self.random.random() < 0.08:
            pattern = self.pick("g|h", "g|c.*", "h|odd", ".+_total", "[gh]")
            joint = "," if conditions else ""
            return f'{{__name__=~"{pattern}"{joint}{conditions}}}'
        return f"{name}{{{conditions}}}" if conditions else name

    def modifiers(self, *, pins: bool = True) -> str:
        if self.random.random() < 0.75:
            return ""
        if not pins:
            return self.pick(" offset 1m", " offset -45s", " offset 7s", " offset 10m")
        at_s = self.data.start_ms / 1000 + 15 * self.random.randint(0, 120)
        at = f"{at_s + (0.5 if self.half else 0):.3f}"
        return self.pick(
            *(" offset 1m", " offset -45s", " offset 7s", " offset 10m", f" @ {at}"),
            *(f" @ {at} offset 30s", " @ start()", " @ end()", f" offset -1m @ {at}"),
        )

    def duration(self) -> str:
        return self.pick("15s", "30s", "1m", "1m30s", "2m", "5m", "5m", "10m", "47s")

    def window(self, depth: int, *, pins: bool = True) -> str:
        if depth > 0 and self.random.random() < 0.35:
            return self.subquery(self.inside().vector(depth - 1), pins=pins)
        name = self.pick("g", "g", "h", "c_total", "lone", "odd", "rule:shapes:sum")
        return f"{self.braced(name)}[{self.duration()}]{self.modifiers(pins=pins)}"

    def raw(self, depth: int) -> str:
        """A range vector on its own; a subquery has at least one instant."""
        if depth > 0 and self.random.random() < 0.35:
            return f"({self.inside().vector(depth - 1)})[5m:{self.pick('15s', '1m', '')}]"
        return (
            f"{self.braced(self.pick('g', 'odd', 'c_total'))}[{self.duration()}]{self.modifiers()}"
        )

    def inside(self) -> "Writer":
        return Writer(self.random, self.data, False, self.exact)

    def exactly(self) -> "Writer":
        return Writer(self.random, self.data, self.half, True)

    def subquery(self, inner: str, *, pins: bool = True) -> str:
        step = self.pick("15s", "30s", "1m", "13s", "")
        return f"({inner})[{self.duration()}:{step}]{self.modifiers(pins=pins)}"

    # --- functions of ranges ----------------------------------------------------------------

    def rollup(self, depth: int) -> str:
        if self.exact:
            name = self.pick("sum", "min", "max", "count", "present", "last")
            return f"{name}_over_time({self.window(depth)})"
        kind = self.random.random()
        if kind < 0.35:
            return self.rate()
        window = self.window(depth)
        if kind < 0.65:
            return f"{self.random.choice(OVER_TIME)}_over_time({window})"
        if kind < 0.72:
            q = self.pick("0", "0.3", "0.5", "0.9", "1", "2", "-1", "NaN")
            return f"quantile_over_time({q}, {window})"
        if kind < 0.77:
            # 2.42 let pinned windows slide here.
            unpinned = self.window(depth, pins=False)
            return f"predict_linear({unpinned}, {self.pick('60', '-30', '0', '3600')})"
        if kind < 0.82:
            factors = self.pick("0.5, 0.25", "0.1, 0.9")
            return f"double_exponential_smoothing({window}, {factors})"
        return f"{self.pick('changes', 'resets', 'irate', 'idelta', 'deriv')}({window})"

    def rate(self) -> str:
        """rate, increase and delta, where no sample can lie on an edge of the window."""
        function = self.pick("rate", "rate", "increase", "delta")
        counters = ("c_total", "lat_bucket")
        names = (*counters, "g", "h") if function == "delta" else counters
        name = self.random.choice(names)
        if self.half and self.random.random() < 0.3:
            return f"{function}({self.subquery(self.plain(name))})"
        if not self.data.phased:
            return f"irate({self.plain(name)}[{self.duration()}])"
        return f"{function}({self.plain(name)}[{self.duration()}]{self.modifiers()})"

    def plain(self, name: str) -> str:
        conditions = self.pick("", "", 'job="a"', 'instance=~"1|2"', 'instance!="3"')
        return f"{name}{{{conditions}}}" if conditions else name

    # --- aggregations -----------------------------------------------------------------------

    def grouping(self) -> str:
        return self.pick(
            *("", "", "by ()", "by (job)", "by (job)", "by (job, instance)", "by (mode, job)"),
            *("without (instance)", "without ()", "without (mode, instance)", "by (nolabel)"),
        )

    def aggregation(self, depth: int) -> str:
        kind = self.random.random()
        if kind < 0.13:
            distinct = self.selector(("g", "h"))
            if self.random.random() < 0.4:
                distinct = self.pick("max", "min", "last") + f"_over_time({self.braced('g')}[2m])"
            k = self.pick("1", "2", "0", "3", "-1", "2.9", "time() % 4")
            return f"{self.pick('topk', 'bottomk')} {self.grouping()} ({k}, {distinct})"
        if self.exact or kind < 0.26:
            inner = self.exactly().vector(depth)
            name = self.pick("sum", "min", "max", "count", "group")
            label = self.pick("v", "job", "mode")
            if self.exact:
                return f"{name} {self.grouping()} ({inner})"
            return f'count_values {self.grouping()} ("{label}", {inner})'
        inner = self.vector(depth)
        if kind < 0.32:
            q = self.pick("0.5", "0", "0.9", "1", "1.5", "NaN")
            return f"quantile {self.grouping()} ({q}, {inner})"
        if kind < 0.37:
            return f"{self.pick('sum', 'count', 'max')} by (__name__, job) ({inner})"
        return f"{self.random.choice(FOLDS)} {self.grouping()} ({inner})"

    # --- operators --------------------------------------------------------------------------

    def matching(self) -> str:
        return self.pick(
            *("", "", "on (job, instance)", "on (job, instance, mode)", "ignoring (mode)"),
            *("on (job)", "on ()", "ignoring (mode, version)", "ignoring (instance)"),
        )

    def operator(self) -> tuple[str, "Writer"]:
        """An operator, and who is to write its operands."""
        if self.exact or self.random.random() < 0.35:
            arithmetic = self.pick("+", "-")
            comparison = self.pick("==", "!=", "<", "<=", ">", ">=") + self.pick("", " bool")
            return self.pick(arithmetic, comparison, comparison), self.exactly()
        if self.random.random() < 0.15:
            return "%", self.exactly()
        return self.pick("+", "-", "*", "/", "^", "atan2"), self

    def operation(self, depth: int) -> str:
        op, writer = self.operator()
        left, right = writer.vector(depth), writer.vector(depth)
        if self.random.random() < 0.3:
            right = left
        return f"({left}) {op} {self.matching()} ({right})"

    def matched(self, depth: int) -> str:
        """Operators between vectors that are likely to match, grouped ones among them."""
        g, h = self.plain("g"), self.plain("h")
        op, writer = self.operator()
        inexact = self.data.phased and not writer.exact
        one, many = self.pick("h", "build"), self.pick(g, "c_total")
        if inexact:
            many = self.pick(many, "rate(c_total[2m])")
        include = self.pick("", "", "version", "mode", "nolabel")
        target = self.pick("on (job, instance)", "ignoring (mode, version)")
        return self.pick(
            f"{many} {op} {target} group_left ({include}) {one}",
            f"{one} {op} {target} group_right ({include}) {many}",
            f"sum by (job, instance) ({writer.vector(depth)}) {op} {h}",
            f'g{{mode="idle"}} {op} ignoring (mode) g{{mode="user"}}',
            f"{g} {op} ignoring (instance) group_left sum without (instance) ({g})",
            f"{g} {op} {g}",
        )

    def set_operation(self, depth: int) -> str:
        matching = self.pick("", "", "on (job)", "on ()", "ignoring (mode)", "on (instance)")
        op = self.pick("and", "or", "unless")
        return f"({self.vector(depth)}) {op} {matching} ({self.vector(depth)})"

    def with_scalar(self, depth: int) -> str:
        op, writer = self.operator()
        sides = [f"({writer.vector(depth)})", writer.scalar(min(depth, 1))]
        self.random.shuffle(sides)
        return f"{sides[0]} {op} {sides[1]}"

    # --- scalars and calls ------------------------------------------------------------------

    def scalar(self, depth: int) -> str:
        kind = self.random.random()
        if depth <= 0 or kind < 0.5:
            return self.pick("0", "1", "2", "-1", "0.5", "NaN", "Inf", "100", "time()", "pi()")
        if kind < 0.75:
            return f"scalar({self.vector(depth - 1)})"
        op, writer = self.operator()
        if op[0] in "=!<>" and "bool" not in op:
            op += " bool"
        return f"({writer.scalar(depth - 1)} {op} {writer.scalar(depth - 1)})"

    def call(self, depth: int) -> str:
        if self.exact:
            inner = self.vector(depth)
            return self.pick(
                f"{self.pick('abs', 'ceil', 'floor', 'sgn', 'timestamp')}(+({inner}))",
                f"clamp_max({inner}, {self.scalar(0)})",
                f'label_replace({inner}, "mode", "n$1", "job", "(a|b)")',
                f"absent({inner})",
                f"-({inner})",
            )
        q = self.pick("0.5", "0", "0.9", "0.99", "1", "1.5", "-0.1", "NaN")
        buckets = self.plain(self.pick("lat_bucket", "lat_bucket", "rough_bucket"))
        kind = self.random.random()
        if kind < 0.2:
            if self.random.random() < 0.5:
                buckets = f"sum by (le, job) ({buckets})"
            return f"histogram_quantile({q}, {buckets})"
        if kind < 0.4:
            return self.native()
        inner = self.vector(depth)
        low, high = self.scalar(0), self.scalar(0)
        return self.pick(
            f"clamp({inner}, {low}, {high})",
            f"{self.pick('clamp_min', 'clamp_max')}({inner}, {low})",
            f"{self.pick('clamp_min', 'clamp_max')}({inner}, {high})",
            f"clamp_min({inner}, {high})",
            f"round({inner})",
            f"round({inner}, {self.pick('5', '0.1', '-2', '0')})",
            f"vector({self.scalar(1)})",
            f"vector({self.scalar(0)})",
            f"-({inner})",
            f"+({inner})",
            f"timestamp(-({inner}))",
            f"timestamp({self.plain('g')}{self.modifiers(pins=False)})",
            f"timestamp({self.plain('h')} @ end())",
            f"absent({inner})",
            f"absent({self.selector()})",
            f'label_replace({inner}, "mode", "n$1", "job", "(a|b)")',
            f'label_replace({inner}, "z", "${{1}}-$2", "mode", "(.)(.*)")',
            f'label_replace({inner}, "job", "", "instance", "1")',
            f'label_replace({inner}, "__name__", "renamed", "job", ".*")',
            f'label_join({inner}, "z", "-", "job", "mode")',
            f'label_join({inner}, "job", "", "nolabel")',
            f"sort({inner})",
        )

    def trigonometry(self, depth: int) -> str:
        """Functions of one number, most of which are of no use far from zero."""
        if self.exact:
            return self.call(depth)
        # exp of less is a denormal number, of which Go's logarithm on amd64 is off by some percent.
        return f"{self.random.choice(UNARY)}(clamp({self.vector(depth)}, -700, 700))"

    def calendar(self, depth: int) -> str:
        """Dates of values; that of the evaluation where there is no argument."""
        name = self.random.choice(CALENDAR)
        if self.random.random() < 0.2:
            return f"{name}()"
        times = self.pick("1e6", "86400", "3600", "1")
        return f"{name}(({self.exactly().vector(depth)}) * {times})"

    def native(self) -> str:
        """Numbers about native histograms, whose own arithmetic has changed since 2.42."""
        plain = self.plain("native")
        found = f"{plain}{self.modifiers()}"
        if self.random.random() < 0.3:
            window = f"{plain}[{self.duration()}]{self.modifiers()}"
            return self.pick(
                f"{self.pick('count', 'present')}_over_time({window})",
                f"{self.pick('count', 'group')} {self.grouping()} ({found})",
                f"absent({found})",
                f"timestamp({plain})",
            )
        if self.data.phased and self.random.random() < 0.4:
            function = self.pick("rate", "increase")
            found = f"{function}({plain}[{self.duration()}]{self.modifiers()})"
        if self.random.random() < 0.3:
            found = f"sum {self.grouping()} ({found})"
        low, high = self.pick(*EDGES), self.pick(*EDGES)
        return self.pick(
            f"histogram_count({found})",
            f"histogram_sum({found})",
            f"histogram_fraction({low}, {high}, {found})",
        )
