"""The house: every room wired together for one running server.

Importing this file compiles or loads all kernels, so the program does it in a thread, after it
has begun to listen.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from promql.engine import Engine
from promql.env import Options
from server.access.auth import Gate
from server.access.fair import FairPool
from server.access.limits import LimitsFile
from server.access.rates import Rates
from server.api.quick import QuickQueries
from server.api.range_cache import RangeCache
from server.api.shapes import Shapes
from server.background import Background
from server.doors.ha import Elections
from server.doors.otlp_tenants import OtlpTenants
from server.doors.push_groups import PushGroups
from server.doors.refusal_log import RefusalLog
from server.huge_pages import HugePages
from server.metrics.cache_metrics import CacheCollector
from server.metrics.damage_metrics import DamageCollector
from server.metrics.disk_metrics import DiskCollector
from server.metrics.limit_metrics import LimitsCollector
from server.metrics.range_cache_metrics import RangeCacheCollector
from server.metrics.self_metrics import SelfMetrics
from server.settings import Settings
from tsdb.db import DbOptions
from tsdb.log.progress import ReplayProgress
from tsdb.store import Store

if TYPE_CHECKING:
    from server.doors.scraping import Scraping


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
    refusal_log: RefusalLog = field(default_factory=RefusalLog)
    limits: LimitsFile = field(default_factory=LimitsFile)
    sample_rates: Rates = field(default_factory=Rates)
    request_rates: Rates = field(default_factory=Rates)
    elections: Elections = field(default_factory=Elections)
    quick: QuickQueries = field(default_factory=QuickQueries)
    shapes: Shapes = field(default_factory=Shapes)
    engine: Engine = field(init=False)
    range_cache: RangeCache = field(init=False)
    queries: FairPool = field(init=False)
    writes: FairPool = field(init=False)
    otlp: OtlpTenants = field(init=False)
    started_seconds: float = field(default_factory=time.time)
    background: Background | None = None
    scraping: "Scraping | None" = None
    pushes: PushGroups = field(default_factory=PushGroups)
    pages: HugePages = field(default_factory=HugePages)

    def __post_init__(self) -> None:
        self.engine = Engine(self.options)
        self.range_cache = RangeCache(self.settings.query_cache_bytes)
        self.metrics.registry.register(RangeCacheCollector(self.range_cache))
        self.metrics.registry.register(CacheCollector(self.store.cache_uses))
        self.queries = FairPool(self.settings.query_workers, "query")
        self.writes = FairPool(self.settings.write_workers, "write")
        limits = LimitsCollector(self.limits, self.gate, self.elections)
        self.metrics.registry.register(limits)
        self.metrics.observe_storage(self.store.tenants, self.store.stats)
        self.metrics.registry.register(DiskCollector(self.store.space))
        self.metrics.registry.register(DamageCollector(self.store))
        self.metrics.observe_pushes(self.pushes)
        self.metrics.observe_huge_pages(self.pages)
        otlp = replace(
            self.settings.otlp,
            type_and_unit_labels=self.options.type_and_unit_labels,
            lookback_delta_ms=self.options.lookback_ms,
        )
        self.otlp = OtlpTenants(otlp, self.metrics.registry)

    @classmethod
    def open(
        cls,
        settings: Settings,
        gate: Gate,
        now_ms: Callable[[], int] = wall_clock_ms,
        progress: ReplayProgress | None = None,
    ) -> Self:
        """Takes the data directory, replays it and begins the background work.

        Raises OSError and the storage's own errors where the directory cannot be used, and
        ReplayStopped where *progress* was stopped.
        """
        db_options = DbOptions(
            retention_ms=settings.retention_ms,
            retention_bytes=settings.retention_bytes,
            wal_sync_ms=settings.wal_sync_ms,
            scrub_interval_ms=settings.scrub_interval_ms,
        )
        store = Store.open(
            settings.data_dir, db_options, now_ms,
            reserve=settings.storage_reserve, progress=progress,
        )  # fmt: skip
        options = engine_options(settings.features)
        limits = LimitsFile(settings.limits_file)
        house = cls(settings, gate, store, options, now_ms, limits=limits)
        house.background = Background(store.maintain, house.metrics.maintenance_failures.inc)
        return house

    def close(self, seal_seconds: float = 0.0) -> None:
        """Waits for what is running, syncs and lets the data directory go.

        For *seal_seconds* at most it puts what the log holds into blocks; see ``Store.close``.
        """
        if self.scraping is not None:
            self.scraping.close()
        self.store.stop_merging()
        if self.background is not None:
            self.background.close()
        self.queries.shutdown()
        self.writes.shutdown()
        self.store.close(seal_seconds)


def engine_options(features: frozenset[str]) -> Options:
    """The engine's options for the feature flags of the command line."""
    return Options(
        delayed_name_removal="promql-delayed-name-removal" in features,
        use_start_timestamps="use-start-timestamps" in features,
        type_and_unit_labels="type-and-unit-labels" in features,
    )
