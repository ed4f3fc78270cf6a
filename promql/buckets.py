"""Histograms: ``histogram_quantile``, ``histogram_quantiles``, ``histogram_fraction``.

A native histogram is one point. A classic one is what remains of its ``_bucket`` series without the
label ``le``, which holds each bucket's upper bound. Series whose ``le`` is no number are left out
with a warning; where a classic and a native histogram have the same labels, both are.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from promql import ast, native_fn
from promql.buckets_kernels import bucket_fractions, bucket_quantiles
from promql.env import Env
from promql.go_text import format_g, format_g_digits, open_metrics_float, rfc3339_utc
from promql.groups import Groups
from promql.labelsets import drop_names, merge_equal_labels
from promql.matrix import Mask, Matrix, ScalarRow, Text, Value, Values
from series.frame import LabelFrame, shared_group_ids
from series.labels import METRIC_NAME, quote

BUCKET_LABEL = "le"
_CELLS_PER_CALL = 400_000
"""Samples that one kernel call works on, so that a query can be cancelled in between."""


def histogram_quantile(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``histogram_quantile(q scalar, buckets vector)``."""
    q, vector = args
    assert isinstance(q, ScalarRow) and isinstance(vector, Matrix)
    _check_quantiles(q.values, _at(env, call.args[0]))
    env = _at(env, call.args[1])
    histograms, native = _histograms(vector, env)
    fixes = _Fixes()
    result = _quantiles(histograms, native, q.values, fixes, env)
    fixes.note(env)
    return drop_names(result, env)


