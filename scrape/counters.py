"""Counters of scraping, for ``/metrics``; written by the scraping thread alone."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Counts since the start.

    - ``scrapes``: visits, failed ones included; ``failures``: those by reason.
    - ``skipped_ticks``: visits left out because the one before was still on its way.
    - ``samples``, ``body_bytes``: what the pages held, before relabelling and uncompressed.
    - ``discovery_failures``: by mechanism; what was found before stays in force.
    """

    scrapes: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    skipped_ticks: int = 0
    samples: int = 0
    body_bytes: int = 0
    discovery_failures: Counter[str] = field(default_factory=Counter)
