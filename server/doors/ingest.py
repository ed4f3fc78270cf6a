"""Ingest: the one way from a door to a tenant's storage.

A door decodes what it was sent into a Delivery; here it meets the tenant's limits and the storage,
and comes out as an Outcome: how much is durable, and what was refused and why. Every door counts
under its own name.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Self

from series.batch import SeriesBatch, build_batch
from series.labels import Labels
from series.metadata import Metadata
from series.ports import Appended, Refusal
from server.access.auth import Principal
from server.access.limits import TOO_MANY_REQUESTS, Limits
from server.access.tenants import tenant_db
from server.answers.sifting import (
    Sifted,
    check_labels,
    check_metadata,
    deduplicate,
    drop_starts,
    keep_in_scope,
)
from server.call import Call
from server.house import House
from server.http import HttpError, Response, text_error
from server.settings import KEEPS_STARTS
from tsdb.admission import MAX_METRIC_SERIES, MAX_SERIES, SERIES_MEMORY, SeriesLimit
from tsdb.db import Db
from tsdb.disk_space import DiskLow
from tsdb.metric_limit import MetricLimit
from wire.errors import Malformed
from wire.write_request import WriteRequest

INLINE_BYTES = 4096
"""A body up to here is decoded and queued faster than handed to another thread."""
MAX_LINES = 10
MAX_LINE_CHARACTERS = 2000
RETRY_SECONDS = 5
SERIES_RETRY_SECONDS = 60
"""When to come again where series are full: they make room when a seal drops those gone silent."""
CONFLICT = (
    "a value that was acknowledged stays: two senders write the same series, or one sends a time "
    "twice; a pair of Prometheus servers needs replica labels and accept_ha_samples"
)

INGESTION_RATE = "tenant-max-ingestion-rate"
REQUEST_RATE = "tenant-max-request-rate"
_SERIES_REASONS = {MAX_SERIES, MAX_METRIC_SERIES, SERIES_MEMORY}

Headers = tuple[tuple[bytes, bytes], ...]

_NOTHING = build_batch(())


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a door has decoded of one request.

    - ``batch``: the series that can be stored, with canonical keys; a series may occur twice.
    - ``metadata``: by metric family name.
    - ``refused``: samples the door itself refuses, by reason; ``refusals`` shows the first.
    - ``skipped``: what was in order and is not kept, by kind: ``exemplars``, ...
    """

    batch: SeriesBatch = _NOTHING
    metadata: Mapping[str, Metadata] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    refusals: Sequence[Refusal] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, request: WriteRequest) -> Self:
        """What a remote write has brought."""
        return cls(
            request.batch, request.metadata, request.refused, request.refusals, request.skipped
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a Delivery.

    ``stored`` samples are durable, ``histograms`` of them; ``refused`` counts the others by reason,
    ``refusals`` shows the first. ``exemplars`` were taken besides. With ``retry_seconds`` nothing
    was stored, and the same request may do better then.
    """

    stored: int
    refused: Mapping[str, int] = field(default_factory=dict)
    refusals: Sequence[Refusal] = ()
    retry_seconds: float = 0.0
    histograms: int = 0
    exemplars: int = 0

    @property
    def ends_request(self) -> bool:
        """Whether what follows in the same request would be refused as well."""
        return bool(self.retry_seconds) and not _SERIES_REASONS & self.refused.keys()

    def text(self) -> str:
        """What was refused, in at most MAX_LINES lines: the first by name, the counts last."""
        lines = [_line(refusal) for refusal in self.refusals[: MAX_LINES - 1]]
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self.refused.items()))
        lines.append(f"refused: {counts}; stored: {self.stored}")
        if "duplicate-timestamp" in self.refused:
            lines[-1] += f"; {CONFLICT}"
        return "\n".join(lines)

    def response(self, headers: Headers = ()) -> Response:
        """204, or 400 with the text, or 429 where it is worth trying again."""
        if not self.refused:
            return Response(status=204, headers=headers)
        if self.retry_seconds:
            headers = (*headers, retry_after(self.retry_seconds))
        status = 429 if self.retry_seconds else 400
        return text_error(status, self.text(), headers).response


async def receive(
    call: Call, door: str, size_bytes: int, decode: Callable[[], Delivery]
) -> Outcome:
    """Decodes a body of *size_bytes*, stores what it holds, and waits until that is durable.

    *decode* runs on the event loop where the body is small and the tenant's database open, else in
    a worker thread. What it raises comes through; OSError where the disk refuses.
    """
    if (refused := _check_request_rate(call.house, call.principal.tenant)) is not None:
        count_outcome(call.house, call.principal.tenant, door, refused, {})
        return refused
    space = call.house.store.space
    if space.is_low:  # what will be refused need not be decoded
        raise space.low()
    if size_bytes <= INLINE_BYTES and call.house.store.is_open(call.principal.tenant):
        pending = _submit(call.house, call.principal, decode(), may_sync=False)
    else:
        loop = asyncio.get_running_loop()
        pending = await loop.run_in_executor(call.writes, _decode_and_submit, call, decode)
    return await _settle(call.house, call.principal.tenant, door, pending)


async def ingest(house: House, principal: Principal, door: str, delivery: Delivery) -> Outcome:
    """Stores *delivery* for *principal*, and waits until that is durable.

    OSError where the disk refuses: then nothing counts as stored.
    """
    if delivery.batch.keys.nbytes <= INLINE_BYTES and house.store.is_open(principal.tenant):
        pending = _submit(house, principal, delivery, may_sync=False)
    else:
        writes = house.writes.of(principal.tenant)
        loop = asyncio.get_running_loop()
        submit = partial(_submit, house, principal, delivery, may_sync=True)
        pending = await loop.run_in_executor(writes, submit)
    return await _settle(house, principal.tenant, door, pending)


def http_error(error: Malformed | OSError) -> HttpError:
    """What a sender hears of a body that is none, or of a disk that refuses."""
    if isinstance(error, Malformed):
        return text_error(400, str(error))
    return text_error(503, refusal_text(error), (retry_after(RETRY_SECONDS),))


def refusal_text(error: OSError) -> str:
    """What a sender hears of a disk that refuses."""
    return str(error) if isinstance(error, DiskLow) else f"the storage cannot write: {error}"


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    """The header that asks a sender to wait."""
    return b"retry-after", str(max(1, ceil(seconds))).encode()


@dataclass(slots=True)
class _Pending:
    """A delivery on its way into the storage."""

    sifted: Sifted
    limits: Limits
    futures: list["Future[Appended]"] = field(default_factory=list)
    retry_seconds: float = 0.0


def _decode_and_submit(call: Call, decode: Callable[[], Delivery]) -> _Pending:
    return _submit(call.house, call.principal, decode(), may_sync=True)


def _submit(house: House, principal: Principal, delivery: Delivery, *, may_sync: bool) -> _Pending:
    """Applies the limits and hands the rest to the storage.

    A tenant is made only for something to store. The calling thread *may_sync* where it is not
    that of the event loop.
    """
    tenant, limits = principal.tenant, house.limits.of(principal.tenant)
    sifted = Sifted(
        delivery.batch,
        Counter(delivery.refused),
        list(delivery.refusals),
        Counter(delivery.skipped),
    )
    if KEEPS_STARTS.isdisjoint(house.settings.features):
        drop_starts(sifted)
    if principal.matchers:
        keep_in_scope(sifted, principal.matchers)
    if limits.accept_ha_samples:
        deduplicate(sifted, tenant, limits, house.elections)
    check_labels(sifted, limits)
    if retry_seconds := _too_much(house, tenant, limits, sifted):
        return _Pending(sifted, limits, retry_seconds=retry_seconds)
    pending = _Pending(sifted, limits)
    if not sifted.batch.series_count and not delivery.metadata:
        return pending
    db = tenant_db(house.store, principal, create=True)
    assert db is not None
    if delivery.metadata:
        told, surplus = check_metadata(delivery.metadata, db.metadata(), limits)
        if surplus:
            sifted.skipped["metadata"] += surplus
        if told:
            pending.futures.append(db.put_metadata(told))
    if sifted.batch.series_count:
        _limit_series(db, tenant, limits)
        pending.futures.append(db.append_here(sifted.batch, may_sync=may_sync))
    return pending


def _too_much(house: House, tenant: str, limits: Limits, sifted: Sifted) -> float:
    """Refuses a request with too many samples; the seconds to wait where waiting helps."""
    count = sifted.batch.sample_count
    if limits.max_samples_per_request and count > limits.max_samples_per_request:
        sifted.refuse_all(
            "max-samples-per-request",
            f"err-max-samples-per-request: {count} samples exceed the limit of "
            f"{limits.max_samples_per_request} a request; send smaller ones",
        )
        return 0.0
    rate, burst = limits.ingestion_rate, limits.ingestion_burst_size
    if not rate or not count:
        return 0.0
    limit = f"the ingestion rate limit of tenant {tenant}, {rate} samples/s with bursts of {burst}"
    if count > burst:
        text = f"{count} samples in one request exceed {limit}; send smaller ones"
    elif wait := house.sample_rates.take(tenant, count, rate, burst):
        text = f"the request exceeds {limit}; nothing was stored, try again"
    else:
        return 0.0
    sifted.refuse_all(INGESTION_RATE, f"err-{INGESTION_RATE}: {text}")
    return 0.0 if count > burst else wait


def _limit_series(db: Db, tenant: str, limits: Limits) -> None:
    """Tells the storage of the tenant's limits where they have changed."""
    maximum = limits.max_global_series_per_user or SeriesLimit().maximum
    most = limits.max_global_series_per_metric
    known = db.series_limit
    if (known.maximum, known.of_metric.maximum if known.of_metric else 0) == (maximum, most):
        return
    detail = (
        f"err-{MAX_SERIES}: tenant {tenant} has {{count}} of {maximum} series; "
        f"new series are refused, known ones still stored (max_global_series_per_user)"
    )
    metric_detail = (
        f"err-{MAX_METRIC_SERIES}: tenant {tenant} has {{count}} of {most} series of the metric "
        f"{{metric}}; new ones are refused, known ones still stored (max_global_series_per_metric)"
    )
    of_metric = MetricLimit(most, metric_detail) if most else None
    db.series_limit = SeriesLimit(maximum, detail, of_metric)


def _check_request_rate(house: House, tenant: str) -> Outcome | None:
    """What a request beyond the tenant's rate of requests comes to, before it is decoded."""
    limits = house.limits.of(tenant)
    burst = max(limits.request_burst_size, limits.request_rate)
    wait = house.request_rates.take(tenant, 1, limits.request_rate, burst)
    if not wait:
        return None
    text = (
        f"err-{REQUEST_RATE}: tenant {tenant} exceeds its limit of {limits.request_rate} write "
        f"requests/s with bursts of {burst}; nothing was stored, try again"
    )
    return Outcome(0, {REQUEST_RATE: 1}, [Refusal(REQUEST_RATE, text, Labels(), 0)], wait)


async def _settle(house: House, tenant: str, door: str, pending: _Pending) -> Outcome:
    """Waits for the storage, counts and concludes."""
    done = [
        one.result() if one.done() else await asyncio.wrap_future(one) for one in pending.futures
    ]
    sifted = pending.sifted
    for one in done:
        for reason, count in one.refused.items():
            told = _is_told(door, reason)
            (sifted.refused if told else sifted.skipped)[reason] += count
        sifted.refusals += [each for each in one.refusals if _is_told(door, each.reason)]
    stored = sum(one.samples for one in done)
    retry_seconds = pending.retry_seconds
    may_retry = pending.limits.series_limit_status == TOO_MANY_REQUESTS
    if may_retry and not stored and _SERIES_REASONS & sifted.refused.keys():
        retry_seconds = SERIES_RETRY_SECONDS
    outcome = Outcome(
        stored,
        sifted.refused,
        sifted.refusals,
        retry_seconds,
        sum(one.histograms for one in done),
        sum(one.exemplars for one in done),
    )
    count_outcome(house, tenant, door, outcome, sifted.skipped)
    return outcome


def _is_told(door: str, reason: str) -> bool:
    """Whether a sender hears of what was refused for *reason*; of exemplars as in Prometheus."""
    is_exemplar = reason.startswith("exemplar-")
    return not is_exemplar or (door, reason) == ("remote_write_2", "exemplar-out-of-order")


def count_outcome(
    house: House, tenant: str, door: str, outcome: Outcome, skipped: Mapping[str, int]
) -> None:
    """Counts *outcome*, and what was in order and is not kept; logs what was refused."""
    metrics = house.metrics
    metrics.samples.add(outcome.stored, door)
    for reason, count in outcome.refused.items():
        metrics.refused.add(count, door, reason)
    for kind, count in skipped.items():
        metrics.skipped.add(count, door, kind)
    house.refusal_log.tell(tenant, door, outcome.refused, outcome.refusals)


def _line(refusal: Refusal) -> str:
    labels = str(refusal.labels)
    text = refusal.detail
    if len(refusal.labels) and labels not in text:
        text = f"{text} for series {labels}"
    return text[:MAX_LINE_CHARACTERS].replace("\n", "\\n")