def histogram_quantiles(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``histogram_quantiles(buckets vector, label string, q scalar, ...)``: a series a quantile."""
    vector, label, *rows = args
    assert isinstance(vector, Matrix) and isinstance(label, Text)
    for row, node in zip(rows, call.args[2:], strict=True):
        assert isinstance(row, ScalarRow)
        _check_quantiles(row.values, _at(env, node))
    env = _at(env, call.args[0])
    histograms, native = _histograms(vector, env)
    fixes = _Fixes()
    slabs: list[Matrix] = []
    for row in rows:
        assert isinstance(row, ScalarRow)
        result = drop_names(_quantiles(histograms, native, row.values, fixes, env), env)
        slabs.extend(_labelled(result, label.value, row.values))
    fixes.note(env)
    return merge_equal_labels(Matrix.concat(slabs))


def histogram_fraction(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``histogram_fraction(lower scalar, upper scalar, buckets vector)``."""
    lower, upper, vector = args
    assert isinstance(lower, ScalarRow) and isinstance(upper, ScalarRow)
    assert isinstance(vector, Matrix)
    env = _at(env, call.args[2])
    histograms, native = _histograms(vector, env)
    out, present = histograms.blank()
    for part in histograms.parts(env):
        bucket_fractions(
            histograms.values,
            histograms.present,
            histograms.order,
            histograms.offsets[part.start : part.stop + 1],
            histograms.bounds,
            np.ascontiguousarray(lower.values),
            np.ascontiguousarray(upper.values),
            out[part],
            present[part],
        )
    result = Matrix(histograms.frame, out, present, histograms.drop_name)
    if native is not None:
        fractions = native_fn.fractions(native, lower.values, upper.values, env)
        result = Matrix.concat([fractions, result])
    return drop_names(result, env)


def _at(env: Env, argument: ast.Node) -> Env:
    """*env* with notes pointing at *argument*, inside its parentheses."""
    while isinstance(argument, ast.Paren):
        argument = argument.inner
    return env.at(argument.span)


# --- grouping --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Histograms:
    """G histograms over the rows of a matrix; the arrays as the kernels take them."""

    frame: LabelFrame
    drop_name: Mask | None
    values: Values
    present: Mask
    order: NDArray[np.int64]
    offsets: NDArray[np.int64]
    bounds: Values

    def blank(self) -> tuple[Values, Mask]:
        shape = (self.frame.size, self.values.shape[1])
        return np.zeros(shape), np.zeros(shape, dtype=np.bool_)

    def parts(self, env: Env) -> Iterator[slice]:
        """The histograms in runs small enough for one kernel call."""
        steps = max(self.values.shape[1], 1)
        rows_per_histogram = len(self.order) / max(self.frame.size, 1)
        run = max(1, int(_CELLS_PER_CALL / (steps * max(rows_per_histogram, 1))))
        for start in range(0, self.frame.size, run):
            env.context.check()
            yield slice(start, min(start + run, self.frame.size))


def _histograms(vector: Matrix, env: Env) -> tuple[_Histograms, Matrix | None]:
    """The classic histograms of *vector*, and its native ones; None where there are none."""
    if vector.histogram_ids is None:
        return _classic(vector, env), None
    holds = vector.holds_histograms
    native = replace(vector, present=holds).alive()
    classic = _classic(vector.floats().alive(), env)
    return _apart(classic, native, env)


def _apart(classic: _Histograms, native: Matrix, env: Env) -> tuple[_Histograms, Matrix]:
    """Both without the points where a classic and a native histogram have the same labels."""
    sizes = np.diff(classic.offsets)
    of_rows = np.full(len(classic.values), -1, dtype=np.int64)
    of_rows[classic.order] = np.repeat(np.arange(len(sizes)), sizes)
    (ids, native_ids), count = shared_group_ids([classic.frame, native.frame])
    there = Groups(ids[of_rows], count).any(classic.present)[native_ids]
    mixed = there & native.present
    if not mixed.any():
        return classic, native
    for row in np.flatnonzero(mixed.any(axis=1)).tolist():
        name = native.frame.labels(row).metric if env.options.delayed_name_removal else ""
        env.warn(f"vector contains a mix of classic and native histograms{_for_metric(name)}")
    taken = Groups(native_ids, count).any(mixed)[ids[of_rows]]
    return (
        replace(classic, present=classic.present & ~taken),
        replace(native, present=native.present & ~mixed),
    )


def _classic(vector: Matrix, env: Env) -> _Histograms:
    column = vector.frame.columns.get(BUCKET_LABEL)
    texts = ("",) if column is None else column.values
    codes = np.zeros(vector.series_count, dtype=np.int32) if column is None else column.codes
    bounds = np.array([_upper_bound(text) for text in texts])[codes]
    malformed = np.isnan(bounds)
    if malformed.any():
        _warn_malformed(vector, malformed, env)
        vector, bounds = vector.take(~malformed), bounds[~malformed]
    frame = vector.frame.drop((BUCKET_LABEL,))
    ids, first = frame.group_ids()
    return _Histograms(
        frame.take(first),
        None if vector.drop_name is None else vector.drop_name[first],
        vector.values,
        vector.present,
        np.lexsort((bounds, ids)),
        np.concatenate(([0], np.cumsum(np.bincount(ids, minlength=len(first))))).astype(np.int64),
        bounds,
    )


_GO_FLOAT = re.compile(r"[+-]?(inf|infinity|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)", re.IGNORECASE)
_GO_HEX_FLOAT = re.compile(r"[+-]?0x[0-9a-f]*\.?[0-9a-f]*p[+-]?\d+", re.IGNORECASE)


def _upper_bound(text: str) -> float:
    """The number that ``le`` holds, NaN where Go's ParseFloat refuses it."""
    try:
        if _GO_FLOAT.fullmatch(text):
            bound = float(text)
            return math.nan if math.isinf(bound) and "n" not in text.lower() else bound
        if _GO_HEX_FLOAT.fullmatch(text):
            return float.fromhex(text)
    except (ValueError, OverflowError):
        pass
    return math.nan


def _warn_malformed(vector: Matrix, malformed: Mask, env: Env) -> None:
    rows = np.flatnonzero(malformed & vector.present.any(axis=1))
    frame = vector.frame.take(rows).keep((METRIC_NAME, BUCKET_LABEL))
    _, first = frame.group_ids()
    for row in first.tolist():
        labels = frame.labels(row)
        name = labels.metric if env.options.delayed_name_removal else ""
        env.warn(
            f'bucket label "{BUCKET_LABEL}" is missing or has a malformed value of '
            f"{quote(labels.get(BUCKET_LABEL))}{_for_metric(name)}"
        )


def _for_metric(name: str) -> str:
    return f" for metric name {quote(name)}" if name else ""


# --- quantiles -------------------------------------------------------------------------------


def _check_quantiles(q: Values, env: Env) -> None:
    outside = q[~((q >= 0) & (q <= 1))]
    for text in dict.fromkeys(format_g(value) for value in outside.tolist()):
        env.warn(f"quantile value should be between 0 and 1, got {text}")


def _quantiles(
    histograms: _Histograms, native: Matrix | None, q: Values, fixes: "_Fixes", env: Env
) -> Matrix:
    out, present = histograms.blank()
    forced = np.zeros_like(present)
    extents = np.tile((np.inf, -np.inf, 0.0), (histograms.frame.size, 1))
    for part in histograms.parts(env):
        bucket_quantiles(
            histograms.values,
            histograms.present,
            histograms.order,
            histograms.offsets[part.start : part.stop + 1],
            histograms.bounds,
            np.ascontiguousarray(q),
            out[part],
            present[part],
            forced[part],
            extents[part],
        )
    if forced.any():
        fixes.collect(histograms.frame, forced, extents, env)
    result = Matrix(histograms.frame, out, present, histograms.drop_name)
    return (
        result if native is None else Matrix.concat([native_fn.quantiles(native, q, env), result])
    )


def _labelled(result: Matrix, label: str, q: Values) -> Iterator[Matrix]:
    """*result* with *label* set to the quantile, which may differ from step to step."""
    texts = np.array([open_metrics_float(value) for value in q.tolist()], dtype=object)
    for text in dict.fromkeys(texts.tolist()):
        frame = result.frame.set_coded(label, np.zeros(result.series_count, np.int64), [text])
        present = result.present & (texts == text)
        yield Matrix(frame, result.values, present, result.drop_name)


@dataclass(slots=True)
class _Fix:
    """What was mended in the histograms of one metric."""

    lowest: float = math.inf
    highest: float = -math.inf
    decrease: float = 0.0
    samples: int = 0
    start_ms: int = 0
    end_ms: int = 0


@dataclass(slots=True)
class _Fixes:
    """Histograms whose counts did not rise, by metric name ('' where names are gone)."""

    by_name: dict[str, _Fix] = field(default_factory=dict)

    def collect(self, frame: LabelFrame, forced: Mask, extents: Values, env: Env) -> None:
        """Adds histograms: ``forced[G, T]``, and bounds and decrease ``extents[G, 3]``."""
        groups = np.flatnonzero(forced.any(axis=1))
        names = [""] * len(groups)
        if env.options.delayed_name_removal:
            names = frame.take(groups).texts(METRIC_NAME)
        times_ms = env.grid.times_ms()
        for name in dict.fromkeys(names):
            rows = groups[[other == name for other in names]]
            steps = times_ms[forced[rows].any(axis=0)]
            fix = self.by_name.setdefault(name, _Fix(start_ms=int(steps[0]), end_ms=int(steps[-1])))
            fix.lowest = min(fix.lowest, float(extents[rows, 0].min()))
            fix.highest = max(fix.highest, float(extents[rows, 1].max()))
            fix.decrease = max(fix.decrease, float(extents[rows, 2].max()))
            fix.samples += int(forced[rows].sum())
            fix.start_ms = min(fix.start_ms, int(steps[0]))
            fix.end_ms = max(fix.end_ms, int(steps[-1]))

    def note(self, env: Env) -> None:
        for name, fix in self.by_name.items():
            env.info(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://"
                "prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
                f"{_for_metric(name)}, from buckets {format_g(fix.lowest)} to "
                f"{format_g(fix.highest)}, with a max diff of "
                f"{format_g_digits(fix.decrease, 2)}, over {fix.samples} samples from "
                f"{rfc3339_utc(fix.start_ms)} to {rfc3339_utc(fix.end_ms)}"
            )
