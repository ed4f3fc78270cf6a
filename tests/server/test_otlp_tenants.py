"""What the OTLP door remembers: bounded in all, totals never forgotten; its block of settings."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from scrape.config import load_config
from scrape.document import ConfigError
from server.doors import otlp_tenants
from server.doors.otlp_tenants import OtlpTenants
from tests.wire.otlp import DELTA, NOW_MS, Export, translate, values
from wire.otlp_options import Options, Strategy


def test_names_of_idle_tenants_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the longest idle gives its names back, and keeps its totals."""
    registry = CollectorRegistry()
    tenants = OtlpTenants(Options(), registry)
    for tenant in "ab":
        body = Export().counter("c", 1, temporality=DELTA).body
        translate(tenants.of(tenant), body)
    first, second = (tenants.of(tenant).size_bytes for tenant in "ab")
    monkeypatch.setattr(otlp_tenants, "MAX_NAMES_BYTES", first)
    monkeypatch.setattr(otlp_tenants, "_CHECK_EVERY", 1)
    tenants.of("b")
    assert tenants.of("b").size_bytes == second
    assert tenants.of("a").size_bytes < first
    body = Export().counter("c", 2, temporality=DELTA, at_ms=NOW_MS + 1).body
    assert values(translate(tenants.of("a"), body)) == {'{__name__="c_total"}': 3}
    assert registry.get_sample_value("o11y_otlp_delta_series") == 2


def test_the_configuration_file_sets_the_options(tmp_path: Path) -> None:
    """The otlp block of a Prometheus configuration; mistakes are told with their line."""
    file = tmp_path / "prometheus.yml"
    file.write_text("otlp:\n  translation_strategy: NoTranslation\n")
    assert load_config(file).otlp == Options(Strategy.UTF8)
    file.write_text("global:\notlp:\n  promote_scope_metadata: true\n  what: 1\n")
    with pytest.raises(ConfigError, match=r"yml:4: otlp\.what: unknown key"):
        load_config(file)
    file.write_text("global:\n")
    assert load_config(file).otlp == Options()
