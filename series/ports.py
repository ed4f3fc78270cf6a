"""Ports: what the engine asks of a database, and what a writer hands to one.

The engine reads in two steps. ``Source.resolve`` finds the series and touches no sample;
``Selection.read`` then decodes them slab by slab, so memory follows the slab and not the query.
"""

import copy
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.immutable import immutable
from series.labels import Labels
from series.matcher import Matcher


class QueryCanceled(Exception):
    """The asker has gone away."""


class QueryTimeout(Exception):
    """The deadline of the query has passed."""


class TooManySamples(Exception):
    """The query would hold more samples in memory than its budget allows.

    ``needed`` is what the query came to when it was stopped.
    """

    def __init__(self, needed: int, allowed: int) -> None:
        super().__init__(f"at least {needed} samples, at most {allowed} are allowed")
        self.needed = needed
        self.allowed = allowed


class NotInMemory(Exception):
    """The query would have to read from disk, and its context says that it may not."""


class StorageError(Exception):
    """The storage could not answer: a read failed or bytes are damaged."""


_making_events = threading.Lock()


class Context:
    """What accompanies one query: deadline, cancel flag, sample budget, warnings.

    Shared by the threads that work on the query; ``check`` is called between slabs.
    """

    def __init__(
        self,
        *,
        deadline: float | None = None,
        max_samples: int = 50_000_000,
        memory_only: bool = False,
        strict: bool = False,
    ) -> None:
        """*deadline* is a ``time.monotonic()`` instant.

        With *memory_only* a read that would go to the disk raises NotInMemory instead; with
        *strict* one that has to leave out damaged samples raises StorageError.
        """
        self.deadline = deadline
        self.max_samples = max_samples
        self.memory_only = memory_only
        self.strict = strict
        self.touched_disk = False
        """Whether a read went to the disk."""
        self._cancelled: threading.Event | None = None
        self.samples_read = 0
        self.began_seconds = time.monotonic()
        self.queued_seconds = 0.0
        """How long the query waited before it began; until then ``began_seconds`` is its coming."""
        self.peak_samples = 0
        """The most samples that were held at once."""
        self.reused_steps = 0
        """How many steps of the answer were known from before."""
        self.step_samples: dict[int, int] | None = None
        """Where somebody asks: by each step (ms) how many samples its value is made of."""
        self.warnings: dict[str, None] = {}
        """Texts for the answer's ``warnings``, in order, each once."""

    @property
    def cancelled(self) -> threading.Event:
        """Whoever sets it ends the query; made when it is first asked for."""
        if self._cancelled is None:
            with _making_events:
                self._cancelled = self._cancelled or threading.Event()
        return self._cancelled

    def check(self) -> None:
        """Raises QueryCanceled or QueryTimeout where the query must stop."""
        if self._cancelled is not None and self._cancelled.is_set():
            raise QueryCanceled
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise QueryTimeout

    def hold(self, samples: int) -> None:
        """Raises TooManySamples where *samples* in memory at once exceed the budget."""
        self.peak_samples = max(self.peak_samples, samples)
        if samples > self.max_samples:
            raise TooManySamples(samples, self.max_samples)

    def warn(self, text: str) -> None:
        self.warnings[text] = None

    def damaged(self, text: str) -> None:
        """Warns that damage, of which *text* names the file, keeps samples from the answer.

        Raises StorageError instead where the query is ``strict``.
        """
        if self.strict:
            raise StorageError(text)
        self.warn(text)

    def apart(self) -> "Context":
        """This one for a part of the work: it ends with it, but hears and counts by itself."""
        part = copy.copy(self)
        part._cancelled = self.cancelled
        part.samples_read = part.peak_samples = 0
        part.touched_disk, part.warnings = False, {}
        part.step_samples = None if self.step_samples is None else {}
        return part

    def join(self, part: "Context", held: int) -> None:
        """Adds what *part*, made by ``apart``, heard and counted while *held* samples were held."""
        self.samples_read += part.samples_read
        self.touched_disk |= part.touched_disk
        self.warnings.update(part.warnings)
        if self.step_samples is not None:
            for at, count in (part.step_samples or {}).items():
                self.step_samples[at] = self.step_samples.get(at, 0) + count
        self.hold(held + part.peak_samples)


def go_on() -> None:
    """Nothing stops."""


@immutable
class Hints:
    """What the query wants of a selector: the time range that can matter (both ends included).

    ``values`` is False where only presence is asked for: floats may be any then, but for stale
    markers; with ``newest`` all samples of a series may be left out but the newest in that time.
    ``check`` is called between the parts of a long search and raises where the query must stop.
    """

    start_ms: int
    end_ms: int
    step_ms: int = 0
    range_ms: int = 0
    function: str = ""
    grouping: tuple[str, ...] = ()
    by: bool = False
    values: bool = True
    newest: bool = False
    check: Callable[[], None] = field(default=go_on, compare=False)


class Selection(Protocol):
    """The series that a selector matches, in ascending order of their labels.

    A Selection is a snapshot: samples that come later do not show in it.
    """

    @property
    def frame(self) -> LabelFrame:
        """The labels of the S series."""
        ...

    @property
    def generation(self) -> int:
        """Grows whenever the same selector might match other series; for caches."""
        ...

    def estimated_samples(self) -> int:
        """About how many samples a read of all rows returns; cheap."""
        ...

    def read(self, rows: slice, start_ms: int, end_ms: int, context: Context) -> SeriesBatch:
        """The samples of *rows* (a contiguous slice of the S series), row for row.

        The batch holds every sample with ``start_ms <= time <= end_ms``, times strictly rising,
        stale markers included; it may hold neighbours outside the range. No keys.
        """
        ...


class Source(Protocol):
    """A database frozen for one reader."""

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> Selection:
        """The series that satisfy all *matchers* and may have samples within the hints' range."""
        ...

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        """The label names of the matching series (of all series without matchers), sorted."""
        ...

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        """The values of label *name* among the matching series, sorted."""
        ...


@dataclass(frozen=True, slots=True)
class Exemplar:
    """An example of what a sample counts, with labels (a trace id, say) of its own."""

    labels: Labels
    value: float
    time_ms: int


@dataclass(frozen=True, slots=True)
class SeriesExemplars:
    """Exemplars of one series, rising in time."""

    labels: Labels
    exemplars: tuple[Exemplar, ...]


class ExemplarSource(Protocol):
    """What exemplars are asked of."""

    def exemplars(
        self, matcher_sets: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int
    ) -> list[SeriesExemplars]:
        """The exemplars with ``start_ms <= time <= end_ms`` of the series that satisfy all
        matchers of one of the sets; series that have some, in ascending order of their labels.
        """
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """One sample that was not stored, and why.

    ``reason`` is one of the keys that ``docs/operating.md`` lists: ``duplicate-timestamp``,
    ``too-old``, ``too-far-in-future``, ...; ``detail`` is the sentence for the sender.
    """

    reason: str
    detail: str
    labels: Labels
    time_ms: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an appended batch.

    ``samples`` counts what is now durable, exact duplicates included; so many of them are
    ``histograms``. ``exemplars`` counts those that were taken. ``refused`` counts the rest by
    reason; ``refusals`` shows the first ten of them.
    """

    samples: int
    refused: dict[str, int] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    histograms: int = 0
    exemplars: int = 0


class Sink(Protocol):
    """What a writer hands batches to."""

    def append(self, batch: SeriesBatch) -> "Future[Appended]":
        """Stores the batch; the future resolves once everything accepted is durable.

        It fails with OSError where the disk refused: then nothing of the batch counts as stored.
        """
        ...
