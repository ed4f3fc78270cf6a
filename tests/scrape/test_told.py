"""What a target says of its metrics outlives them by ten scrapes, as in Prometheus."""

from scrape.told import KEPT_SCRAPES, Told
from series.metadata import Metadata

A, B = Metadata("counter", "All of a.", ""), Metadata("gauge", "b now.", "bytes")
LATER = Metadata("gauge", "All of a.", "")


def test_the_last_page_counts() -> None:
    """Where a metric is on it again, what it says now."""
    told = Told()
    told.hear({"a": A, "b": B})
    told.hear({"b": B})
    told.hear({"a": LATER})
    assert told.page == {"a": LATER}
    assert told.all() == {"a": LATER, "b": B}


def test_a_metric_is_forgotten_after_ten_scrapes_without_it() -> None:
    """However the pages change meanwhile, and not before."""
    told = Told()
    told.hear({"a": A, "b": B})
    for scrape in range(KEPT_SCRAPES):
        told.hear({"b": B} if scrape % 2 else {"b": LATER})
        assert told.all()["a"] == A
    told.hear({"b": B})
    assert told.all() == {"b": B}


def test_a_metric_that_comes_and_goes_is_kept() -> None:
    """Its ten scrapes begin anew each time."""
    told = Told()
    for _ in range(3):
        told.hear({"a": A})
        for _ in range(KEPT_SCRAPES):
            told.hear({})
        assert told.all() == {"a": A}
    told.hear({})
    assert told.all() == {}


def test_who_reads_meanwhile_is_not_disturbed() -> None:
    """What a reader in another thread goes through stays as it was when he began."""
    told = Told()
    told.hear({"a": A})
    told.hear({})
    reading = iter(told._gone.items())
    told.hear({"a": A, "b": B})
    told.hear({})
    assert dict(reading).keys() == {"a"}
