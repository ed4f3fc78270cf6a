"""How a job scrapes histograms: the keys that ``global`` and a job's own entry share."""

from dataclasses import dataclass

from scrape.document import Section

KEYS = (
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
)


@dataclass(frozen=True, slots=True)
class HistogramOptions:
    """As config/config.go of Prometheus 3.14 has them.

    - ``native``: native histograms are read where a target shows them, else only classic ones.
    - ``always_classic``: the classic series of a histogram are stored beside a native one.
    - ``convert``: classic histograms become native ones with their bounds as custom buckets.
    """

    native: bool = False
    always_classic: bool = False
    convert: bool = False


ONLY_CLASSIC = HistogramOptions()


def parse_histograms(section: Section, default: HistogramOptions) -> HistogramOptions:
    """What *section* says of them; *default* where it says nothing."""
    values = (default.native, default.always_classic, default.convert)
    return HistogramOptions(
        *(section.flag(key, value) for key, value in zip(KEYS, values, strict=True))
    )
