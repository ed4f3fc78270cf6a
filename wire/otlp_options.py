"""How OTLP metrics become series: the settings, under the names of Prometheus' ``otlp`` block."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Strategy(Enum):
    """The four name-translation strategies; values as in Prometheus' configuration."""

    UNDERSCORES_WITH_SUFFIXES = "UnderscoreEscapingWithSuffixes"
    UNDERSCORES = "UnderscoreEscapingWithoutSuffixes"
    UTF8_WITH_SUFFIXES = "NoUTF8EscapingWithSuffixes"
    UTF8 = "NoTranslation"

    @property
    def escapes(self) -> bool:
        """Whether names are reduced to letters, digits, underscores (and colons)."""
        return self in (Strategy.UNDERSCORES_WITH_SUFFIXES, Strategy.UNDERSCORES)

    @property
    def suffixes(self) -> bool:
        """Whether unit and type are appended to metric names."""
        return self in (Strategy.UNDERSCORES_WITH_SUFFIXES, Strategy.UTF8_WITH_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Options:
    """The translation's settings.

    - ``promote_resource_attributes``: become labels of every series of the resource; with
      ``promote_all_resource_attributes`` all do but the ``ignore_resource_attributes``.
    - ``keep_identifying_resource_attributes``: target_info carries service.name,
      service.namespace and service.instance.id too.
    - ``label_name_underscore_sanitization``: a label that begins with one underscore gets "key"
      before it.
    - ``promote_scope_metadata``: name, version, schema URL and attributes of the instrumentation
      scope become labels ``otel_scope_*``.
    - ``type_and_unit_labels``: series carry ``__type__`` and ``__unit__``.
    - ``convert_histograms_to_nhcb``: cumulative histograms with explicit buckets become native ones
      with custom buckets.
    - ``lookback_delta_ms``: of the query engine; target_info has a sample at least every half.
    - ``max_delta_series``: of how many series a tenant's delta sums are remembered.
    """

    translation_strategy: Strategy = Strategy.UNDERSCORES_WITH_SUFFIXES
    promote_resource_attributes: frozenset[str] = frozenset()
    promote_all_resource_attributes: bool = False
    ignore_resource_attributes: frozenset[str] = frozenset()
    keep_identifying_resource_attributes: bool = False
    label_name_underscore_sanitization: bool = True
    promote_scope_metadata: bool = False
    type_and_unit_labels: bool = False
    convert_histograms_to_nhcb: bool = False
    lookback_delta_ms: int = 300_000
    max_delta_series: int = 100_000


_FLAGS = (
    "promote_all_resource_attributes",
    "keep_identifying_resource_attributes",
    "label_name_underscore_sanitization",
    "promote_scope_metadata",
    "convert_histograms_to_nhcb",
)
_LISTS = ("promote_resource_attributes", "ignore_resource_attributes")


def options_from_config(block: Mapping[str, object]) -> Options:
    """The Options of the ``otlp`` block of a Prometheus configuration.

    ValueError names the key that is unknown or has a value of the wrong kind.
    """
    chosen: dict[str, object] = {}
    for key, value in block.items():
        if key in _FLAGS:
            if not isinstance(value, bool):
                raise ValueError(f"otlp.{key}: {value!r} is not true or false")
            chosen[key] = value
        elif key in _LISTS:
            chosen[key] = _names(key, value)
        elif key == "translation_strategy":
            chosen[key] = _strategy(value)
        else:
            raise ValueError(f"otlp.{key}: unknown key")
    options = Options(**chosen)  # type: ignore[arg-type]
    if options.promote_all_resource_attributes and options.promote_resource_attributes:
        raise ValueError(
            "otlp: 'promote_all_resource_attributes' and 'promote_resource_attributes'"
            " cannot be configured simultaneously"
        )
    if options.ignore_resource_attributes and not options.promote_all_resource_attributes:
        raise ValueError(
            "otlp: 'ignore_resource_attributes' needs 'promote_all_resource_attributes'"
        )
    return options


def _strategy(value: object) -> Strategy:
    try:
        return Strategy(value)
    except ValueError:
        known = ", ".join(one.value for one in Strategy)
        raise ValueError(f"otlp.translation_strategy: {value!r} is none of {known}") from None


def _names(key: str, value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f"otlp.{key}: {value!r} is not a list of attribute names")
    if len(set(value)) < len(value):
        raise ValueError(f"otlp.{key}: an attribute name occurs twice")
    return frozenset(value)
