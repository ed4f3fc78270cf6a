"""The tools that judge the server see what they must see."""

import math
import struct
import sys
from pathlib import Path

import pytest

from benchmarks.api import Answer, differences, to_answer
from benchmarks.processes import NotStarted, Process
from benchmarks.remote_write import encode_labels, encode_series, varint

A, B = (("job", "a"),), (("job", "b"),)


def vector(*rows: tuple[tuple[tuple[str, str], ...], float]) -> Answer:
    return Answer("vector", [(labels, [(10.0, value)]) for labels, value in rows])


def test_equal_answers_have_no_differences() -> None:
    """NaN equals NaN, tiny errors are allowed, and the order of a vector does not count."""
    ours = vector((A, math.nan), (B, 1.0))
    assert differences(ours, vector((B, 1.0 + 1e-12), (A, math.nan))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        vector((A, 1.0)),
        vector((A, 1.0), (B, 2.0), ((), 3.0)),
        vector((A, 1.0), (B, 2.0 + 1e-8)),
        vector((A, 1.0), (B, math.nan)),
        vector((A, 1.0), ((("job", "c"),), 2.0)),
        Answer("vector", [(A, [(10.0, 1.0)]), (B, [(10.001, 2.0)])]),
        Answer("matrix", [(A, [(10.0, 1.0)]), (B, [(10.0, 2.0)])]),
    ],
)
def test_every_kind_of_difference_is_found(wrong: Answer) -> None:
    """A missing, invented or renamed series, another time, value or type."""
    assert differences(wrong, vector((A, 1.0), (B, 2.0)))


def test_order_counts_where_it_is_asked_for() -> None:
    """Of a vector on demand, of a matrix always."""
    left, right = vector((A, 1.0), (B, 2.0)), vector((B, 2.0), (A, 1.0))
    assert differences(left, right, ordered=True)
    assert differences(Answer("matrix", left.series), Answer("matrix", right.series))


def test_a_label_set_that_stands_twice_is_an_error() -> None:
    """An answer may not hold the same labels twice."""
    with pytest.raises(ValueError, match="twice"):
        differences(vector((A, 1.0), (A, 1.0)), vector((A, 1.0)))


def test_answers_are_read_as_the_servers_write_them() -> None:
    """Values are texts, infinities and NaN too; a scalar is one nameless series."""
    assert to_answer({"resultType": "scalar", "result": [1.5, "+Inf"]}).series == [
        ((), [(1.5, math.inf)])
    ]
    row = {"metric": {"b": "2", "a": "1"}, "values": [[1, "-0"], [2, "1e+21"]]}
    read = to_answer({"resultType": "matrix", "result": [row]})
    assert read.series == [((("a", "1"), ("b", "2")), [(1.0, -0.0), (2.0, 1e21)])]


def test_encoded_bytes_are_those_of_the_specification() -> None:
    """One series with one label and one sample, byte by byte."""
    labels = encode_labels({"a": "b"})
    assert labels == b"\x0a\x06\x0a\x01a\x12\x01b"
    sample = b"\x12\x0c\x09" + struct.pack("<d", 1.0) + b"\x10\xac\x02"
    assert encode_series(labels, [(300, 1.0)]) == b"\x0a\x16" + labels + sample
    assert varint(-1) == b"\xff" * 9 + b"\x01"


def test_a_process_that_ends_early_says_so(tmp_path: Path) -> None:
    """The error holds the exit code and the output, not only a timeout."""
    argv = [sys.executable, "-c", "print('no such file'); raise SystemExit(3)"]
    with (
        Process(argv, tmp_path / "log") as process,
        pytest.raises(NotStarted, match=r"ended with 3(.|\n)*no such file"),
    ):
        process.wait_for_output("listening", 10)
