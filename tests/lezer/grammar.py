"""Writes expressions of PromQL's grammar, types included, as people write them."""

from dataclasses import dataclass
from random import Random

from promql.ast import ValueType
from promql.check import COMPARISONS, EDGE_FUNCTIONS, SET_OPERATORS
from promql.functions import AGGREGATORS, FUNCTIONS
from tests.strategies import TRIMS

METRICS = ("up", "http_requests_total", "m:r:sum", "x", "sum", "by", "start", "range", "OR", "fill")
LABELS = ("job", "instance", "le", "by", "on", "sum", "group_left", '"a.b"', '"été"', "_")
ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
STRINGS = ('"a"', "'b'", "`c`", r'"\n\"\u00e9\x41\101"', '""', r"'\''", "`\\`")
NUMBERS = (
    "0",
    "1",
    "2.5",
    ".5",
    "1e3",
    "1E-3",
    "1_000",
    "0x1f",
    "Inf",
    "NaN",
    "5m",
    "1h30m",
    "10ms",
)


@dataclass
class Writer:
    """Every method writes one construct; *depth* bounds how many lie in each other."""

    random: Random

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def maybe(self, text: str, chance: float = 0.3) -> str:
        return text if self.random.random() < chance else ""

    def query(self) -> str:
        """An expression of any type."""
        kind = self.random.choice((ValueType.VECTOR, ValueType.VECTOR, *ValueType))
        return self.expression(kind, self.random.choice((0, 1, 1, 2, 2, 3)))

    def expression(self, kind: ValueType, depth: int) -> str:
        if kind is ValueType.STRING:
            return self.pick(*STRINGS)
        if kind is ValueType.MATRIX:
            return self.matrix(depth)
        return self.scalar(depth) if kind is ValueType.SCALAR else self.vector(depth)

    # --- selectors ---------------------------------------------------------------------------

    def matchers(self) -> str:
        conditions = [
            f"{self.pick(*LABELS)}{self.pick('=', '!=', '=~', '!~')}{self.pick(*STRINGS)}"
            for _ in range(self.random.randint(0, 2))
        ]
        return "{" + ", ".join(conditions) + self.maybe(",", 0.1 if conditions else 0) + "}"

    def selector(self) -> str:
        if self.random.random() < 0.15:
            return self.pick('{"a.b"}', '{"up", job="a"}', '{__name__=~"u.*"}', '{job!=""}')
        return self.pick(*METRICS) + self.maybe(self.matchers())

    def modifiers(self) -> str:
        found = [self.maybe(f" offset {self.offset()}"), self.maybe(f" @ {self.time()}", 0.2)]
        self.random.shuffle(found)
        return "".join(found)

    def offset(self) -> str:
        amount = self.pick(
            *("5m", "300", "0.5", "step()", "range()", f"({self.duration(1)})"),
            f"min_of({self.duration(0)}, {self.duration(1)})",
        )
        return self.pick("", "", "-", "+") + amount

    def time(self) -> str:
        return self.pick("start()", "end()", "1700000000", "-1.5", "+5m", "0x10")

    def duration(self, depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.5:
            return self.pick("5m", "1h30m", "300", ".5", "1y2w3d", "7ms", "step()", "range()")
        left, right = self.duration(depth - 1), self.duration(depth - 1)
        op = self.pick("+", "-", "*", "/", "%", "^")
        return self.pick(
            f"{left} {op} {right}",
            f"({left} {op} {right})",
            f"-({left}) + {right}",
            f"{self.pick('min_of', 'max_of')}({left}, {right})",
        )

    def matrix(self, depth: int, name: str = "") -> str:
        if depth > 0 and self.random.random() < 0.4:
            step = self.maybe(self.duration(1), 0.6)
            return f"{self.operand(depth - 1)}[{self.duration(1)}:{step}]{self.modifiers()}"
        edges = [edge.value for edge, names in EDGE_FUNCTIONS.items() if name in names]
        edge = self.maybe(f" {self.pick(*edges)}") if edges else ""
        return f"{self.selector()}[{self.duration(1)}]{edge}{self.modifiers()}"

    # --- vectors and scalars -----------------------------------------------------------------

    def operand(self, depth: int) -> str:
        return f"({self.vector(depth)})" if depth > 0 else self.selector()

    def vector(self, depth: int) -> str:
        if depth <= 0:
            return self.selector() + self.modifiers() + self.maybe(" smoothed", 0.05)
        kinds = (self.call, self.call, self.aggregation, self.operation, self.operation, self.sign)
        return self.random.choice(kinds)(depth - 1)

    def sign(self, depth: int) -> str:
        return self.pick("-", "+", "--") + self.operand(depth)

    def scalar(self, depth: int) -> str:
        if depth <= 0:
            return self.pick("", "", "", "-", "+") + self.pick(*NUMBERS)
        function = self.pick(*(f.name for f in FUNCTIONS.values() if f.returns is ValueType.SCALAR))
        op = self.pick(*ARITHMETIC, *(f"{op} bool" for op in sorted(COMPARISONS)))
        return self.pick(
            f"{self.scalar(depth - 1)} {op} {self.scalar(depth - 1)}",
            f"({self.scalar(depth - 1)})",
            self.called(function, depth - 1),
        )

    def call(self, depth: int) -> str:
        names = (f.name for f in FUNCTIONS.values() if f.returns is ValueType.VECTOR)
        return self.called(self.pick(*names), depth)

    def called(self, name: str, depth: int) -> str:
        function = FUNCTIONS[name]
        most = function.least + 2 if function.most is None else function.most
        arguments = []
        for index in range(self.random.randint(function.least, most)):
            wanted = function.argument_type(index)
            if name == "info" and index == 1:
                arguments.append(self.matchers())
            elif wanted is ValueType.MATRIX:
                arguments.append(self.matrix(depth, name))
            else:
                arguments.append(self.expression(wanted, depth if index == 0 else 0))
        return f"{name}({', '.join(arguments)})"

    def labels(self) -> str:
        names = [self.pick(*LABELS) for _ in range(self.random.randint(0, 2))]
        return "(" + ", ".join(names) + self.maybe(",", 0.1 if names else 0) + ")"

    def aggregation(self, depth: int) -> str:
        name = self.pick(*AGGREGATORS)
        wanted = AGGREGATORS[name]
        parameter = "" if wanted is None else self.expression(wanted, min(depth, 1)) + ", "
        arguments = f"({parameter}{self.vector(depth)})"
        grouping = f"{self.pick('by', 'without')} {self.labels()}"
        return self.pick(
            f"{name}{arguments}", f"{name} {grouping} {arguments}", f"{name}{arguments} {grouping}"
        )

    def operation(self, depth: int) -> str:
        op = self.pick(*ARITHMETIC, *sorted(COMPARISONS), *sorted(SET_OPERATORS), *TRIMS)
        left, right = self.vector(depth), self.vector(depth)
        if op not in SET_OPERATORS and self.random.random() < 0.25:
            return f"{left} {op} {self.scalar(depth)}"
        modifiers = self.maybe(" bool") if op in COMPARISONS else ""
        if self.random.random() < 0.4:
            modifiers += f" {self.pick('on', 'ignoring')} {self.labels()}"
            if op not in SET_OPERATORS:
                side = self.pick("group_left", "group_right")
                modifiers += self.maybe(f" {side} {self.maybe(self.labels(), 0.7)}")
        if op not in SET_OPERATORS and self.random.random() < 0.2:
            modifiers += self.pick(
                *(" fill (0)", " fill(-1)", " fill_left(NaN)", " fill_right(5m) fill_left(.5)"),
                *(" fill_left(0x1) fill_right (+Inf)", " fill_right(1e3)"),
            )
        return f"{left} {op}{modifiers} {right}"
