"""FUNCTIONS: the one table of PromQL's functions and their signatures.

As of Prometheus 3.14 (promql/parser/functions.go), experimental functions included. Run this
module to print the table: ``python -m promql.functions``.
"""

from dataclasses import dataclass

from promql.ast import ValueType

SCALAR, STRING, VECTOR, MATRIX = (
    ValueType.SCALAR,
    ValueType.STRING,
    ValueType.VECTOR,
    ValueType.MATRIX,
)
UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Function:
    """A signature.

    ``variadic`` is 0 where all ``arguments`` must be given. Else the last of them is optional and
    may be repeated: ``variadic`` times at most, or without end if it is UNLIMITED.
    """

    name: str
    arguments: tuple[ValueType, ...]
    returns: ValueType = VECTOR
    variadic: int = 0
    experimental: bool = False

    @property
    def least(self) -> int:
        """The fewest arguments a call may have."""
        return len(self.arguments) - (1 if self.variadic else 0)

    @property
    def most(self) -> int | None:
        """The most arguments a call may have; None where there is no end."""
        return None if self.variadic == UNLIMITED else self.least + self.variadic

    def argument_type(self, index: int) -> ValueType:
        """The type of the argument at *index*, which may lie in the repeated tail."""
        return self.arguments[min(index, len(self.arguments) - 1)]

    def __str__(self) -> str:
        """``round(instant vector, [scalar]) instant vector``"""
        texts = [argument.value for argument in self.arguments]
        if self.variadic:
            texts[-1] = f"[{texts[-1]}{'' if self.variadic == 1 else ', ...'}]"
        return f"{self.name}({', '.join(texts)}) {self.returns.value}"


def _table(*functions: Function) -> dict[str, Function]:
    return {function.name: function for function in sorted(functions, key=lambda f: f.name)}


def _each(names: str, *arguments: ValueType, variadic: int = 0) -> list[Function]:
    return [Function(name, arguments, variadic=variadic) for name in names.split()]


def _experimental(
    name: str, *arguments: ValueType, returns: ValueType = VECTOR, variadic: int = 0
) -> Function:
    return Function(name, arguments, returns, variadic, experimental=True)


FUNCTIONS = _table(
    *_each("abs ceil floor exp sqrt ln log2 log10 sgn deg rad", VECTOR),
    *_each("sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh", VECTOR),
    *_each("absent sort sort_desc timestamp", VECTOR),
    *_each("histogram_avg histogram_count histogram_sum", VECTOR),
    *_each("histogram_stddev histogram_stdvar", VECTOR),
    *_each("minute hour day_of_week day_of_month day_of_year", VECTOR, variadic=1),
    *_each("days_in_month month year", VECTOR, variadic=1),
    *_each("clamp", VECTOR, SCALAR, SCALAR),
    *_each("clamp_min clamp_max", VECTOR, SCALAR),
    *_each("round", VECTOR, SCALAR, variadic=1),
    *_each("vector", SCALAR),
    *_each("histogram_quantile", SCALAR, VECTOR),
    *_each("histogram_fraction", SCALAR, SCALAR, VECTOR),
    *_each("label_replace", VECTOR, STRING, STRING, STRING, STRING),
    *_each("label_join", VECTOR, STRING, STRING, STRING, variadic=UNLIMITED),
    *_each("rate increase delta irate idelta deriv changes resets", MATRIX),
    *_each("avg_over_time sum_over_time min_over_time max_over_time count_over_time", MATRIX),
    *_each("stddev_over_time stdvar_over_time first_over_time last_over_time", MATRIX),
    *_each("absent_over_time present_over_time", MATRIX),
    *_each("quantile_over_time", SCALAR, MATRIX),
    *_each("predict_linear", MATRIX, SCALAR),
    Function("pi", (), SCALAR),
    Function("time", (), SCALAR),
    Function("scalar", (VECTOR,), SCALAR),
    *(_experimental(name, returns=SCALAR) for name in ("start", "end", "step", "range")),
    _experimental("min_of", SCALAR, SCALAR, returns=SCALAR),
    _experimental("max_of", SCALAR, SCALAR, returns=SCALAR),
    _experimental("start_timestamp", VECTOR),
    _experimental("info", VECTOR, VECTOR, variadic=1),
    _experimental("sort_by_label", VECTOR, STRING, variadic=UNLIMITED),
    _experimental("sort_by_label_desc", VECTOR, STRING, variadic=UNLIMITED),
    _experimental("mad_over_time", MATRIX),
    _experimental("ts_of_first_over_time", MATRIX),
    _experimental("ts_of_last_over_time", MATRIX),
    _experimental("ts_of_min_over_time", MATRIX),
    _experimental("ts_of_max_over_time", MATRIX),
    _experimental("double_exponential_smoothing", MATRIX, SCALAR, SCALAR),
    _experimental("histogram_quantiles", VECTOR, STRING, SCALAR, SCALAR, variadic=9),
)

AGGREGATORS = {
    "sum": None,
    "avg": None,
    "count": None,
    "min": None,
    "max": None,
    "group": None,
    "stddev": None,
    "stdvar": None,
    "topk": SCALAR,
    "bottomk": SCALAR,
    "quantile": SCALAR,
    "limitk": SCALAR,
    "limit_ratio": SCALAR,
    "count_values": STRING,
}
"""The aggregation operators and the type of their parameter, None where they have none."""


if __name__ == "__main__":
    print("\n".join(map(str, FUNCTIONS.values())))
