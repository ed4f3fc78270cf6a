"""The label kernels against a slow twin over the labels themselves."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from series.batch import build_batch
from series.labels import Labels
from server.access.keys import parse_matcher
from server.access.limits import Limits
from server.answers import label_kernels as kernels
from server.answers.sifting import Sifted, check_labels, keep_in_scope

names = st.sampled_from(["a", "b", "cluster", "é", "n" * 130])
values = st.sampled_from(["x", "y", "v" * 40, "w" * 200, "é" * 20])
label_sets = st.lists(st.dictionaries(names, values, max_size=5).map(Labels.of), max_size=8)


@given(label_sets, names)
def test_labels_are_found_and_cut(series: list[Labels], name: str) -> None:
    """The value of every row, runs of equal ones, and the keys without the label."""
    batch = build_batch((labels, [1, 2], [1.0, 2.0]) for labels in series)
    found = np.empty((len(series), 4), dtype=np.int64)
    wanted = np.frombuffer(name.encode(), dtype=np.uint8)
    kernels.find_label(batch.keys, batch.key_starts, batch.key_ends, wanted, found)
    texts = [batch.keys[a:b].tobytes().decode() if a >= 0 else "" for _, a, b, _ in found.tolist()]
    assert texts == [labels.get(name) for labels in series]
    for row in range(1, len(series)):
        assert (found[row, 3] == found[row - 1, 3]) == (texts[row] == texts[row - 1])
    out = np.empty(len(batch.keys), dtype=np.uint8)
    ends = np.empty(len(series), dtype=np.int64)
    kernels.cut_label(batch.keys, batch.key_starts, batch.key_ends, found, out, ends)
    starts = [0, *ends.tolist()]
    cut = [out[a:b].tobytes() for a, b in pairwise(starts)]
    assert cut == [labels.without([name]).key for labels in series]


@given(label_sets, st.integers(1, 5), st.integers(1, 150), st.integers(1, 210))
def test_sizes_are_judged(series: list[Labels], most: int, name: int, value: int) -> None:
    """What stays is what keeps every limit; each refused sample is counted once."""
    limits = Limits(
        max_label_names_per_series=most, max_label_name_length=name, max_label_value_length=value
    )
    batch = build_batch((labels, [1, 2], [1.0, 2.0]) for labels in series)
    sifted = Sifted(batch)
    check_labels(sifted, limits)
    sifted.batch.check()
    good = [
        labels
        for labels in series
        if len(labels) <= most
        and all(len(n.encode()) <= name and len(v.encode()) <= value for n, v in labels)
    ]
    rows = range(sifted.batch.series_count)
    assert [Labels.from_key(sifted.batch.key(row)) for row in rows] == good
    assert sum(sifted.refused.values()) == 2 * (len(series) - len(good))


@given(label_sets, st.sampled_from(['a="x"', 'a!="x"', 'b=~"x|v+"', 'cluster!~".+"', 'a=""']))
def test_scopes_hold(series: list[Labels], text: str) -> None:
    """A missing label is the empty text, as in queries."""
    matcher = parse_matcher(text)
    sifted = Sifted(build_batch((labels, [1], [1.0]) for labels in series))
    keep_in_scope(sifted, (matcher,))
    rows = range(sifted.batch.series_count)
    kept = [Labels.from_key(sifted.batch.key(row)) for row in rows]
    assert kept == [labels for labels in series if matcher.matches(labels.get(matcher.name))]


def test_info_series_may_have_more_labels() -> None:
    """Up to a limit of their own, which names itself; other series keep theirs."""
    more = {f"l{k}": "x" for k in range(4)}
    sets = [
        {"__name__": "build_info", **more},
        {"__name__": "build_info", **more, "one": "more"},
        {"__name__": "build", **more},
        {"__name__": "build_info", "long": "x" * 50, **more},
        {"__name__": "up"},
    ]
    batch = build_batch((Labels.of(one), [1], [1.0]) for one in sets)
    limits = Limits(
        max_label_names_per_series=4,
        max_label_names_per_info_series=5,
        max_label_value_length=40,
    )
    sifted = Sifted(batch)
    check_labels(sifted, limits)
    rows = range(sifted.batch.series_count)
    kept = [Labels.from_key(sifted.batch.key(row)).metric for row in rows]
    assert kept == ["build_info", "up"]
    assert sifted.refused == {
        "max-label-names-per-series": 1,
        "max-label-names-per-info-series": 1,
        "label-value-too-long": 1,
    }
    assert any("actual: 6, limit: 5" in refusal.detail for refusal in sifted.refusals)
