"""The scraping thread: an event loop of its own, so that no page keeps a request waiting.

Other threads ask it to load a configuration; what it found and counted they may read at any time.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from scrape.clock import Clock, SystemClock
from scrape.config import Config, load_config
from scrape.counters import Counters
from scrape.manager import Manager
from scrape.pool import Pool, Surroundings
from scrape.visit import Deliver

log = logging.getLogger("o11y.scrape")

T = TypeVar("T")


class Scraping:
    """Scrapes by the configuration in one file until closed."""

    def __init__(
        self,
        path: Path,
        deliver: Deliver,
        tenant_of: Callable[[str], str],
        clock: Clock | None = None,
    ) -> None:
        """Loads *path* and begins; raises ConfigError or OSError where that cannot be used.

        *tenant_of* tells by a job's name whose its samples are.
        """
        self.path = path
        self.tenant_of = tenant_of
        self.counters = Counters()
        self.last_reload_good = True
        self.last_reload_seconds = time.time()
        config = load_config(path)
        self._reloading = threading.Lock()
        self._loop = uvloop.new_event_loop()
        around = Surroundings(clock or SystemClock(), deliver, self.counters)
        self._manager = Manager(around)
        self._thread = threading.Thread(target=self._run, name="scrape", daemon=True)
        self._thread.start()
        self._apply(config)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._manager.config

    def pools(self, tenant: str) -> list[Pool]:
        """The pools whose samples are *tenant*'s, by name."""
        pools = dict(self._manager.pools)
        return [pools[name] for name in sorted(pools) if self.tenant_of(name) == tenant]

    def all_pools(self) -> list[Pool]:
        return list(self._manager.pools.values())

    def reload(self) -> None:
        """Loads the file again; ConfigError or OSError, and the old one stays, where it is bad."""
        with self._reloading:
            try:
                config = load_config(self.path)
            except (ValueError, OSError) as error:
                self.last_reload_good = False
                log.error("keeping the configuration of before: %s", error)
                raise
            self._apply(config)
            self.last_reload_good = True
            self.last_reload_seconds = time.time()

    def hang_up(self) -> None:
        """``reload`` for a signal, which nobody waits for: what is wrong is only logged."""
        try:
            self.reload()
        except (ValueError, OSError):
            return

    def close(self) -> None:
        """Stops scraping; what is on its way to the storage is waited for no more."""
        self._call(self._manager.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _apply(self, config: Config) -> None:
        for warning in config.warnings:
            log.warning("%s", warning)

        async def apply() -> None:
            self._manager.apply(config)

        self._call(apply())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
