"""Whole writes: remote writes that are read and stored without a request being made of them.

A sender repeats its headers, and most of what it sends are new samples of series that it has sent
before. Such a write is taken from the bytes as they came. Those that come in one turn of the event
loop, or while an earlier round is on its way, are one round: read in one pass, logged in one
record, synced once, and answered together. Whatever is not of this kind goes the usual way.
"""

import asyncio
import logging
import re
import time
from typing import NamedTuple, Protocol

from series.known import KnownSamples
from series.ports import Appended, StorageError
from server.access.auth import Need, Principal
from server.access.limits import Limits
from server.access.tenants import tenant_db
from server.answers.known_series import within_limits
from server.doors import write_api
from server.doors.ingest import Outcome, count_outcome, http_error
from server.heads import MAX_HEAD_BYTES, MAX_HEADS, Head, goes_on
from server.house import House
from server.http import (
    ANSWER,
    HEAD,
    HttpError,
    Message,
    Request,
    Response,
    Scope,
    api_error,
    respond_at_once,
)
from tsdb.rounds import Result
from wire.remote_write_known import KnownWrites, read_known

log = logging.getLogger("o11y.http")
access = logging.getLogger("o11y.access")

PATH = "/api/v1/write"
DOOR = "remote_write"
MAX_BODY_BYTES = 1 << 16
"""A larger body is read by a worker thread."""
ROUND_BYTES = 1 << 17
"""With so many bytes a round takes no more writes, ..."""
ROUND_DECODED_BYTES = 1 << 21
"""... and where they are more than so many when decompressed none of them is taken here."""
GATHER_SECONDS = 0.002
"""So long at most a round waits for those who were answered just before: about as long as a quick
disk takes for the round that is saved where they come in time."""

_LINE = b"POST /api/v1/write HTTP/1.1\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})\r\n", re.I)
_END = b"\r\n\r\n"


class Sender(Protocol):
    """A connection whose next request is a whole write."""

    def answer_write(self, status: int, lines: bytes, body: bytes) -> bool:
        """Answers it, as ``Cycle.answer`` does."""
        ...

    def parse_write(self, data: bytes) -> None:
        """Lets it, all of *data*, go the usual way."""
        ...


class WriteHead:
    """The headers of a sender's writes, but for the length of what follows."""

    __slots__ = ("_after", "_at", "_before", "_door", "_is_refused", "_request")

    def __init__(self, door: "WholeWrites", before: bytes, after: bytes, request: Request) -> None:
        self._door = door
        self._before, self._after = before, after
        self._request = request
        self._at = 0
        """Where the body begins of what was looked at last."""
        self._is_refused = False
        """Whether the gate has not let it in: from then on it goes the usual way."""

    def is_of(self, data: bytes) -> bool:
        """Whether *data* begins as they do."""
        return data.startswith(self._before)

    def missing(self, data: bytes) -> int:
        """How many bytes *data* lacks to be a whole write with these headers.

        Below 0 where it is none, or more than that.
        """
        if self._is_refused or not data.startswith(self._before):
            return -1
        begin = len(self._before)
        end = data.find(b"\r", begin, begin + 10)
        digits = data[begin:end]
        if end < 0 or not digits.isdigit() or not data.startswith(self._after, end):
            return -1
        size = int(digits)
        self._at = end + len(self._after)
        return self._at + size - len(data) if 0 < size <= MAX_BODY_BYTES else -1

    def take(self, sender: Sender, data: bytes) -> bool:
        """Whether *data*, of which nothing is ``missing``, is taken care of."""
        try:
            return self._door.take(sender, self._request, data, self._at)
        except HttpError:
            self._is_refused = True
            return False


class _Write(NamedTuple):
    sender: Sender
    data: bytes
    at: int
    """Where the body begins."""
    began: float


class _Queue:
    """The writes of a tenant that wait for their round."""

    __slots__ = ("expected", "is_busy", "limits", "principal", "timer", "writes")

    def __init__(self, principal: Principal, limits: Limits) -> None:
        self.principal, self.limits = principal, limits
        self.writes: list[_Write] = []
        self.is_busy = False
        """Whether a round is on its way or about to begin."""
        self.expected = 0
        """Of how many writes the next round will most likely be."""
        self.timer: asyncio.TimerHandle | None = None
        """Ends the wait for them."""

    def next_writes(self) -> list[_Write]:
        """The writes of the next round, which leave the queue."""
        size = end = 0
        while end < len(self.writes) and size < ROUND_BYTES:
            size += len(self.writes[end].data)
            end += 1
        due, self.writes = self.writes[:end], self.writes[end:]
        return due


