"""What the tests of scraping share: a clock that is moved by hand, a web of pages, a store."""

import asyncio
import heapq
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np

from scrape.config import Job, load_config
from scrape.counters import Counters
from scrape.pool import Surroundings
from scrape.visit import Harvest
from series.batch import STALE_NAN_BITS
from series.labels import Labels

NOW_MS = 1_700_000_000_000
TURNS = 60
"""How often the event loop turns until everybody has done what they can do now."""
STALE = "stale"
TEXT = "text/plain; version=0.0.4"

Page = Callable[[httpx.Request], httpx.Response]
Point = tuple[int, float | str]


class FakeClock:
    """A clock that stands still until ``advance`` moves it; a ``scrape.clock.Clock``."""

    def __init__(self) -> None:
        self._now_ms = NOW_MS
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ms(self) -> int:
        return self._now_ms

    def seconds(self) -> float:
        return self._now_ms / 1000

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        due_ms = self._now_ms + max(0, round(seconds * 1000))
        heapq.heappush(self._sleepers, (due_ms, self._count, woken))
        await woken

    async def advance(self, ms: int) -> None:
        """Moves on by *ms*, waking whoever sleeps at its time."""
        end_ms = self._now_ms + ms
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_ms:
            due_ms, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._now_ms = max(self._now_ms, due_ms)
                woken.set_result(None)
                await settle()
        self._now_ms = end_ms
        await settle()


def answer(
    body: bytes, content_type: str = TEXT, encoding: str = "", status: int = 200
) -> httpx.Response:
    """A response that comes as a stream, as from a socket."""
    headers = {"content-type": content_type, "content-encoding": encoding}
    sent = {name: value for name, value in headers.items() if value}
    return httpx.Response(status, stream=httpx.ByteStream(body), headers=sent)


async def settle() -> None:
    """Lets everybody do what they can do without waiting."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class World:
    """A clock, pages by URL, and a store that remembers every sample."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.counters = Counters()
        self.pages: dict[str, Page] = {}
        self.requests: list[httpx.Request] = []
        self.harvests: list[Harvest] = []
        self.store_error: Exception | None = None
        self.around = Surroundings(
            self.clock, self._deliver, self.counters, httpx.MockTransport(self._answer)
        )

    def show(self, url: str, body: str, content_type: str = TEXT) -> None:
        """From now on *url* answers this page."""
        self.pages[url] = lambda _: answer(body.encode(), content_type)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        page = self.pages.get(str(request.url))
        if page is None:
            raise httpx.ConnectError("connection refused", request=request)
        return page(request)

    async def _deliver(self, harvest: Harvest) -> None:
        if self.store_error is not None:
            raise self.store_error
        harvest.batch.check()
        self.harvests.append(harvest)

    def points(self, metric: str = "", **labels: str) -> dict[Labels, list[Point]]:
        """Every stored sample of the series that have these labels: (time, value or STALE)."""
        found: dict[Labels, list[Point]] = {}
        for harvest in self.harvests:
            batch = harvest.batch
            for row in range(batch.series_count):
                series = Labels.from_key(batch.key(row))
                if metric and series.metric != metric:
                    continue
                if any(series.get(name) != value for name, value in labels.items()):
                    continue
                times = batch.row_times_ms(row).tolist()
                values = map(_shown, batch.row_values(row))
                found.setdefault(series, []).extend(zip(times, values, strict=True))
        return found

    def values(self, metric: str, **labels: str) -> list[float | str]:
        """The values of the one series that has these labels."""
        [points] = self.points(metric, **labels).values()
        return [value for _, value in points]

    def names(self) -> list[str]:
        """The stored series, without those that a scrape tells about itself."""
        own = {"up"} | {one for one in map(_metric, self.points()) if one.startswith("scrape_")}
        return sorted(str(series) for series in self.points() if series.metric not in own)


def _metric(series: Labels) -> str:
    return series.metric


def _shown(value: np.float64) -> float | str:
    bits = np.array([value]).view(np.uint64)[0]
    return STALE if bits == STALE_NAN_BITS else float(value)


def job_of(directory: Path, text: str) -> Job:
    """The only job of a configuration whose ``scrape_configs`` entry is *text*."""
    file = directory / "prometheus.yml"
    indented = "\n".join(f"    {line}" for line in text.strip().splitlines())
    file.write_text(f"scrape_configs:\n  -\n{indented}\n")
    [job] = load_config(file).jobs
    return job
