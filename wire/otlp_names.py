"""Names: from OTLP's instruments, units and attributes to Prometheus' metrics and labels.

Source of the rules: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility", in the
reading of Prometheus 3 (``otlp.translation_strategy``).
"""

import re
from collections.abc import Iterable, Sequence

from wire.otlp_options import Strategy

_UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",  # Prometheus' spelling
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
"""UCUM code -> the word of a metric name."""
_PER_UNITS = {
    "s": "second",
    "m": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}
"""UCUM code behind a slash -> the word behind ``per_``."""

_NOT_A_TOKEN = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_A_METRIC = re.compile(r"[^a-zA-Z0-9:_]+")
_NOT_IN_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")


class UnnamableError(ValueError):
    """No name is left of what was sent; the text says of what."""


def metric_name(strategy: Strategy, name: str, unit: str, *, counter: bool, gauge: bool) -> str:
    """The metric name of an instrument; *counter* is a monotonic sum.

    Raises UnnamableError where nothing but underscores is left.
    """
    if not strategy.escapes:
        built = _suffixed(name, unit, counter, gauge) if strategy.suffixes else name
    elif strategy.suffixes:
        built = _tokens_joined(name, unit, counter, gauge)
    else:
        built = "_".join(filter(None, _NOT_IN_A_METRIC.split(name)))
    if strategy.escapes and built[:1].isdigit():
        built = f"_{built}"
    _must_be_a_name(built, name, "metric", whole=not strategy.escapes)
    return built


def label_name(strategy: Strategy, name: str, *, sanitize_underscore: bool) -> str:
    """The label name of an attribute; raises UnnamableError like ``metric_name``.

    With *sanitize_underscore* a single leading underscore gets ``key`` before it; names with two
    are taken for reserved ones and kept.
    """
    built = name
    if strategy.escapes:
        built = _NOT_IN_A_LABEL.sub("_", name)
        if built[:1].isdigit():
            built = f"key_{built}"
        elif sanitize_underscore and built.startswith("_") and not built.startswith("__"):
            built = f"key{built}"
    _must_be_a_name(built, name, "label", whole=not strategy.escapes)
    return built


def unit_name(strategy: Strategy, unit: str) -> str:
    """The unit as metadata and ``__unit__`` tell it: ``By/s`` is ``bytes_per_second``."""
    words: Iterable[str] = _unit_words(unit)
    if strategy.escapes:
        words = map(_clean, words)
    return "_".join(filter(None, words)).removeprefix("_").removesuffix("_")


def _must_be_a_name(built: str, name: str, what: str, *, whole: bool) -> None:
    if not built:
        raise UnnamableError(f'normalization for {what} name "{name}" resulted in empty name')
    if not whole and built != name and not built.strip("_"):
        raise UnnamableError(
            f'normalization for {what} name "{name}" resulted in invalid name "{built}"'
        )


def _unit_words(unit: str) -> tuple[str, str]:
    """(main word, ``per_`` word) of a unit; what stands in braces is a comment."""
    main, _, per = (part.strip() for part in unit.partition("/"))
    if "{" in main or "}" in main:
        main = ""
    if "{" in per or "}" in per:
        per = ""
    return _UNITS.get(main, main), f"per_{_PER_UNITS.get(per, per)}" if per else ""


def _clean(word: str) -> str:
    """*word* in the characters of metric names, without repeated or leading underscores."""
    return _NOT_A_TOKEN.sub("_", word).removeprefix("_")


def _tokens_joined(name: str, unit: str, counter: bool, gauge: bool) -> str:
    """Escaped, with each suffix once and at the end."""
    tokens = [token for token in _NOT_A_TOKEN.split(name) if token]
    main, per = (_clean(word) for word in _unit_words(unit))
    per = "" if per == "per_" else per.removesuffix("_")
    if main in tokens:
        main = ""
    if per in tokens:
        per = ""
    if per:
        main = main.removesuffix("_")
    tokens += [word for word in (main, per) if word]
    if counter:
        tokens = _moved_last(tokens, "total")
    if gauge and unit == "1":
        tokens = _moved_last(tokens, "ratio")
    return "_".join(tokens)


def _moved_last(tokens: Sequence[str], token: str) -> list[str]:
    return [*(one for one in tokens if one != token), token]


def _suffixed(name: str, unit: str, counter: bool, gauge: bool) -> str:
    """As it is, with suffixes: main unit, per unit, total, ratio, from the inside out."""
    main, per = _unit_words(unit)
    outer = []
    for wanted, suffix in ((gauge and unit == "1", "ratio"), (counter, "total"), (per, per)):
        if wanted:
            name = _trimmed(name, suffix)
            outer.append(suffix)
    if main and not name.endswith(main):
        name = f"{name}_{main}"
    return "_".join([name, *reversed(outer)])


def _trimmed(name: str, suffix: str) -> str:
    """*name* without *suffix* and the one character that sets it off."""
    if name.endswith(suffix) and len(name) > len(suffix) + 1:
        return name[: -len(suffix) - 1]
    return name
