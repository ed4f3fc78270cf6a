"""What an export reads: the samples of selectors, some series at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.labels import Labels
from series.matcher import Matcher
from series.ports import Context, Hints, Source
from transfer.sinks import TransferFailed
from wire.errors import Malformed
from wire.remote_read_client import decode_answer, encode_query

SLAB_SAMPLES = 1 << 19
"""About so many samples are in memory at a time, or those of one series."""
_ANSWER_SAMPLES = 1 << 20
"""A server is asked for about so many at a time."""
_FIRST_WINDOW_MS = 30 * 60_000

Matchers = tuple[Matcher, ...]


class Slab(NamedTuple):
    """Rows of samples with their labels."""

    frame: LabelFrame
    batch: SeriesBatch


def read_database(
    source: Source, selectors: Sequence[Matchers], start_ms: int, end_ms: int, context: Context
) -> Iterator[Slab]:
    """The samples of *selectors* within [start_ms, end_ms], series after series, each once."""
    for number, matchers in enumerate(selectors):
        selection = source.resolve(matchers, Hints(start_ms, end_ms))
        size = selection.frame.size
        per_row = max(1, selection.estimated_samples() // max(size, 1))
        rows = max(1, SLAB_SAMPLES // per_row)
        for start in range(0, size, rows):
            part = slice(start, min(start + rows, size))
            frame = selection.frame.take(part)
            batch = within(selection.read(part, start_ms, end_ms, context), start_ms, end_ms)
            wanted = np.diff(batch.offsets) > 0
            for earlier in selectors[:number]:
                wanted &= ~_matching(frame, earlier)
            if wanted.any():
                yield Slab(frame.take(wanted), batch.take(wanted))


def _matching(frame: LabelFrame, matchers: Matchers) -> NDArray[np.bool_]:
    """bool[S], which series of *frame* satisfy all *matchers*."""
    found = np.ones(frame.size, dtype=np.bool_)
    for one in matchers:
        column = frame.columns.get(one.name)
        if column is None:
            found &= one.matches("")
        else:
            found &= one.matches_many(column.values)[column.codes]
    return found


def within(batch: SeriesBatch, start_ms: int, end_ms: int) -> SeriesBatch:
    """*batch* without neighbours outside [start_ms, end_ms]; each row has times of its own."""
    lengths = np.diff(batch.offsets)
    at = np.arange(batch.sample_count) + np.repeat(batch.time_starts - batch.offsets[:-1], lengths)
    times_ms = batch.times_ms[at]
    inside = (times_ms >= start_ms) & (times_ms <= end_ms)
    offsets = np.concatenate(([0], np.cumsum(inside)))[batch.offsets]
    return replace(
        batch,
        values=batch.values[inside],
        times_ms=times_ms[inside],
        offsets=offsets,
        time_starts=offsets[:-1].copy(),
        histogram_ids=None if batch.histogram_ids is None else batch.histogram_ids[inside],
        starts_ms=None if batch.starts_ms is None else batch.starts_ms[inside],
    )


class _TooMuch(Exception):
    """A stretch of time holds more samples than the server hands out at once."""


class ServerReading:
    """A server as what an export reads, by remote read; starts of samples do not travel."""

    def __init__(
        self, url: str, headers: dict[str, str], transport: httpx.BaseTransport | None = None
    ) -> None:
        """*transport* stands for the network."""
        self._url = url.rstrip("/")
        self._http = httpx.Client(headers=headers, timeout=150, transport=transport)

    def label_names(self, selectors: Sequence[str], start_ms: int, end_ms: int) -> list[str]:
        """The names of the labels of the series that *selectors* match."""
        values = {"match[]": list(selectors), "start": start_ms / 1000, "end": end_ms / 1000}
        reply = self._post("/api/v1/labels", data=values)
        names: list[str] = reply.json()["data"]
        return names

    def read(self, selectors: Sequence[Matchers], start_ms: int, end_ms: int) -> Iterator[Slab]:
        """The samples of *selectors*, one stretch of time after the other, each once."""
        window_ms = _FIRST_WINDOW_MS
        at_ms = start_ms
        while at_ms <= end_ms:
            last_ms = min(at_ms + window_ms - 1, end_ms)
            try:
                slabs = [self._window(matchers, at_ms, last_ms) for matchers in selectors]
            except _TooMuch as error:
                if last_ms == at_ms:
                    raise TransferFailed(str(error)) from None
                window_ms = max(1, (last_ms - at_ms + 1) // 4)
                continue
            samples = sum(slab.batch.sample_count for slab in slabs)
            for number, slab in enumerate(slabs):
                wanted = np.ones(slab.frame.size, dtype=np.bool_)
                for earlier in selectors[:number]:
                    wanted &= ~_matching(slab.frame, earlier)
                if wanted.any():
                    yield Slab(slab.frame.take(wanted), slab.batch.take(wanted))
            at_ms = last_ms + 1
            if samples > _ANSWER_SAMPLES:
                window_ms = max(1, window_ms * _ANSWER_SAMPLES // (2 * samples))
            elif samples < _ANSWER_SAMPLES // 4:
                window_ms *= 2

    def close(self) -> None:
        self._http.close()

    def _window(self, matchers: Matchers, start_ms: int, end_ms: int) -> Slab:
        headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
        body = encode_query(matchers, start_ms, end_ms)
        reply = self._post("/api/v1/read", content=body, headers=headers)
        try:
            batch = decode_answer(reply.content).batch
        except Malformed as error:
            raise TransferFailed(f"{self._url}: {error}") from None
        labels = [Labels.from_key(batch.key(row)) for row in range(batch.series_count)]
        return Slab(LabelFrame.from_labels(labels), batch)

    def _post(self, path: str, **arguments: object) -> httpx.Response:
        try:
            reply = self._http.post(self._url + path, **arguments)  # type: ignore[arg-type]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransferFailed(f"{self._url}: {error}") from None
        text = f"{self._url}: {reply.status_code} {reply.text.strip()}"
        if reply.status_code == 400 and "exceeded sample limit" in text:
            raise _TooMuch(text)
        if not reply.is_success:
            raise TransferFailed(text)
        return reply
