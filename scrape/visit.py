"""Visits: one target's scrapes, from the request to the samples that are stored.

What a scrape tells about itself (``up`` and its sisters) and the order of things follow
scrape/scrape.go of Prometheus 3.14: a scrape that fails stores ``up`` 0 and ends every series that
the one before had shown.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx
import numpy as np

from scrape.clock import Clock
from scrape.config import PROTOCOLS, Job, accept_header
from scrape.counters import Counters
from scrape.derived import Derived
from scrape.fetch import Page, ScrapeFailed, fetch
from scrape.rows import (
    Keys,
    Mapped,
    PageRefused,
    Rows,
    SampleLimit,
    Stretch,
    join,
    mark_empty_values,
    stale,
    unmark_metadata,
)
from scrape.target import Target
from scrape.told import Told
from series.batch import SeriesBatch
from series.labels import METRIC_NAME, Labels
from series.metadata import Metadata
from series.ports import Refusal
from wire.errors import Malformed
from wire.exposition import Format, decode, format_of
from wire.exposition_page import Scraped

log = logging.getLogger("o11y.scrape")

USER_AGENT = "o11y"
OFFLOAD_BYTES = 1 << 20
"""A page from here on is read in another thread, so that the others are scraped in time."""
REPORT = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
EXTRA_REPORT = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one scrape brings to the storage.

    - ``batch``: samples, stale markers and the scrape's own series; all at the scrape's time but
      for samples whose page named theirs.
    - ``metadata``: by metric family name; empty where nothing changed since the last scrape.
    - ``refused``, ``refusals``: samples of the page that cannot be stored.
    """

    job: str
    batch: SeriesBatch
    metadata: Mapping[str, Metadata] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    refusals: Sequence[Refusal] = ()


Deliver = Callable[[Harvest], Awaitable[None]]
"""Stores a harvest; returns once it is durable, OSError where the disk refuses."""


@dataclass(slots=True)
class _Outcome:
    """What the report of one scrape says."""

    scraped: int = 0
    kept: int = 0
    added: int = 0
    body_bytes: int = 0
    error: str = ""
    page: Scraped | None = None


