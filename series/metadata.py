"""Metadata: what senders tell about a metric besides its samples."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metadata:
    """Type, help text and unit of one metric.

    ``type`` is one of Prometheus' lower-case words: counter, gauge, histogram, gaugehistogram,
    summary, info, stateset, unknown. ``help`` and ``unit`` may be empty.
    """

    type: str
    help: str
    unit: str
