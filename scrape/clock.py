"""Clock: the time that scraping goes by, so that tests can hand out another."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What time it is, and waiting."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        ...

    def seconds(self) -> float:
        """Seconds since some instant, never falling."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after *seconds*; at the next turn of the loop where they are not above 0."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def seconds(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
