"""Manager: the pools of a configuration, and how they change with it."""

import asyncio

from scrape.config import Config
from scrape.pool import Pool, Surroundings


class Manager:
    """Runs one Pool a job; every method belongs to the loop's thread."""

    def __init__(self, around: Surroundings) -> None:
        self.config = Config()
        self.pools: dict[str, Pool] = {}
        self._around = around
        self._retired: list[Pool] = []

    def apply(self, config: Config) -> None:
        """Makes *config* the one in force.

        Jobs that did not change go on undisturbed. Those that did continue the series of their
        targets; the series of jobs and targets that are gone end at their next tick.
        """
        self._retired = [pool for pool in self._retired if not pool.finished]
        before, pools = dict(self.pools), dict[str, Pool]()
        for job in config.jobs:
            old = before.pop(job.name, None)
            if old is not None and old.job == job:
                old.job = job
                pools[job.name] = old
                continue
            pool = pools[job.name] = Pool(job, self._around)
            if old is not None:
                pool.adopt(old)
            pool.start()
        for pool in before.values():
            pool.retire()
            self._retired.append(pool)
        self.pools, self.config = pools, config

    async def close(self) -> None:
        """Stops everything at once; no series is ended."""
        pools = [*self.pools.values(), *self._retired]
        await asyncio.gather(*(pool.close() for pool in pools))
