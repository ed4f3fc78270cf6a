"""Answers on their way out: short ones whole, long ones in pieces of which one is made ahead."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor

from server.answers.result_json import Slice
from server.http import Slices, Whole

WHOLE_BYTES = 2 << 20
"""An answer of up to so many bytes is sent at once, with its length."""
PIECE_BYTES = 1 << 18
"""Slices are put together up to here: each piece is asked of a worker."""
JOINED_BYTES = 1 << 16
"""An answer of up to so many bytes is joined: to send it in slices takes longer."""


Begun = tuple[Whole, None] | tuple[bytes, Iterator[bytes]]
"""A whole answer, or its first piece and the others, which are made when they are asked for."""


def begun(slices: Iterator[Slice]) -> Begun:
    """The answer that *slices* make up."""
    first: list[Slice] = []
    size = 0
    for part in slices:
        first.append(part)
        size += len(part)
        if size > WHOLE_BYTES:
            return b"".join(first), _pieces(slices)
    return (b"".join(first) if size <= JOINED_BYTES else Slices(first)), None


def _pieces(slices: Iterator[Slice]) -> Iterator[bytes]:
    small: list[Slice] = []
    size = 0
    for part in slices:
        small.append(part)
        size += len(part)
        if size >= PIECE_BYTES:
            yield b"".join(small)
            small, size = [], 0
    if small:
        yield b"".join(small)


async def stream(
    first: bytes, rest: Iterator[bytes], workers: Executor, cancelled: threading.Event
) -> AsyncIterator[bytes]:
    """The pieces one by one, each made while the one before is sent; none when *cancelled*."""
    loop = asyncio.get_running_loop()
    part = first
    while part and not cancelled.is_set():
        following = loop.run_in_executor(workers, next, rest, b"")
        try:
            yield part
        except BaseException:
            following.cancel()
            raise
        part = await following
