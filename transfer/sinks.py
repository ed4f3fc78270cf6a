"""Where an import writes: a data directory that nobody else uses, or a server."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx
import numpy as np

from series.batch import SeriesBatch
from transfer.tally import Tally
from tsdb.db import DbOptions
from tsdb.disk_space import Reserve
from tsdb.head.registry import Registry
from tsdb.store import Store
from wire.remote_read_client import encode_write

PUSH_SAMPLES = 20_000
"""So many samples, or the rows of one batch, are sent at a time."""
_GIVE_UP_SECONDS = 300.0
_REFUSED = re.compile(r"refused: (.*); stored: (\d+)")
_COUNT = re.compile(r"(\d+) ([a-z-]+)")


class TransferFailed(Exception):
    """The other side refuses altogether; the text is for the user."""


class ImportSink(Protocol):
    """Takes batches with keys, and counts in a Tally what becomes of them."""

    def add(self, batch: SeriesBatch) -> None:
        """Takes the samples of *batch*; OSError or TransferFailed where that is not possible."""
        ...

    def finish(self) -> None:
        """All that was taken is durable and visible when it returns."""
        ...

    def close(self) -> None: ...


class DirectorySink:
    """A tenant of a data directory, whose lock is held until ``close``."""

    def __init__(
        self, data: Path, tenant: str, retention_ms: int, now_ms: Callable[[], int], tally: Tally
    ) -> None:
        """Raises BlockingIOError naming the process that uses *data*, and what Store.open does."""
        options = DbOptions(retention_ms=retention_ms)
        self._store = Store.open(data, options, now_ms, reserve=Reserve())
        self._loader = self._store.tenant_for_write(tenant).loader()
        self._tally = tally
        self._finished = False

    def add(self, batch: SeriesBatch) -> None:
        self._loader.add(batch)

    def finish(self) -> None:
        self._loader.finish()
        self._finished = True

    def close(self) -> None:
        """What was not finished is dropped."""
        if not self._finished:
            self._loader.abandon()
        loader, tally = self._loader, self._tally
        tally.samples, tally.series = loader.stored, loader.series
        tally.exemplars = loader.stored_exemplars
        tally.refuse(loader.refused, loader.refusals)
        self._store.close()


class ServerSink:
    """A tenant of a server, by remote write."""

    def __init__(self, url: str, headers: dict[str, str], tally: Tally) -> None:
        self._url = url.rstrip("/") + "/api/v1/write"
        encoding = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
        self._http = httpx.Client(headers={**headers, **encoding}, timeout=150)
        self._tally = tally
        self._seen = Registry(bytes(16))

    def add(self, batch: SeriesBatch) -> None:
        ids, fingerprints = self._seen.look_up(batch)
        self._seen.add(batch, ids, fingerprints)
        self._tally.series = self._seen.size
        cuts = np.searchsorted(
            batch.offsets, np.arange(0, batch.sample_count + PUSH_SAMPLES, PUSH_SAMPLES)
        )
        bounds = np.unique(np.append(np.minimum(cuts, batch.series_count), 0))
        for first, end in zip(bounds.tolist(), bounds[1:].tolist(), strict=False):
            rows = np.zeros(batch.series_count, dtype=np.bool_)
            rows[first:end] = True
            part = batch.take(rows)
            self._push(encode_write(part), part.sample_count)
            self._tally.exemplars += part.exemplars.size if part.exemplars is not None else 0

    def finish(self) -> None:
        """Every answer came when the samples were durable."""

    def close(self) -> None:
        self._http.close()

    def _push(self, body: bytes, samples: int) -> None:
        """Sends *body*, again where the server asks to wait, for some minutes at most."""
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        while True:
            try:
                reply = self._http.post(self._url, content=body)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise TransferFailed(f"{self._url}: {error}") from None
            if reply.status_code not in (429, 503) or time.monotonic() > give_up:
                break
            wait = reply.headers.get("retry-after", "")
            time.sleep(min(float(wait) if wait.isdigit() else 1.0, 60.0))
        if reply.is_success:
            self._tally.samples += samples
            return
        told = _REFUSED.search(reply.text)
        if reply.status_code != 400 or told is None:
            raise TransferFailed(f"{self._url}: {reply.status_code} {reply.text.strip()}")
        self._tally.samples += int(told[2])
        counts = {reason: int(count) for count, reason in _COUNT.findall(told[1])}
        self._tally.refuse(counts, ())
        for line in reply.text.splitlines()[:-1]:
            self._tally.name(line)
