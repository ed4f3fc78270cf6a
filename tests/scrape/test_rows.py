"""Rows: labels of target and page together, rules, limits, what is tracked and what is new."""

from pathlib import Path

import pytest

from scrape.rows import Mapped, PageRefused, Rows, SampleLimit, mark_empty_values
from series.labels import Labels
from tests.scrape.worlds import TEXT, job_of
from wire.exposition import decode

TARGET = Labels.of({"job": "j", "instance": "i"})


def rows_of(directory: Path, text: str = "") -> Rows:
    return Rows(job_of(directory, f"job_name: j\n{text}"), TARGET)


def mapped(rows: Rows, page: str) -> Mapped:
    scraped = decode(page.encode(), TEXT, 1)
    return rows.map(scraped.batch, scraped.explicit)


def texts(found: Mapped) -> list[str]:
    arena = found.keys.arena.tobytes()
    spans = zip(found.keys.starts.tolist(), found.keys.ends.tolist(), strict=True)
    return [str(Labels.from_key(arena[a:b])) for a, b in spans]


def test_the_targets_labels_win(tmp_path: Path) -> None:
    """The page's labels of the same name are kept under a prefix that is free."""
    page = 'a{job="x",exported_job="y",z="1"} 1\n'

    assert texts(mapped(rows_of(tmp_path), page)) == [
        '{__name__="a", exported_exported_job="x", exported_job="y", instance="i", job="j", z="1"}'
    ]


def test_the_pages_labels_win_where_honored(tmp_path: Path) -> None:
    """An empty label of the page keeps the target's away."""
    rows = rows_of(tmp_path, "honor_labels: true")
    page = mark_empty_values(b'a{job="x",instance= ""} 1\nb{q="=\\"\\""} 2\n').decode()

    assert texts(mapped(rows, page)) == [
        '{__name__="a", job="x"}',
        '{__name__="b", instance="i", job="j", q="=\\"\\""}',
    ]


def test_rules_rename_and_drop(tmp_path: Path) -> None:
    """Dropped rows are not kept; the others have what the rules made of them."""
    rows = rows_of(
        tmp_path,
        """metric_relabel_configs:
  - {source_labels: [__name__], regex: b, action: drop}
  - {source_labels: [__name__], regex: "(.)", target_label: __name__, replacement: "new_$1"}
""",
    )

    found = mapped(rows, "a 1\nb 2\nc 3\n")

    assert found.kept.tolist() == [0, 2]
    assert [text.split(",")[0] for text in texts(found)] == [
        '{__name__="new_a"',
        '{__name__="new_c"',
    ]


def test_the_same_page_is_mapped_once(tmp_path: Path) -> None:
    """Keys that did not change give the very arrays of before, and nothing is new."""
    rows = rows_of(tmp_path)
    first = mapped(rows, "a 1\nb 2\n")
    second = mapped(rows, "a 5\nb 6\n")

    assert (first.added, second.added) == (2, 0)
    assert second.keys is first.keys
    assert mapped(rows, "a 5\nb 6\n").added == 0


def test_only_new_rows_count_as_added(tmp_path: Path) -> None:
    """A series is new when the page before did not have it, in whatever order they come."""
    rows = rows_of(tmp_path)
    mapped(rows, "a 1\nb 2\n")

    assert mapped(rows, "c 1\na 2\n").added == 1
    assert mapped(rows, "b 1\na 2\nb 1\n").added == 1


def test_rows_with_their_own_time_are_not_tracked(tmp_path: Path) -> None:
    """Unless the job asks for it."""
    page = "a 1\nb 2 1000\n"
    plain, tracking = (
        rows_of(tmp_path),
        rows_of(tmp_path, "track_timestamps_staleness: true"),
    )

    mapped(plain, page)
    mapped(tracking, page)
    assert [len(rows.tracked) for rows in (plain, tracking)] == [1, 2]

    mapped(plain, "a 1 1000\nb 2\n")
    assert [Labels.from_key(key).metric for key in plain.tracked] == ["b"]


@pytest.mark.parametrize(
    ("limit", "page", "reason"),
    [
        ("label_limit: 3", 'a{x="1"} 1\n', "label-limit"),
        ("label_name_length_limit: 8", 'a{long_name="1"} 1\n', "label-name-length-limit"),
        ("label_value_length_limit: 3", 'a{x="1234"} 1\n', "label-value-length-limit"),
        ("metric_relabel_configs: [{action: labeldrop, regex: __name__}]", "a 1\n",
         "missing-metric-name"),
    ],
)  # fmt: skip
def test_a_page_beyond_a_limit_is_refused(
    tmp_path: Path, limit: str, page: str, reason: str
) -> None:
    """One series beyond a limit fails the page, and what was known stays."""
    rows = rows_of(tmp_path, limit)

    with pytest.raises(PageRefused) as refused:
        mapped(rows, page)

    assert refused.value.reason == reason
    assert not rows.tracked


def test_the_sample_limit_counts_what_is_kept(tmp_path: Path) -> None:
    """Samples that a rule drops do not count."""
    rules = "metric_relabel_configs: [{source_labels: [__name__], regex: d, action: drop}]"
    rows = rows_of(tmp_path, f"sample_limit: 2\n{rules}")

    mapped(rows, "a 1\nb 2\nd 3\n")
    with pytest.raises(SampleLimit) as refused:
        mapped(rows, "a 1\nb 2\nc 3\n")

    assert (refused.value.kept, refused.value.added) == (3, 0)
    assert len(rows.tracked) == 2


def test_a_takeover_tracks_the_series_of_both(tmp_path: Path) -> None:
    """What the one before tracked and the new page lacks can still be ended."""
    before, rows = rows_of(tmp_path), rows_of(tmp_path)
    mapped(before, "a 1\nb 2\n")
    rows.take_over(before)
    tracked = rows.tracked

    mapped(rows, "b 1\n")

    assert [Labels.from_key(key).metric for key in tracked - rows.tracked] == ["a"]
