"""Result: an answer as arrays, tables and data frames."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promql.answer import Answer, Raw
from promql.matrix import Matrix, ScalarRow, Text

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Result:
    """What a query gave; ``answer`` is the engine's own form of it."""

    answer: Answer

    @property
    def type(self) -> str:
        """``matrix``, ``vector``, ``scalar`` or ``string``."""
        return self.answer.result_type

    @property
    def warnings(self) -> list[str]:
        return self.answer.warnings

    @property
    def infos(self) -> list[str]:
        return self.answer.infos

    @property
    def labels(self) -> list[dict[str, str]]:
        """The label sets of the series, in the answer's order."""
        value = self.answer.value
        return value.frame.as_dicts() if isinstance(value, Matrix | Raw) else []

    @property
    def times(self) -> NDArray[np.datetime64]:
        """datetime64[ms][T]: the steps; the columns of ``values``."""
        return self.answer.grid.times_ms().astype("datetime64[ms]")

    @property
    def values(self) -> NDArray[np.float64]:
        """float64[S, T]: a row a series, NaN where it has no float; [1, T] of a scalar.

        TypeError for the samples of a range vector, which share no steps, and for a string: use
        ``to_arrow``.
        """
        match self.answer.value:
            case Matrix() as matrix:
                floats = matrix.floats()
                return np.where(floats.present, floats.values, np.nan)
            case ScalarRow(values):
                return values.reshape(1, -1)
            case Text() | Raw():
                raise TypeError(f"a {self.type} of this kind is no array; use to_arrow()")

    def to_arrow(self) -> "pa.Table":
        """A row a point; see ``promql/arrow.py`` for the columns."""
        from promql.arrow import to_table

        return to_table(self.answer)

    def to_pandas(self) -> Any:
        """A pandas.DataFrame of ``to_arrow``."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """A polars.DataFrame of ``to_arrow``."""
        import polars

        return polars.from_arrow(self.to_arrow())
