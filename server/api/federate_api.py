"""Federation: the newest samples of selected series as a page that another Prometheus scrapes.

Source: web/federate.go of Prometheus 3.14; errors are plain text, as there.
"""

import asyncio
import time

import numpy as np

from promql.go_text import format_g
from promql.lookup import lookup
from promql.matrix import Matrix
from series.frame import LabelFrame
from series.histogram import Histogram
from series.labels import METRIC_NAME
from series.ports import Context, Hints, QueryTimeout, Selection, StorageError, TooManySamples
from server.access.query_limits import check_queue, readable
from server.api.metadata_api import selectors
from server.api.params import read_params
from server.call import Call
from server.http import Response, text_error
from wire.exposition_write import (
    PROTOBUF_TYPE,
    TEXT_TYPE,
    Exposed,
    protobuf_page,
    text_page,
)

ROWS = 4096


async def federate(call: Call) -> Response:
    """``/federate``: each series once, the newest sample within the lookback, sorted by name."""
    check_queue(call)
    params = await read_params(call.request)
    is_protobuf = "io.prometheus.client.metricfamily" in call.request.header(b"accept").lower()
    context = Context(
        deadline=time.monotonic() + call.house.settings.query_timeout_ms / 1000,
        max_samples=call.house.options.max_samples,
        strict=params.flag("strict"),
    )

    def page() -> Response:
        try:
            chosen = selectors(params)
        except ValueError as error:
            raise text_error(400, str(error)) from None
        source = readable(call, context)
        at_ms, lookback_ms = call.house.now_ms(), call.house.options.lookback_ms
        found = Newest()
        try:
            for matchers in chosen:
                hints = Hints(at_ms - lookback_ms + 1, at_ms)
                found.add(source.resolve(matchers, hints), hints, context)
        except (QueryTimeout, TooManySamples):
            raise text_error(503, "federation read more than a query may") from None
        except (StorageError, OSError) as error:
            raise text_error(500, str(error)) from None
        call.house.metrics.unheard.note("federate", call.principal.tenant, context.warnings)
        if is_protobuf:
            return Response(protobuf_page(found.samples()), content_type=PROTOBUF_TYPE)
        return Response(found.text(), content_type=TEXT_TYPE)

    return await asyncio.get_running_loop().run_in_executor(call.queries, page)


class Newest:
    """The newest sample of every series that was selected, in rows."""

    def __init__(self) -> None:
        self._frames: list[LabelFrame] = []
        self._times_ms: list[int] = []
        self._values: list[float | Histogram] = []

    def add(self, selection: Selection, hints: Hints, context: Context) -> None:
        """The series of *selection* but for those that are stale."""
        at_ms = np.array([hints.end_ms], dtype=np.int64)
        lookback_ms = hints.end_ms - hints.start_ms + 1
        for start in range(0, selection.frame.size, ROWS):
            context.check()
            rows = slice(start, min(start + ROWS, selection.frame.size))
            batch = selection.read(rows, hints.start_ms, hints.end_ms, context)
            frame = selection.frame.take(rows)
            self._take(lookup(frame, batch, at_ms, lookback_ms, timed=True).alive())

    def _take(self, found: Matrix) -> None:
        assert found.times_ms is not None
        values: list[float | Histogram] = list(found.values[:, 0].tolist())
        if found.histogram_ids is not None and found.histograms is not None:
            for row in np.flatnonzero(found.histogram_ids[:, 0] >= 0).tolist():
                values[row] = found.histograms.one(int(found.histogram_ids[row, 0]))
        self._frames.append(found.frame)
        self._times_ms += found.times_ms[:, 0].tolist()
        self._values += values

    def text(self) -> bytes:
        """The page as text, which holds no histograms."""
        frame, order = self._in_order()
        rows, texts = [], []
        for row in order:
            if not isinstance(value := self._values[row], Histogram):
                rows.append(row)
                texts.append(format_g(value))
        times_ms = [self._times_ms[row] for row in rows]
        return text_page(frame.take(np.array(rows, dtype=np.int64)), times_ms, texts)

    def samples(self) -> list[Exposed]:
        """All of them, in order."""
        frame, rows = self._in_order()
        return [Exposed(frame.labels(row), self._times_ms[row], self._values[row]) for row in rows]

    def _in_order(self) -> tuple[LabelFrame, list[int]]:
        """The labels of all rows, and each series' first row by name; not the nameless."""
        if not self._frames:
            return LabelFrame.empty_labels(0), []
        frame = LabelFrame.concat(self._frames)
        first = frame.group_ids()[1]
        names = frame.texts(METRIC_NAME)
        rows = [row for row in first[frame.take(first).sort_order()].tolist() if names[row]]
        return frame, sorted(rows, key=names.__getitem__)
