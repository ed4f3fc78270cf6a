"""Remote read: another Prometheus reads what an organization holds, sample by sample.

Source: storage/remote/read_handler.go of Prometheus 3.14; errors are plain text, as there.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import numpy as np

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.ports import (
    Context,
    Hints,
    QueryCanceled,
    QueryTimeout,
    Selection,
    StorageError,
    TooManySamples,
)
from server.access.query_limits import check_queue, readable
from server.api.params import url_params
from server.call import Call
from server.http import Response, text_error
from wire import remote_read
from wire.errors import Malformed
from wire.remote_read import ReadQuery, ReadRequest, ResponseType

SLAB_SAMPLES = 262_144
_SAMPLES = "application/x-protobuf"
_STREAM = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
_SNAPPY = ((b"content-encoding", b"snappy"),)


async def read(call: Call) -> Response:
    """``/api/v1/read``: the samples of selectors, whole or as a stream of chunks."""
    check_queue(call)
    body = await call.request.body(remote_read.MAX_BYTES)
    loop = asyncio.get_running_loop()
    limits = call.house.limits.of(call.principal.tenant)
    context = Context(
        deadline=time.monotonic() + call.house.settings.query_timeout_ms / 1000,
        max_samples=limits.max_samples_per_query or call.house.options.max_samples,
        strict=url_params(call.request).flag("strict"),
    )
    try:
        reading = await loop.run_in_executor(call.queries, _Reading, call, body, context)
        if reading.streamed:
            return Response(_sent(reading, call), content_type=_STREAM)
        whole = await loop.run_in_executor(call.queries, reading.whole)
        reading.note_warnings(call)
    except BaseException as error:
        context.cancelled.set()
        raise _refusal(error, context) from None
    return Response(whole, content_type=_SAMPLES, headers=_SNAPPY)


def _refusal(error: BaseException, context: Context) -> BaseException:
    match error:
        case Malformed():
            return text_error(400, str(error))
        case TooManySamples():
            return text_error(400, f"exceeded sample limit ({context.max_samples})")
        case QueryTimeout():
            return text_error(503, "query timed out in remote read")
        case QueryCanceled():
            return text_error(499, "query was canceled in remote read")
        case StorageError() | OSError():
            return text_error(500, str(error))
    return error


class _Reading:
    """One request on its way; ``streamed`` says which form of response it gets."""

    def __init__(self, call: Call, body: bytes, context: Context) -> None:
        """Decodes *body* and resolves its selectors; Malformed where it is no request."""
        self._context = context
        request = remote_read.decode_request(body)
        source = readable(call, context)
        self._queries = [
            (query, source.resolve(query.matchers, Hints(query.start_ms, query.end_ms)))
            for query in request.queries
        ]
        self.streamed = self._wants_stream(request)

    def _wants_stream(self, request: ReadRequest) -> bool:
        """Whether chunks are what the reader likes best and can hold all there is."""
        known = [kind for kind in request.accepted if kind in ResponseType.__members__.values()]
        if request.accepted and not known:
            names = " ".join(map(str, request.accepted))
            raise Malformed(
                f"server does not support any of the requested response types: [{names}]; "
                "supported: map[SAMPLES:{} STREAMED_XOR_CHUNKS:{}]"
            )
        if not known or known[0] == ResponseType.SAMPLES:
            return False
        if ResponseType.SAMPLES in known:
            return not self._holds_histograms()
        return True

    def _holds_histograms(self) -> bool:
        return any(
            batch.histograms is not None
            for query, selection in self._queries
            for _, batch in self._slabs(query, selection)
        )

    def note_warnings(self, call: Call) -> None:
        """Neither form of response has a place for warnings."""
        tenant = call.principal.tenant
        call.house.metrics.unheard.note("remote_read", tenant, self._context.warnings)

    def whole(self) -> bytes:
        """The body of the response in samples."""
        results = []
        for query, selection in self._queries:
            parts: list[bytes] = []
            for frame, batch in self._slabs(query, selection):
                self._context.samples_read += batch.sample_count
                self._context.hold(self._context.samples_read)
                parts += remote_read.encode_series(frame, batch)
            results.append(b"".join(parts))
        return remote_read.encode_response(results)

    def frames(self) -> Iterator[bytes]:
        """The stream, a slab of series at a time."""
        for at, (query, selection) in enumerate(self._queries):
            for frame, batch in self._slabs(query, selection):
                yield b"".join(
                    remote_read.encode_frames(frame, batch.of_kind(histograms=False), at)
                )

    def _slabs(
        self, query: ReadQuery, selection: Selection
    ) -> Iterator[tuple[LabelFrame, SeriesBatch]]:
        """The samples within the query's range, some series at a time, in label order."""
        size = selection.frame.size
        per_row = max(1, selection.estimated_samples() // max(size, 1))
        rows = max(1, SLAB_SAMPLES // per_row)
        for start in range(0, size, rows):
            self._context.check()
            part = slice(start, min(start + rows, size))
            batch = selection.read(part, query.start_ms, query.end_ms, self._context)
            yield selection.frame.take(part), _within(batch, query)


def _within(batch: SeriesBatch, query: ReadQuery) -> SeriesBatch:
    """*batch* without the neighbours outside the range; each row then has times of its own."""
    lengths = np.diff(batch.offsets)
    at = np.arange(batch.sample_count) + np.repeat(batch.time_starts - batch.offsets[:-1], lengths)
    times_ms = batch.times_ms[at]
    inside = (times_ms >= query.start_ms) & (times_ms <= query.end_ms)
    offsets = np.concatenate(([0], np.cumsum(inside)))[batch.offsets]
    return replace(
        batch,
        values=batch.values[inside],
        times_ms=times_ms[inside],
        offsets=offsets,
        time_starts=offsets[:-1].copy(),
        histogram_ids=None if batch.histogram_ids is None else batch.histogram_ids[inside],
        starts_ms=None,
    )


async def _sent(reading: _Reading, call: Call) -> AsyncIterator[bytes]:
    """The frames, each made when those before are sent; a failure ends the stream short."""
    loop = asyncio.get_running_loop()
    frames = reading.frames()
    while part := await loop.run_in_executor(call.queries, next, frames, b""):
        yield part
    reading.note_warnings(call)
