"""The server's own metrics as series of one organization, as if it were scraped."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from prometheus_client.core import Metric

from series.batch import STALE_NAN, build_batch
from series.labels import METRIC_NAME, Labels
from series.metadata import Metadata
from server.access.auth import Principal
from server.doors.ingest import Delivery, ingest
from server.house import House
from server.logs import fields

log = logging.getLogger("o11y.self_scrape")

PERIOD_SECONDS = 15.0
JOB = "o11y"
DOOR = "self"


class SelfScrape:
    """Writes ``/metrics`` and ``up`` into one organization, every PERIOD_SECONDS.

    The samples go the way of all others: limits hold for them, they are counted and what is
    refused is logged, under the door ``self``. A series that is no longer on the page gets a stale
    marker.
    """

    def __init__(
        self,
        house: House,
        org: str,
        instance: str,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*instance* is our HOST:PORT; *clock* tells seconds."""
        self._house = house
        self._org = org
        self._target = {"job": JOB, "instance": instance}
        self._sleep = sleep
        self._clock = clock
        self._known: set[Labels] = set()

    async def run(self) -> None:
        """Scrapes until cancelled; a round that fails is logged, and the next one comes."""
        due = self._clock()
        while True:
            try:
                await self.once()
            except Exception as error:
                log.error("own metrics not stored", extra=fields(org=self._org, error=str(error)))
            due = max(due + PERIOD_SECONDS, self._clock())
            await self._sleep(due - self._clock())

    async def once(self) -> None:
        """One scrape, durable when it returns; OSError where the disk refuses."""
        delivery = await asyncio.to_thread(self._delivery)
        await ingest(self._house, Principal(self._org), DOOR, delivery)

    def _delivery(self) -> Delivery:
        try:
            families = list(self._house.metrics.families())
        except Exception:
            log.exception("own metrics could not be read", extra=fields(org=self._org))
            families = []
        found = {
            self._labels(sample.name, sample.labels): float(sample.value)
            for family in families
            for sample in family.samples
        }
        gone = dict.fromkeys(self._known - found.keys(), STALE_NAN)
        self._known = set(found)
        up = {self._labels("up", {}): float(bool(families))}
        time_ms = [self._house.now_ms()]
        rows = {**gone, **found, **up}.items()
        batch = build_batch((labels, time_ms, [value]) for labels, value in rows)
        return Delivery(batch, dict(map(_metadata, families)))

    def _labels(self, name: str, labels: dict[str, str]) -> Labels:
        return Labels.of({**labels, **self._target, METRIC_NAME: name})


def _metadata(family: Metric) -> tuple[str, Metadata]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return name, Metadata(family.type, family.documentation, family.unit)