class WholeWrites:
    """The rounds of all tenants, one at a time for each; used on the event loop only."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._queues: dict[str, _Queue] = {}
        self._heads: dict[tuple[tuple[bytes, bytes], ...], Head] = {}
        """One for all senders with the same headers, by which gates remember them."""

    def learn(self, scope: Scope, data: bytes) -> WriteHead | None:
        """The head with which *data* begins, which was parsed to *scope*; None where that is not
        one of a write of the usual kind.
        """
        if not data.startswith(_LINE) or (end := data.find(_END, 0, MAX_HEAD_BYTES)) < 0:
            return None
        lengths = list(_LENGTH.finditer(data, 0, end + len(_END)))
        if len(lengths) != 1:
            return None
        headers = tuple(one for one in scope["headers"] if one[0] != b"content-length")
        if len(headers) != len(scope["headers"]) - 1 or not goes_on(headers):
            return None
        head = self._heads.get(headers) or Head(headers)
        request = Request({**scope, "headers": headers, HEAD: head}, _nothing)
        if not write_api.is_plain(request):
            return None
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        self._heads[headers] = head
        begin, stop = lengths[0].span(1)
        return WriteHead(self, data[:begin], data[stop : end + len(_END)], request)

    def take(self, sender: Sender, request: Request, data: bytes, at: int) -> bool:
        """Whether the write *data*, whose body begins at *at*, is taken care of.

        HttpError where the sender of *request* may not write.
        """
        house = self._house
        principal = house.gate.admit(request, Need.WRITE)
        limits = house.limits.of(principal.tenant)
        limited = limits.request_rate or limits.ingestion_rate or limits.max_samples_per_request
        if limited or principal.matchers or access.isEnabledFor(logging.INFO):
            return False
        queue = self._queues.get(principal.tenant)
        if queue is None:
            queue = self._queues[principal.tenant] = _Queue(principal, limits)
        queue.limits = limits
        queue.writes.append(_Write(sender, data, at, time.perf_counter()))
        house.metrics.http.in_flight += 1
        if not queue.is_busy and len(queue.writes) >= queue.expected:
            self._begin(queue)
        return True

    def _begin(self, queue: _Queue) -> None:
        """Begins the next round of *queue*; without writes that is the end of it."""
        if queue.timer is not None:
            queue.timer.cancel()
            queue.timer = None
        queue.expected = 0
        if queue.writes:
            queue.is_busy = True
            asyncio.get_running_loop().call_soon(self._carry_out, queue)
        else:
            del self._queues[queue.principal.tenant]

    def _carry_out(self, queue: _Queue) -> None:
        """A round of what waits in *queue*."""
        writes, left = queue.next_writes(), []
        samples: KnownSamples | None = None
        result: Result | None = []
        try:
            found = self._read(queue, writes)
            if found is None:
                writes, left = [], writes
            else:
                samples = found.samples
                if not all(found.are_read):
                    each = list(zip(writes, found.are_read, strict=True))
                    writes = [one for one, is_read in each if is_read]
                    left = [one for one, is_read in each if not is_read]
                result = self._append(queue, writes, samples)
        except Exception as error:  # whatever it is, the senders must hear of it
            result = error
        try:
            for one in left:
                self._house.metrics.http.in_flight -= 1
                one.sender.parse_write(one.data)
            if result is not None:
                self._answer(queue, writes, samples, result)
        finally:  # whatever may happen, the tenant's other writes go on
            if result is not None:
                queue.is_busy = False
                self._begin(queue)

    def _read(self, queue: _Queue, writes: list[_Write]) -> KnownWrites | None:
        """What those of *writes* bring that can be stored here; None where there are none."""
        store = self._house.store
        known = store.known(queue.principal.tenant)
        if known is not None:
            known = within_limits(known, queue.limits)
        if known is None or store.space.is_low:
            return None
        return read_known([one.data[one.at :] for one in writes], known, ROUND_DECODED_BYTES)

    def _append(self, queue: _Queue, writes: list[_Write], samples: KnownSamples) -> Result | None:
        """What became of *samples*, which *writes* bring; None where ``_go_on`` will hear it."""
        loop = asyncio.get_running_loop()

        def tell(result: Result) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._go_on, queue, writes, samples, result)

        db = tenant_db(self._house.store, queue.principal, create=True)
        assert db is not None
        return db.append_known(samples, tell)

    def _go_on(
        self, queue: _Queue, writes: list[_Write], samples: KnownSamples, result: Result
    ) -> None:
        """Answers *writes*, for which the disk was waited, and goes on with the next round.

        Who is answered is likely to send again at once. A round that begins without them would
        keep them waiting, so it gives them a moment.
        """
        try:
            self._answer(queue, writes, samples, result)
        finally:  # as in ``_carry_out``
            queue.is_busy = False
            queue.expected = len(writes) + len(queue.writes)
            if queue.expected > 1:
                loop = asyncio.get_running_loop()
                queue.timer = loop.call_later(GATHER_SECONDS, self._begin, queue)
            else:
                self._begin(queue)

    def _answer(
        self, queue: _Queue, writes: list[_Write], samples: KnownSamples | None, result: Result
    ) -> None:
        """Answers *writes*, of which *result* is what became."""
        responses: list[Response] = []
        if isinstance(result, BaseException):
            responses = [_failed(result)] * len(writes)
        elif isinstance(result, list) and result:
            responses = [self._told(queue.principal.tenant, one) for one in result]
        elif samples is not None:
            self._house.metrics.samples.add(len(samples.ids), DOOR)
        http = self._house.metrics.http
        http.in_flight -= len(writes)
        ended = time.perf_counter()
        for at, one in enumerate(writes):
            status, sent_bytes = 204, 0
            if responses:
                response = responses[at]
                assert isinstance(response.body, bytes)
                respond_at_once(response, {"extensions": {ANSWER: one.sender.answer_write}})
                status, sent_bytes = response.status, len(response.body)
            else:
                one.sender.answer_write(204, b"", b"")
            http.answered(PATH, status, ended - one.began, len(one.data) - one.at, sent_bytes)

    def _told(self, tenant: str, appended: Appended) -> Response:
        """What a sender is answered, which is counted, as ``server.doors.ingest`` does."""
        outcome = Outcome(appended.samples, appended.refused, appended.refusals)
        count_outcome(self._house, tenant, DOOR, outcome, {})
        return outcome.response()


def _failed(error: BaseException) -> Response:
    """What all senders of a round hear where *error* ended it, as ``App`` would answer."""
    if isinstance(error, OSError):
        return http_error(error).response
    if isinstance(error, StorageError):
        log.error("storage failed: %s", error)
        return api_error("internal", str(error)).response
    log.error("request failed", exc_info=error)
    return api_error("internal", "unexpected error, see the server's log").response


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
