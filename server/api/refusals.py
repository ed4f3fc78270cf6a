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


class Refusals:
    """A context manager out of which errors of a query come as HttpErrors."""

    __slots__ = ("_call", "_timeout_ms")

    def __init__(self, call: Call, timeout_ms: float) -> None:
        self._call = call
        self._timeout_ms = timeout_ms

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and (refusal := self._refusal(error)) is not None:
            raise refusal from None

    def _refusal(self, error: BaseException) -> HttpError | None:
        match error:
            case ParseError():
                return invalid("query", str(error))
            case ExecutionError():
                return api_error("execution", str(error))
            case TooManySamples():
                return too_many_samples(self._call, error)
            case QueryTimeout():
                return timed_out(self._call, self._timeout_ms)
            case QueryCanceled():
                return api_error("canceled", "query was canceled in expression evaluation")
            case StorageError() | OSError():
                log.error("storage failed: %s", error)
                return api_error("internal", str(error))
        return None
