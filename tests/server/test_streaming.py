"""Answers on their way out: what is whole, what comes in pieces, and who makes them."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.answers import streaming
from server.answers.streaming import begun, stream
from server.http import Slices


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "WHOLE_BYTES", 10)
    monkeypatch.setattr(streaming, "PIECE_BYTES", 4)


def test_short_answers_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the bound, however many slices they have; only little is put together."""
    assert begun(iter([b"12345", b"", b"67890"])) == (b"1234567890", None)
    monkeypatch.setattr(streaming, "JOINED_BYTES", 9)
    slices: list[bytes | memoryview] = [b"12345", memoryview(b"67890")]
    whole, rest = begun(iter(slices))
    assert isinstance(whole, Slices) and rest is None
    assert whole.parts == slices
    assert len(whole) == 10 and bytes(whole) == b"1234567890"


def test_small_slices_of_long_answers_are_joined() -> None:
    """Nothing is lost, and only the last piece may be small."""
    slices = [b"1234567890", b"a", b"bc", b"d", b"efghij", b"k", b"l"]
    first, rest = begun(iter(slices))
    assert rest is not None
    assert [first, *rest] == [b"1234567890a", b"bcdefghij", b"kl"]


async def _sent(slices: Iterator[bytes], cancelled: threading.Event, most: int) -> list[bytes]:
    found = []
    with ThreadPoolExecutor(1) as workers:
        async for piece in stream(b"first", slices, workers, cancelled):
            found.append(piece)
            if len(found) == most:
                cancelled.set()
    return found


def test_pieces_come_in_order() -> None:
    """The first and all others."""
    slices = iter([b"a", b"b", b"c"])
    found = asyncio.run(_sent(slices, threading.Event(), most=9))
    assert found == [b"first", b"a", b"b", b"c"]


def test_nobody_gets_no_more_pieces() -> None:
    """At most the one that was being made is lost when the asker goes."""
    slices = iter([b"a", b"b", b"c"])
    assert asyncio.run(_sent(slices, threading.Event(), most=1)) == [b"first"]
    assert [*slices] == [b"b", b"c"]


def test_an_error_ends_the_stream() -> None:
    """What making a piece raises is raised after those before it."""

    def failing() -> Iterator[bytes]:
        yield b"a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(_sent(failing(), threading.Event(), most=9))