class Visitor:
    """Scrapes one target, and remembers how that went.

    ``health`` is ``unknown`` before the first scrape, then ``up`` or ``down``; ``last_error`` is
    '' after a good one.
    """

    def __init__(
        self,
        job: Job,
        target: Target,
        clock: Clock,
        deliver: Deliver,
        counters: Counters,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.job = job
        self.target = target
        self.rows = Rows(job, target.labels)
        self._derived = Derived()
        self.forced_error = ""
        """Why the target must not be scraped, where it must not."""
        self.health = "unknown"
        self.last_error = ""
        self.last_scrape_ms = 0
        self.last_duration_seconds = 0.0
        self.told = Told()
        self._clock = clock
        self._deliver = deliver
        self._counters = counters
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._headers = _headers(job, target)
        self._report_keys = _report_keys(job, target)
        self._reported = False

    async def visit(self, time_ms: int) -> None:
        """One scrape, whose samples get *time_ms*; never raises but when cancelled."""
        began = self._clock.seconds()
        before = self.rows.tracked
        outcome = _Outcome()
        stretches: list[Stretch] = []
        try:
            stretches.append(await self._samples(outcome, time_ms))
        except (ScrapeFailed, PageRefused) as error:
            self._fail(outcome, error.reason, str(error))
        except Malformed as error:
            self._fail(outcome, "malformed", str(error))
        except Exception as error:
            log.exception("scraping %s failed unexpectedly", self.target.url)
            self._fail(outcome, "internal", repr(error))
        if gone := before - self.rows.tracked:
            stretches.append(stale(gone))
        duration = self._clock.seconds() - began
        stretches.append(self._report(outcome, duration))
        self.health = "down" if outcome.error else "up"
        self.last_error = outcome.error
        self.last_scrape_ms = time_ms
        self.last_duration_seconds = duration
        self._count(outcome)
        await self._store(outcome, join(stretches, time_ms))

    async def end(self, time_ms: int) -> None:
        """Marks every series that still goes on as ended at *time_ms*."""
        stretches = [stale(self.rows.tracked)]
        if self._reported:
            keys = self._report_keys
            stretches.append(stale(frozenset(_split(keys))))
        self.rows.forget()
        if any(len(stretch.keys) for stretch in stretches):
            await self._store(_Outcome(), join(stretches, time_ms))

    async def close(self) -> None:
        """Lets go of the connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def take_over(self, before: "Visitor") -> None:
        """Continues the series of *before*, which visits no more."""
        self.rows.take_over(before.rows)
        self._reported = self._reported or before._reported

    async def _samples(self, outcome: _Outcome, time_ms: int) -> Stretch:
        if self.forced_error:
            raise ScrapeFailed("target-limit", self.forced_error)
        page = await self._fetch()
        outcome.body_bytes = len(page.body)
        content_type = self._content_type(page.content_type)
        if len(page.body) < OFFLOAD_BYTES:
            return self._read(outcome, page.body, content_type, time_ms)
        return await asyncio.to_thread(self._read, outcome, page.body, content_type, time_ms)

    async def _fetch(self) -> Page:
        options = self.job.http
        url = self.target.url
        try:
            if self._client is None:
                self._client = options.client(self._transport)
            headers = {**self._headers, **options.headers()}
            async with asyncio.timeout(self.target.timeout_ms / 1000):
                limit_bytes = self.job.limits.body_size_bytes
                return await fetch(self._client, url, headers, options.extensions(), limit_bytes)
        except TimeoutError:
            raise ScrapeFailed("timeout", f'Get "{url}": context deadline exceeded') from None
        except OSError as error:
            raise ScrapeFailed(
                "credentials", f"cannot use the job's credentials: {error}"
            ) from None

    def _content_type(self, claimed: str) -> str:
        if format_of(claimed) is not None:
            return claimed
        if fallback := self.job.fallback_protocol:
            return PROTOCOLS[fallback]
        if not claimed:
            raise ScrapeFailed(
                "content-type",
                "non-compliant scrape target sending blank Content-Type and no"
                " fallback_scrape_protocol specified for target",
            )
        raise ScrapeFailed(
            "content-type",
            f'received unsupported Content-Type "{claimed}" and no fallback_scrape_protocol'
            " specified for target",
        )

    def _read(self, outcome: _Outcome, body: bytes, content_type: str, time_ms: int) -> Stretch:
        form = format_of(content_type)
        marked = self.job.honor_labels and form is not Format.PROTOBUF
        wanted = self.job.histograms
        page = decode(
            mark_empty_values(body) if marked else body,
            content_type,
            time_ms,
            native=wanted.native,
            always_classic=wanted.always_classic,
        )
        if marked:
            unmark_metadata(page.metadata)
        self._derived.apply(page, wanted, openmetrics=form is Format.OPENMETRICS)
        explicit = page.explicit
        if not self.job.honor_timestamps:
            explicit = np.zeros_like(explicit)
        outcome.page = page
        outcome.scraped = page.batch.sample_count
        try:
            mapped = self.rows.map(page.batch, explicit)
        except SampleLimit as error:
            outcome.kept, outcome.added = error.kept, error.added
            raise
        outcome.kept, outcome.added = len(mapped.keys), mapped.added
        return self._stretch(page, mapped)

    def _stretch(self, page: Scraped, mapped: Mapped) -> Stretch:
        batch = page.batch
        values = batch.values[mapped.kept]
        times_ms = more = None
        if self.job.honor_timestamps and page.explicit.any():
            times_ms = batch.times_ms[batch.time_starts][mapped.kept]
        if any(
            part is not None for part in (batch.histogram_ids, batch.starts_ms, batch.exemplars)
        ):
            kept = np.zeros(batch.series_count, dtype=np.bool_)
            kept[mapped.kept] = True
            more = batch.take(kept)
        return Stretch(mapped.keys, values, times_ms, more)

    def _fail(self, outcome: _Outcome, reason: str, text: str) -> None:
        outcome.error = text
        outcome.page = None
        self._counters.failures[reason] += 1
        self.rows.forget()

    def _report(self, outcome: _Outcome, duration: float) -> Stretch:
        self._reported = True
        values = [
            0.0 if outcome.error else 1.0,
            duration,
            float(outcome.scraped),
            float(outcome.kept),
            float(outcome.added),
        ]
        if self.job.extra_metrics:
            limit = self.job.limits.samples
            values += [self.target.timeout_ms / 1000, float(limit), float(outcome.body_bytes)]
        return Stretch(self._report_keys, np.array(values))

    def _count(self, outcome: _Outcome) -> None:
        self._counters.scrapes += 1
        self._counters.samples += outcome.scraped
        self._counters.body_bytes += outcome.body_bytes

    async def _store(self, outcome: _Outcome, batch: SeriesBatch) -> None:
        page = outcome.page
        harvest = Harvest(self.job.name, batch)
        if page is not None:
            news = page.metadata if page.metadata != self.told.page else {}
            harvest = Harvest(self.job.name, batch, news, page.refused, page.refusals)
        try:
            await self._deliver(harvest)
        except OSError as error:
            self._counters.failures["storage"] += 1
            log.error("samples of %s are lost: %s", self.target.url, error)
        except Exception:
            self._counters.failures["internal"] += 1
            log.exception("samples of %s are lost", self.target.url)
        else:
            if page is not None:
                self.told.hear(page.metadata)


def _headers(job: Job, target: Target) -> dict[str, str]:
    return {
        "Accept": accept_header(job.protocols, job.escaping),
        "Accept-Encoding": "gzip" if job.enable_compression else "identity",
        "User-Agent": USER_AGENT,
        "X-Prometheus-Scrape-Timeout-Seconds": f"{target.timeout_ms / 1000:g}",
    }


def _report_keys(job: Job, target: Target) -> Keys:
    names = REPORT + (EXTRA_REPORT if job.extra_metrics else ())
    labels = target.labels.as_dict()
    return Keys.of([Labels.of({**labels, METRIC_NAME: name}).key for name in names])


def _split(keys: Keys) -> list[bytes]:
    arena = keys.arena.tobytes()
    return [arena[a:b] for a, b in zip(keys.starts.tolist(), keys.ends.tolist(), strict=True)]
