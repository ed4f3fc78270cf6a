"""Refusals: what the engine and the storage raise, as the asker hears it."""

import logging

from promql.errors import ParseError
from promql.notes import ExecutionError
from series.ports import QueryCanceled, QueryTimeout, StorageError, TooManySamples
from server.access.query_limits import timed_out, too_many_samples
from server.api.params import invalid
from server.call import Call
from server.http import HttpError, api_error

log = logging.getLogger("o11y.query")


def refusal_of(call: Call, timeout_ms: float, error: BaseException) -> HttpError | None:
    """What the asker hears of *error*; None where that is not the engine's nor the storage's."""
    match error:
        case ParseError():
            return invalid("query", str(error))
        case ExecutionError():
            return api_error("execution", str(error))
        case TooManySamples():
            return too_many_samples(call, error)
        case QueryTimeout():
            return timed_out(call, timeout_ms)
        case QueryCanceled():
            return api_error("canceled", "query was canceled in expression evaluation")
        case StorageError() | OSError():
            log.error("storage failed: %s", error)
            return api_error("internal", str(error))
    return None
