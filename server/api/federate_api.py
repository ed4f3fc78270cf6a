"""Federation: the newest samples of selected series as a page that another Prometheus scrapes.

Source: web/federate.go of Prometheus 3.14; errors are plain text, as there.
"""

import asyncio
import time
from collections.abc import Iterator

import numpy as np

from promql.go_text import format_g
from promql.lookup import lookup
from series.histogram import Histogram
from series.labels import Labels
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
        found: dict[Labels, Exposed] = {}
        try:
            for matchers in chosen:
                hints = Hints(at_ms - lookback_ms + 1, at_ms)
                for sample in _newest(source.resolve(matchers, hints), hints, context):
                    found[sample.labels] = sample
        except (QueryTimeout, TooManySamples):
            raise text_error(503, "federation read more than a query may") from None
        except (StorageError, OSError) as error:
            raise text_error(500, str(error)) from None
        call.house.metrics.unheard.note("federate", call.principal.tenant, context.warnings)
        samples = sorted(found.values(), key=lambda one: (one.labels.metric, one.labels))
        if is_protobuf:
            return Response(protobuf_page(samples), content_type=PROTOBUF_TYPE)
        return Response(text_page(samples), content_type=TEXT_TYPE)

    return await asyncio.get_running_loop().run_in_executor(call.queries, page)


def _newest(selection: Selection, hints: Hints, context: Context) -> Iterator[Exposed]:
    """The newest sample of every series that is not stale."""
    at_ms = np.array([hints.end_ms], dtype=np.int64)
    lookback_ms = hints.end_ms - hints.start_ms + 1
    for start in range(0, selection.frame.size, ROWS):
        context.check()
        rows = slice(start, min(start + ROWS, selection.frame.size))
        batch = selection.read(rows, hints.start_ms, hints.end_ms, context)
        frame = selection.frame.take(rows)
        found = lookup(frame, batch, at_ms, lookback_ms, timed=True)
        assert found.times_ms is not None
        for row in np.flatnonzero(found.present[:, 0]).tolist():
            value: float | Histogram = float(found.values[row, 0])
            if found.histograms is not None and found.holds_histograms[row, 0]:
                assert found.histogram_ids is not None
                value = found.histograms.one(int(found.histogram_ids[row, 0]))
            text = "" if isinstance(value, Histogram) else format_g(value)
            yield Exposed(frame.labels(row), int(found.times_ms[row, 0]), value, text)
