"""Database: one tenant of a data directory, read in place."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from o11y.result import Result
from promql.engine import Engine
from promql.env import Options, QueryTimes
from series.durations import parse_duration_ms
from series.ports import Context, Source
from tsdb.store import Store

Instant = datetime | float
"""A time with its zone, or Unix seconds."""
Interval = timedelta | float | str
"""A duration, seconds, or a text like ``5m``."""


def open_database(
    data: Path | str,
    *,
    tenant: str = "default",
    options: Options | None = None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> "Database":
    """The data of *tenant* in the directory *data*, as it lies there now.

    Nothing is changed on disk. Raises FileNotFoundError where there is no such directory or
    tenant, BlockingIOError naming the process that serves it, and OSError or the storage's own
    errors where files cannot be read.
    """
    store = Store.open_read_only(Path(data), now_ms)
    try:
        if store.tenant(tenant) is None:
            raise FileNotFoundError(f"no tenant {tenant!r} in {data}")
    except BaseException:
        store.close()
        raise
    return Database(store, tenant, options or Options(), now_ms)


class Database:
    """One tenant's series, for any thread; ``close`` it, or use a ``with`` statement."""

    def __init__(
        self, store: Store, tenant: str, options: Options, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._engine = Engine(options)
        self._now_ms = now_ms

    def query(
        self,
        expr: str,
        at: Instant | None = None,
        *,
        timeout_s: float = 120,
        strict: bool = False,
    ) -> Result:
        """The value of *expr* at one instant, now if left out.

        Raises ``promql.errors.ParseError``, ``promql.notes.ExecutionError`` and what
        ``series.ports`` names; where damage on disk takes samples from the answer it has a
        warning that names the file, or StorageError is raised if *strict*.
        """
        at_ms = self._now_ms() if at is None else _instant_ms(at)
        context = self._context(timeout_s, strict)
        return Result(self._engine.instant(self._view(context), expr, at_ms, context))

    def query_range(
        self,
        expr: str,
        start: Instant,
        end: Instant,
        step: Interval,
        *,
        timeout_s: float = 120,
        strict: bool = False,
    ) -> Result:
        """The values of *expr* at start, start + step ... up to end; as ``query``."""
        times = QueryTimes(_instant_ms(start), _instant_ms(end), _interval_ms(step))
        if times.step_ms < 1 or times.end_ms < times.start_ms:
            raise ValueError(
                "a range needs a positive step and an end that is not before its start"
            )
        context = self._context(timeout_s, strict)
        return Result(self._engine.range(self._view(context), expr, times, context))

    def explain(self, expr: str, at: Instant | None = None) -> dict[str, Any]:
        """The plan of *expr* and about what it would read, see ``promql.analyze.plan_tree``."""
        at_ms = self._now_ms() if at is None else _instant_ms(at)
        times = QueryTimes.instant(at_ms)
        context = self._context(120)
        return self._engine.explain(self._view(context), expr, times, context)

    def label_values(self, name: str, *, strict: bool = False) -> list[str]:
        """The values of label *name*, sorted; StorageError if *strict* where some are damaged."""
        return self._view(self._context(120, strict)).label_values(name, (), -(2**62), 2**62)

    def close(self) -> None:
        """Lets the directory go."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _view(self, context: Context) -> Source:
        db = self._store.tenant(self._tenant)
        assert db is not None
        return db.view(context.damaged)

    def _context(self, timeout_s: float, strict: bool = False) -> Context:
        most = self._engine.options.max_samples
        deadline = time.monotonic() + timeout_s
        return Context(deadline=deadline, max_samples=most, strict=strict)


def _instant_ms(at: Instant) -> int:
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError("a datetime needs a time zone, like datetime.now(UTC)")
        return round(at.timestamp() * 1000)
    return round(at * 1000)


def _interval_ms(interval: Interval) -> int:
    match interval:
        case str():
            return parse_duration_ms(interval)
        case timedelta():
            return round(interval.total_seconds() * 1000)
    return round(interval * 1000)
