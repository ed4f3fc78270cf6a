"""OtlpTenants: what the OTLP door remembers of each tenant, and what it tells of itself."""

import threading
from collections import OrderedDict

from prometheus_client import CollectorRegistry, Counter, Gauge

from wire.otlp_options import Options
from wire.otlp_request import MetricsRequest
from wire.otlp_translate import Translator

MAX_NAMES_BYTES = 256 << 20
"""What the names of all tenants may take; beyond it those of the longest idle are forgotten."""
_CHECK_EVERY = 64


class OtlpTenants:
    """One Translator a tenant. Safe for threads."""

    def __init__(self, options: Options, registry: CollectorRegistry) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._translators: OrderedDict[str, Translator] = OrderedDict()
        self._requests = 0
        self._points = Counter(
            "o11y_otlp_data_points", "Data points received over OTLP.", registry=registry
        )
        for name, text, ask in (
            ("o11y_otlp_delta_series", "Series whose deltas are summed up.", self._delta_series),
            ("o11y_otlp_names_bytes", "Memory of the names known to OTLP.", self._names_bytes),
        ):
            Gauge(name, text, registry=registry).set_function(ask)

    def of(self, tenant: str) -> Translator:
        """The tenant's translator; made where it is the first time."""
        with self._lock:
            translator = self._translators.get(tenant)
            if translator is None:
                translator = self._translators[tenant] = Translator(self.options)
            self._translators.move_to_end(tenant)
            self._requests += 1
            due = self._requests % _CHECK_EVERY == 0
        if due:
            self._forget_idle()
        return translator

    def count(self, request: MetricsRequest) -> None:
        """Counts one request."""
        self._points.inc(request.points)

    def _all(self) -> list[Translator]:
        """From the longest idle to the latest."""
        with self._lock:
            return list(self._translators.values())

    def _forget_idle(self) -> None:
        translators = self._all()
        sizes = [translator.size_bytes for translator in translators]
        surplus = sum(sizes) - MAX_NAMES_BYTES
        for translator, size_bytes in zip(translators[:-1], sizes, strict=False):
            if surplus <= 0:
                return
            translator.forget_names()
            surplus -= size_bytes

    def _delta_series(self) -> float:
        return sum(translator.delta_series for translator in self._all())

    def _names_bytes(self) -> float:
        return sum(translator.size_bytes for translator in self._all())
