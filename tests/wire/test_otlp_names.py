"""Names of metrics, labels and units under the four strategies."""

import pytest

from wire.otlp_names import UnnamableError, label_name, metric_name, unit_name
from wire.otlp_options import Options, Strategy, options_from_config

ESCAPED, PLAIN, SUFFIXED, AS_IS = (
    Strategy.UNDERSCORES_WITH_SUFFIXES,
    Strategy.UNDERSCORES,
    Strategy.UTF8_WITH_SUFFIXES,
    Strategy.UTF8,
)


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.duration", "s", "", "http_server_duration_seconds"),
        ("system.io", "By", "counter", "system_io_bytes_total"),
        ("tx_bytes_total", "By", "counter", "tx_bytes_total"),
        ("a.total.count", "", "counter", "a_count_total"),
        ("\t fs.usage  ", "  By\t", "gauge", "fs_usage_bytes"),
        ("net.dropped", "{packets}", "counter", "net_dropped_total"),
        ("net.packets.dropped", "packets", "gauge", "net_packets_dropped"),
        ("gpu.utilization", "1", "gauge", "gpu_utilization_ratio"),
        ("fan.speed_ratio", "1", "gauge", "fan_speed_ratio"),
        ("objects", "1", "counter", "objects_total"),
        ("objects", "1", "", "objects"),
        ("speed", "km/h", "gauge", "speed_km_per_hour"),
        ("speed", "m/s", "gauge", "speed_meters_per_second"),
        ("speed", "km/°", "gauge", "speed_km"),
        ("rate", "{objects}/s", "gauge", "rate_per_second"),
        ("rate", "1/s", "counter", "rate_per_second_total"),
        ("rate.per_second", "By/s", "gauge", "rate_per_second_bytes_per_second"),
        ("success", "%", "gauge", "success_percent"),
        ("3.14 digits", "", "gauge", "_3_14_digits"),
        (":foo::bar", "", "counter", ":foo::bar_total"),
        ("envoy__rule", "", "gauge", "envoy_rule"),
        ("with_字符_in", "", "counter", "with_in_total"),
        ("x", "°:C", "gauge", "x_:C"),
        ("disk", "TiBy", "gauge", "disk_tibibytes"),
    ],
)
def test_escaped_with_suffixes(name: str, unit: str, kind: str, expected: str) -> None:
    """Illegal characters become underscores, unit and type follow once each."""
    built = metric_name(ESCAPED, name, unit, counter=kind == "counter", gauge=kind == "gauge")
    assert built == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("system.io", "system_io"),
        ("3.14 digits", "_3_14_digits"),
        ("envoy__rule", "envoy__rule"),
        ("a_字符_b", "a___b"),
        ("(x)", "x"),
    ],
)
def test_escaped_without_suffixes(name: str, expected: str) -> None:
    """Underscores that were there stay, and nothing is appended."""
    assert metric_name(PLAIN, name, "s", counter=True, gauge=False) == expected


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("system.io", "By", "counter", "system.io_bytes_total"),
        ("system.io_total", "By", "counter", "system.io_bytes_total"),
        ("cpu_seconds_total", "s", "counter", "cpu_seconds_total"),
        ("foo.bar", "1", "gauge", "foo.bar_ratio"),
        ("requêsts", "1/s", "gauge", "requêsts_per_second"),
        ("io", "foo/bar", "counter", "io_foo_per_bar_total"),
        ("@#$%", "", "counter", "@#$%_total"),
        ("t", "%*()°C", "gauge", "t_%*()°C"),
        ("3.14 digits", "", "gauge", "3.14 digits"),
    ],
)
def test_utf8_with_suffixes(name: str, unit: str, kind: str, expected: str) -> None:
    """Names stay as they are but for the suffixes."""
    built = metric_name(SUFFIXED, name, unit, counter=kind == "counter", gauge=kind == "gauge")
    assert built == expected


def test_no_translation() -> None:
    """Nothing is changed."""
    assert metric_name(AS_IS, "http.ünit", "s", counter=True, gauge=False) == "http.ünit"
    assert label_name(AS_IS, "http.méthod", sanitize_underscore=True) == "http.méthod"


@pytest.mark.parametrize("strategy", [ESCAPED, PLAIN])
@pytest.mark.parametrize("name", ["", "@#$%", "..."])
def test_names_without_a_letter_are_refused(strategy: Strategy, name: str) -> None:
    """Nothing but separators is no name."""
    with pytest.raises(UnnamableError, match="normalization for metric name"):
        metric_name(strategy, name, "", counter=False, gauge=False)
    with pytest.raises(UnnamableError, match="normalization for label name"):
        label_name(strategy, name, sanitize_underscore=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("http.method", "http_method"),
        ("a..b", "a__b"),
        ("123abc", "key_123abc"),
        ("_private", "key_private"),
        (".hidden", "key_hidden"),
        ("__reserved__", "__reserved__"),
        ("ünit", "key_nit"),
        ("a:b", "a_b"),
    ],
)
def test_escaped_labels(name: str, expected: str) -> None:
    """Labels begin with a letter unless they are reserved."""
    assert label_name(ESCAPED, name, sanitize_underscore=True) == expected


def test_underscores_may_be_left_alone() -> None:
    """Without the sanitization a single underscore leads."""
    assert label_name(ESCAPED, "_private", sanitize_underscore=False) == "_private"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("s", "seconds"),
        ("By/s", "bytes_per_second"),
        ("1", ""),
        ("1/s", "per_second"),
        ("{x}", ""),
        ("a@b/c", "a_b_per_c"),
    ],
)
def test_units(unit: str, expected: str) -> None:
    """Metadata names the unit by its words."""
    assert unit_name(ESCAPED, unit) == expected


def test_the_configuration_block_is_read() -> None:
    """Prometheus' keys choose the options."""
    chosen = options_from_config(
        {
            "translation_strategy": "NoTranslation",
            "promote_resource_attributes": ["host.name"],
            "keep_identifying_resource_attributes": True,
            "convert_histograms_to_nhcb": False,
        }
    )
    assert chosen == Options(
        AS_IS, frozenset({"host.name"}), keep_identifying_resource_attributes=True
    )


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"translation_strategy": "x"}, "otlp.translation_strategy: 'x' is none of"),
        ({"promote_scope_metadata": 1}, "otlp.promote_scope_metadata"),
        ({"promote_resource_attributes": "a"}, "not a list"),
        ({"promote_resource_attributes": ["a", "a"]}, "twice"),
        ({"convert_histograms_to_nhcb": 1}, "otlp.convert_histograms_to_nhcb: 1 is not true"),
        ({"what": 1}, "otlp.what: unknown key"),
        (
            {"promote_all_resource_attributes": True, "promote_resource_attributes": ["a"]},
            "cannot be configured simultaneously",
        ),
        ({"ignore_resource_attributes": ["a"]}, "needs"),
    ],
)
def test_bad_configuration_is_named(block: dict[str, object], words: str) -> None:
    """Each mistake by its key."""
    with pytest.raises(ValueError, match=words):
        options_from_config(block)
