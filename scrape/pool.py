"""Pool: the targets of one job, each visited on its own beat.

A target is visited whenever ``time % interval`` passes its offset, which is spread evenly by a
hash, so restarts change nothing. A visit that is late by little carries the time of its tick, so
that the samples of a target lie a whole interval apart; one that takes longer than the interval
makes the next tick be left out.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from scrape.clock import Clock
from scrape.config import Job
from scrape.counters import Counters
from scrape.discovery import Discoverer
from scrape.discovery_config import TargetGroup
from scrape.target import BadTarget, Target, discovered_labels, make_target
from scrape.visit import Deliver, Visitor
from series.labels import Labels

log = logging.getLogger("o11y.scrape")

TOLERANCE_MS = 20
"""How late a visit may be to carry its tick's time; at most a hundredth of the interval."""

Identity = tuple[Labels, str, int, int]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every pool works with."""

    clock: Clock
    deliver: Deliver
    counters: Counters
    transport: httpx.AsyncBaseTransport | None = None


def next_tick_ms(target: Target, after_ms: int) -> int:
    """The first tick of *target* later than *after_ms*."""
    beat = after_ms - target.offset_ms()
    return after_ms + target.interval_ms - beat % target.interval_ms


@dataclass(slots=True)
class _Running:
    """A target that is visited, or whose series wait to be ended."""

    visitor: Visitor
    task: "asyncio.Task[None]"


class Pool:
    """The targets of one job; every method belongs to the loop's thread."""

    def __init__(self, job: Job, around: Surroundings) -> None:
        self.job = job
        self.dropped: list[Labels] = []
        """Labels before relabelling of what it dropped, as many as the job keeps."""
        self.dropped_count = 0
        self._around = around
        self._groups: dict[tuple[int, str], Sequence[TargetGroup]] = {}
        self._active: dict[Identity, _Running] = {}
        self._ending: dict[Labels, _Running] = {}
        self._discovering: list[asyncio.Task[None]] = []
        self._complaint = ""

    @property
    def visitors(self) -> list[Visitor]:
        """The targets that are visited, in the order they were found."""
        return [running.visitor for running in list(self._active.values())]

    def start(self) -> None:
        """Begins to look for targets and to visit them."""
        for number, discovery in enumerate(self.job.discoveries):
            discoverer = Discoverer(
                discovery,
                self._around.clock,
                lambda source, groups, number=number: self._update(number, source, groups),  # type: ignore[misc]
                self._around.counters,
                self._around.transport,
            )
            task = asyncio.create_task(discoverer.run())
            task.add_done_callback(self._complain_of)
            self._discovering.append(task)

    def adopt(self, before: "Pool") -> None:
        """Takes the series of *before*, which stops, so that none is interrupted for no reason."""
        for running in [*before._halt(), *before._ending.values()]:
            running.task.cancel()
            self._end_later(running.visitor)
        before._ending.clear()

    def retire(self) -> None:
        """Stops visiting; at each target's next tick its series are ended."""
        for running in self._halt():
            self._end_later(running.visitor)

    async def close(self) -> None:
        """Stops at once; no series is ended, since the next start may go on with them."""
        halted = [*self._halt(), *self._ending.values()]
        for running in halted:
            running.task.cancel()
        await asyncio.gather(*(running.task for running in halted), return_exceptions=True)
        for running in halted:
            await running.visitor.close()

    @property
    def finished(self) -> bool:
        """Whether a retired pool has ended all its series."""
        return not self._ending and not self._active

    def _halt(self) -> list[_Running]:
        for task in self._discovering:
            task.cancel()
        self._discovering.clear()
        halted = list(self._active.values())
        self._active.clear()
        for running in halted:
            running.task.cancel()
        return halted

    def _update(self, number: int, source: str, groups: Sequence[TargetGroup]) -> None:
        """What one mechanism has found: all groups of one source."""
        if groups:
            self._groups[number, source] = groups
        else:
            self._groups.pop((number, source), None)
        self._sync()

    def _sync(self) -> None:
        """Visits exactly the targets that are found now."""
        wanted = self._targets()
        for identity in [one for one in self._active if one not in wanted]:
            running = self._active.pop(identity)
            running.task.cancel()
            self._end_later(running.visitor)
        for identity, target in wanted.items():
            if identity not in self._active:
                self._active[identity] = self._begin(target)
            self._active[identity].visitor.target = target
        self._enforce_limit()

    def _targets(self) -> dict[Identity, Target]:
        """The targets of all groups by identity; fills ``dropped``."""
        wanted: dict[Identity, Target] = {}
        dropped: list[Labels] = []
        dropped_count = 0
        problems = []
        for groups in self._groups.values():
            for labels in (labels for group in groups for labels in group.label_sets()):
                discovered = discovered_labels(self.job, labels)
                try:
                    target = make_target(self.job, discovered)
                except BadTarget as error:
                    problems.append(f"{error} in target {discovered}")
                    continue
                if target is not None:
                    wanted.setdefault(target.identity, target)
                    continue
                dropped_count += 1
                keep = self.job.limits.dropped_targets
                if not keep or len(dropped) < keep:
                    dropped.append(discovered)
        self.dropped, self.dropped_count = dropped, dropped_count
        self._complain(problems)
        return wanted

    def _complain(self, problems: list[str]) -> None:
        complaint = (
            f"{len(problems)} unusable targets, the first: {problems[0]}" if problems else ""
        )
        if complaint and complaint != self._complaint:
            log.warning("job %s: %s", self.job.name, complaint)
        self._complaint = complaint

    def _complain_of(self, discovering: "asyncio.Task[None]") -> None:
        if not discovering.cancelled() and (error := discovering.exception()) is not None:
            log.error("job %s looks for no more targets", self.job.name, exc_info=error)

    def _enforce_limit(self) -> None:
        limit = self.job.limits.targets
        error = ""
        if limit and len(self._active) > limit:
            error = (
                f"target_limit exceeded (number of targets: {len(self._active)}, limit: {limit})"
            )
        for running in self._active.values():
            running.visitor.forced_error = error

    def _begin(self, target: Target) -> _Running:
        around = self._around
        visitor = Visitor(
            self.job, target, around.clock, around.deliver, around.counters, around.transport
        )
        before = self._ending.pop(target.labels, None)
        if before is not None:
            before.task.cancel()
            visitor.take_over(before.visitor)
        return _Running(visitor, asyncio.create_task(self._visit(visitor)))

    async def _visit(self, visitor: Visitor) -> None:
        clock = self._around.clock
        target = visitor.target
        try:
            tick_ms = next_tick_ms(target, clock.now_ms())
            while True:
                await clock.sleep((tick_ms - clock.now_ms()) / 1000)
                now_ms = clock.now_ms()
                tolerance_ms = min(TOLERANCE_MS, target.interval_ms // 100)
                on_time = abs(now_ms - tick_ms) <= tolerance_ms
                await visitor.visit(tick_ms if on_time else now_ms)
                after_ms = max(clock.now_ms(), tick_ms if on_time else now_ms)
                following_ms = next_tick_ms(target, after_ms)
                self._around.counters.skipped_ticks += max(
                    0, (following_ms - tick_ms) // target.interval_ms - 1
                )
                tick_ms = following_ms
        finally:
            await visitor.close()

    def _end_later(self, visitor: Visitor) -> None:
        """Ends the visitor's series at its next tick, unless a target goes on with them."""
        labels = visitor.target.labels
        if (other := self._ending.get(labels)) is not None:
            other.visitor.take_over(visitor)
            return
        task = asyncio.create_task(self._end(visitor))
        self._ending[labels] = _Running(visitor, task)

    async def _end(self, visitor: Visitor) -> None:
        clock = self._around.clock
        tick_ms = next_tick_ms(visitor.target, max(clock.now_ms(), visitor.last_scrape_ms))
        await clock.sleep((tick_ms - clock.now_ms()) / 1000)
        await visitor.end(max(tick_ms, clock.now_ms()))
        self._ending.pop(visitor.target.labels, None)
