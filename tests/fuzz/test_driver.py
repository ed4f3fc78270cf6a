"""The fuzzer finds what it is there to find."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import protobuf_tree
from tests.fuzz.campaign import ROOT
from tests.fuzz.loop import Slate, TooSlow, fuzz
from tests.fuzz.mutate import FLOOD_BYTES, Shape, mutate
from tests.fuzz.target import Outcome, Target, shape_of
from tests.fuzz.targets import corpus

STRAYING = """
from tests.fuzz.bounds import check_kernels
check_kernels()
import numpy as np
from series import jit
from series.jit import helper, kernel, load_u64, pointer

@helper
def at_pointer(data, at):
    return data[at]

@kernel("u1(u1[::1], i8)")
def reads(data, at):
    return at_pointer(pointer(data), at)

@kernel("u8(u1[::1], i8)")
def loads(data, at):
    return load_u64(pointer(data), at)

@kernel("void(i8[:, ::1], i8)")
def writes(rows, at):
    rows[at, 0] = 1

data, rows = np.arange(16, dtype=np.uint8), np.zeros((16, 2), dtype=np.int64)
assert reads(data, 15) == 15 and loads(data, 8) == 0x0F0E0D0C0B0A0908
writes(rows, 15)
for kernel, array, at in (
    (reads, data, 16), (reads, data, -1), (loads, data, 9), (loads, data, -1),
    (writes, rows, 16), (writes, rows, -1),
):
    try:
        kernel(array, at)
    except IndexError:
        continue
    raise SystemExit(f"{kernel} at {at}")
"""


def _target(read: Callable[[bytes], Outcome], seconds: float = 1.0) -> Target:
    return Target("planted", read, (ValueError,), Shape.BYTES, (b"magic",), seconds)


def test_a_planted_fault_is_found_and_made_small() -> None:
    """Also behind a word that only the dictionary knows; nothing is left that it does not need."""

    def read(data: bytes) -> Outcome:
        if b"magic" in data:
            raise KeyError(data)
        if b"m" not in data:
            raise ValueError("no m")
        return len(data) // 16

    report = fuzz(_target(read), [b"some text to begin with" * 9], 1, runs=20_000)
    assert report.finding is not None
    assert report.finding.data == b"magic"
    assert "KeyError" in report.finding.error


def test_what_takes_long_or_much_memory_is_found() -> None:
    """Both are findings like any other exception."""

    def slow(data: bytes) -> Outcome:
        while len(data) > 10:
            pass
        return len(data)

    def large(data: bytes) -> Outcome:
        return len(bytearray(8 << 20)) if len(data) > 10 else len(data)

    for read, words in ((slow, TooSlow.__name__), (large, "bytes of memory")):
        report = fuzz(_target(read, 0.02), [b"short"], 1, runs=5000)
        assert report.finding is not None
        assert words in report.finding.error


def test_a_seed_tells_the_whole_run() -> None:
    """Two runs with one seed keep the same inputs, another seed others."""

    def read(data: bytes) -> Outcome:
        return len(data), data[:1]

    first, second, other = (fuzz(_target(read), [b"abc"], seed, runs=500) for seed in (7, 7, 8))
    assert first.pool == second.pool != other.pool


def test_changes_are_bounded_and_take_any_input() -> None:
    """Whatever is put in, no change fails or grows beyond what fits the slate."""
    rng = random.Random(3)
    for shape in Shape:
        for data in (b"", b"\x00", b"\xff" * 40, b"1 2 3\n4", bytes(range(256)) * 16):
            for _ in range(200):
                assert len(mutate(rng, data, b"other", (b"word",), shape)) <= FLOOD_BYTES


def test_messages_survive_being_taken_apart() -> None:
    """Without a change the bytes are the same; a change is one that can be read again or not."""
    for name in ("remote_write", "remote_write_2", "otlp"):
        for data in corpus(name):
            found = protobuf_tree.parse(data)
            if found is not None:
                assert protobuf_tree.serialize(found) == data


def test_the_slate_keeps_the_last_input(tmp_path: Path) -> None:
    """Whoever finds the process dead reads what it died of."""
    slate = Slate(str(tmp_path / "slate"))
    slate.write(b"a longer input")
    slate.write(b"short")
    assert Slate.read(str(tmp_path / "slate")) == b"short"


def test_complaints_are_alike_whatever_they_quote() -> None:
    """Numbers and quoted texts do not make a new outcome."""
    texts = ('line 3: bad value "a\\"b" at 17', 'line 90: bad value "x" at 1.5')
    assert shape_of(texts[0]) == shape_of(texts[1])


@pytest.mark.fuzz
def test_straying_kernels_are_caught(tmp_path: Path) -> None:
    """Reads and writes before and behind an array, through an index, a pointer or a wide load."""
    script = tmp_path / "straying_kernels.py"
    script.write_text(STRAYING)
    environment = {"PYTHONPATH": str(ROOT), "O11Y_KERNEL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr + done.stdout
