"""Every input that is kept is read or refused, and nothing else happens."""

import re

import pytest

from tests.fuzz.targets import ALL, CORPUS, corpus, target

MAX_FILES = 60
MAX_CORPUS_BYTES = 500 << 10


@pytest.mark.parametrize("name", ALL)
def test_kept_inputs_are_read_or_refused(name: str) -> None:
    """None breaks its decoder, what is asserted of answers holds, and both outcomes occur."""
    decoder = target(name)
    refusals = {error.__name__ for error in decoder.refusals}
    refused = [
        isinstance(found, tuple) and found[0] in refusals
        for found in map(decoder.outcome, corpus(name))
    ]
    assert not all(refused)
    assert any(refused) or name in ("influx", "json_lines")


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("snappy", "found-empty-with-more", "snappy: corrupt input"),
        ("prometheus_chunk", "found-many-samples", "it ends before its samples do"),
        ("openmetrics", "found-exemplar-value-beyond-float64", "value out of range"),
        ("openmetrics", "found-exemplar-time-beyond-int64", "invalid exemplar timestamp"),
        ("otlp_json", "found-deep-integer", "timeUnixNano: not an integer"),
        ("promql", "found-long-duration-sum", "duration is nested too deeply, at most 100 levels"),
        ("promql", "found-deep-duration-parens", "duration is nested too deeply"),
        ("prometheus_yml", "found-endless-merge", ":1: nested deeper than 100 levels"),
        ("prometheus_yml", "found-endless-alias", ":1: nested deeper than 100 levels"),
        ("prometheus_yml", "found-size-beyond-float64", "is more than any size"),
        ("discovered", "found-month-13", "targets.yml: month must be in 1..12"),
    ],
)
def test_what_was_found_is_refused_by_name(name: str, file: str, words: str) -> None:
    """Where a decoder once broke it now tells what is wrong."""
    decoder = target(name)
    with pytest.raises(decoder.refusals, match=re.escape(words)):
        decoder.read((CORPUS / name / file).read_bytes())


def test_corpora_stay_small() -> None:
    """A checkout does not grow by what a fuzzer finds interesting."""
    assert {path.name for path in CORPUS.iterdir()} == set(ALL)
    files = [path for name in ALL for path in (CORPUS / name).iterdir()]
    assert all(len(corpus(name)) <= MAX_FILES for name in ALL)
    assert sum(path.stat().st_size for path in files) <= MAX_CORPUS_BYTES
