"""The ``otlp`` block of a configuration: how metrics that come over OTLP become series."""

from scrape.document import Section
from wire.otlp_options import Options, options_from_config


def parse_otlp(top: Section) -> Options:
    """The block's Options, the defaults where there is none; ConfigError names key and line."""
    section = top.section("otlp")
    if section is None:
        return Options()
    try:
        return options_from_config(section.plain())
    except ValueError as error:
        key = str(error).partition(":")[0].removeprefix("otlp.")
        raise section.error(str(error), key) from None
