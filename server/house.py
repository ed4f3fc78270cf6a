"""The house: every room wired together for one running server.

Importing this file compiles or loads all kernels, so the program does it in a thread, after it
has begun to listen.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from tsdb.store import Store

from promql.env import Options
from server.auth import Gate
from server.background import Background
from server.self_metrics import SelfMetrics
from server.settings import Settings
from tsdb.db import DbOptions


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class House:
    """What the handlers of requests work with."""

    settings: Settings
    gate: Gate
    store: Store
    options: Options
    now_ms: Callable[[], int] = wall_clock_ms
    metrics: SelfMetrics = field(default_factory=SelfMetrics)
    queries: ThreadPoolExecutor = field(init=False)
    writes: ThreadPoolExecutor = field(init=False)
    background: Background | None = None

    def __post_init__(self) -> None:
        self.queries = ThreadPoolExecutor(self.settings.query_workers, "query")
        self.writes = ThreadPoolExecutor(self.settings.write_workers, "write")
        self.metrics.observe_storage(self.store.tenants, self._stats)

    @classmethod
    def open(
        cls, settings: Settings, gate: Gate, now_ms: Callable[[], int] = wall_clock_ms
    ) -> Self:
        """Takes the data directory, replays it and begins the background work.

        Raises OSError and the storage's own errors where the directory cannot be used.
        """
        db_options = DbOptions(retention_ms=settings.retention_ms)
        store = Store.open(settings.data_dir, db_options, now_ms)
        house = cls(settings, gate, store, engine_options(settings.features), now_ms)
        house.background = Background(store.maintain, house.metrics.maintenance_failures.inc)
        return house

    def close(self) -> None:
        """Waits for what is running, syncs and lets the data directory go."""
        if self.background is not None:
            self.background.close()
        self.queries.shutdown(cancel_futures=True)
        self.writes.shutdown()
        self.store.close()

    def _stats(self) -> list[object]:
        loaded = (self.store.tenant(name) for name in self.store.tenants())
        return [db.stats() for db in loaded if db is not None]


def engine_options(features: frozenset[str]) -> Options:
    """The engine's options for the feature flags of the command line."""
    return Options(
        delayed_name_removal="promql-delayed-name-removal" in features,
        use_start_timestamps="use-start-timestamps" in features,
        type_and_unit_labels="type-and-unit-labels" in features,
    )
