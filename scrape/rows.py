"""Rows: from the series of a scraped page to the series that are stored.

A target shows the same series in the same order at nearly every scrape. So what was worked out for
one page (labels of the target added, rules applied) is kept and used again as it is for the next
page with the same keys; only a page that differs is looked at row by row, and only rows that the
page before did not have are worked out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scrape.config import Job
from series.batch import STALE_NAN, SeriesBatch
from series.labels import METRIC_NAME, Labels, decode_key
from series.metadata import Metadata
from series.relabel import relabel_in_place
from wire.exposition_page import with_more

EXPORTED = "exported_"
_EMPTY_MARK = "\ue000"
_EMPTY_VALUE = re.compile(rb'=([ \t]*)""')

Numbers = NDArray[np.int64]


class PageRefused(Exception):
    """The whole page is refused, because of one of the job's limits or a series without a name."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def mark_empty_values(body: bytes) -> bytes:
    """A text page whose empty label values are marked, so that ``honor_labels`` sees them.

    A label that a page shows as empty keeps the target's label of that name away, and the key of
    a series cannot hold it.
    """
    return _EMPTY_VALUE.sub(rb'=\1"%b"' % _EMPTY_MARK.encode(), body) if b'""' in body else body


def unmark_metadata(metadata: dict[str, Metadata]) -> None:
    """Takes the marks out of help texts again."""
    for name, one in metadata.items():
        if _EMPTY_MARK in one.help:
            metadata[name] = Metadata(one.type, one.help.replace(_EMPTY_MARK, ""), one.unit)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of N series: ``arena[starts[i]:ends[i]]``."""

    arena: NDArray[np.uint8]
    starts: Numbers
    ends: Numbers

    @classmethod
    def of(cls, keys: Sequence[bytes]) -> "Keys":
        lengths = np.array([len(key) for key in keys], dtype=np.int64)
        ends = np.cumsum(lengths, dtype=np.int64)
        return cls(np.frombuffer(b"".join(keys), dtype=np.uint8), ends - lengths, ends)

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Mapped:
    """What becomes of the rows of one page.

    - ``kept``: int64[K], the page's rows that are stored; ``keys`` are those of the K.
    - ``tracked``: the keys whose end is marked when they are gone.
    - ``added``: how many of the K the page before did not have.
    """

    kept: Numbers
    keys: Keys
    tracked: frozenset[bytes]
    added: int


_NONE = Mapped(np.zeros(0, np.int64), Keys.of(()), frozenset(), 0)


class Rows:
    """What one target's pages are mapped with, and what the last page was mapped to."""

    def __init__(self, job: Job, labels: Labels) -> None:
        """*labels* are the target's."""
        self._job = job
        self._labels = labels.as_dict()
        self._known: dict[bytes, bytes | None] = {}
        self._batch: SeriesBatch | None = None
        self._explicit: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._last = _NONE

    def take_over(self, before: "Rows") -> None:
        """Continues the series of *before*, whose job or labels may differ."""
        tracked = before._last.tracked | self._last.tracked
        self._last = replace(self._last, tracked=tracked)

    @property
    def tracked(self) -> frozenset[bytes]:
        """The keys of the last page whose end is still to be marked."""
        return self._last.tracked

    def map(self, batch: SeriesBatch, explicit: NDArray[np.bool_]) -> Mapped:
        """Maps a page; *explicit* bool[S] tells the rows that name their own time.

        Raises PageRefused, which leaves what is tracked as it was.
        """
        if self._is_last(batch, explicit):
            if self._last.added:
                self._last = replace(self._last, added=0)
            return self._last
        mapped, known = self._map_rows(batch, explicit)
        self._batch, self._explicit, self._known, self._last = batch, explicit, known, mapped
        return mapped

    def forget(self) -> None:
        """After a scrape that failed: nothing is tracked, what is known stays known."""
        self._batch, self._last = None, _NONE

    def _is_last(self, batch: SeriesBatch, explicit: NDArray[np.bool_]) -> bool:
        """Whether the page has the same rows as the last one."""
        if self._batch is None or not same_keys(self._batch, batch):
            return False
        return self._job.track_timestamps_staleness or np.array_equal(explicit, self._explicit)

    def _map_rows(
        self, batch: SeriesBatch, explicit: NDArray[np.bool_]
    ) -> tuple[Mapped, dict[bytes, bytes | None]]:
        arena = batch.keys.tobytes()
        spans = zip(batch.key_starts.tolist(), batch.key_ends.tolist(), strict=True)
        limit = self._job.limits.samples
        before, known = self._known, dict[bytes, bytes | None]()
        kept: list[int] = []
        keys: list[bytes] = []
        added = 0
        for row, (start, end) in enumerate(spans):
            raw = arena[start:end]
            if raw in known:
                key = known[raw]
            elif raw in before:
                key = before[raw]
            else:
                key = self._key(raw)
                added += key is not None and (not limit or len(kept) < limit)
            known[raw] = key
            if key is not None:
                kept.append(row)
                keys.append(key)
        if limit and len(kept) > limit:
            self._known = known
            raise SampleLimit(len(kept), added)
        timed = explicit.tolist() if not self._job.track_timestamps_staleness else ()
        tracked = [k for k, row in zip(keys, kept, strict=True) if not timed or not timed[row]]
        rows = np.array(kept, dtype=np.int64)
        return Mapped(rows, Keys.of(keys), frozenset(tracked), added), known

    def _key(self, raw: bytes) -> bytes | None:
        """The key under which a shown series is stored; None where a rule drops it."""
        shown = dict(decode_key(raw))
        labels = self._honored(shown) if self._job.honor_labels else self._overruled(shown)
        if not relabel_in_place(labels, self._job.metric_relabel) or not labels:
            return None
        if METRIC_NAME not in labels:
            raise PageRefused("missing-metric-name", "missing metric name (__name__ label)")
        self._check_limits(labels)
        return Labels.of(labels).key

    def _honored(self, shown: dict[str, str]) -> dict[str, str]:
        """The page's labels win, even those it shows as empty."""
        merged = {**self._labels, **shown}
        return {name: value for name, value in merged.items() if value != _EMPTY_MARK}

    def _overruled(self, shown: dict[str, str]) -> dict[str, str]:
        """The target's labels win; the page's of the same name get a prefix."""
        conflicts = sorted(self._labels.keys() & shown.keys(), key=len)
        if not conflicts:
            return {**shown, **self._labels}
        merged = {**shown, **self._labels}
        for name in conflicts:
            renamed = EXPORTED + name
            while renamed in merged:
                renamed = EXPORTED + renamed
            merged[renamed] = shown[name]
        return merged

    def _check_limits(self, labels: dict[str, str]) -> None:
        limits = self._job.limits
        metric = labels[METRIC_NAME]
        if limits.labels and len(labels) > limits.labels:
            raise PageRefused(
                "label-limit",
                f'label_limit exceeded (metric: "{metric}", number of labels: {len(labels)},'
                f" limit: {limits.labels})",
            )
        if not limits.label_name_length and not limits.label_value_length:
            return
        for name, value in labels.items():
            for what, text, limit in (
                ("name", name, limits.label_name_length),
                ("value", value, limits.label_value_length),
            ):
                if limit and (size := len(text.encode())) > limit:
                    raise PageRefused(
                        f"label-{what}-length-limit",
                        f'label_{what}_length_limit exceeded (metric: "{metric}",'
                        f' label {what}: "{text[:50]}", length: {size}, limit: {limit})',
                    )


class SampleLimit(PageRefused):
    """More samples than the job's ``sample_limit`` are left after relabelling."""

    def __init__(self, kept: int, added: int) -> None:
        super().__init__("sample-limit", "sample limit exceeded")
        self.kept = kept
        self.added = added


def same_keys(a: SeriesBatch, b: SeriesBatch) -> bool:
    """Whether both have the same keys in the same places."""
    return (
        np.array_equal(a.keys, b.keys)
        and np.array_equal(a.key_ends, b.key_ends)
        and np.array_equal(a.key_starts, b.key_starts)
    )


@dataclass(frozen=True, slots=True)
class Stretch:
    """N samples, one a series; ``times_ms`` int64[N], or None for all at the scrape's time.

    ``more`` is a batch of the same N rows, where they have histograms, starts or exemplars.
    """

    keys: Keys
    values: NDArray[np.float64]
    times_ms: Numbers | None = None
    more: SeriesBatch | None = None


def stale(keys: frozenset[bytes]) -> Stretch:
    """The markers that end the series of *keys*."""
    ordered = sorted(keys)
    return Stretch(Keys.of(ordered), np.full(len(ordered), STALE_NAN))


def join(stretches: Sequence[Stretch], time_ms: int) -> SeriesBatch:
    """One batch of all *stretches*; samples without a time of their own share *time_ms*.

    At most one of them has ``more``.
    """
    count = sum(len(stretch.keys) for stretch in stretches)
    starts, ends, own_starts = [], [], []
    times = [np.array([time_ms], dtype=np.int64)]
    arena_bytes, time_count = 0, 1
    for stretch in stretches:
        starts.append(stretch.keys.starts + arena_bytes)
        ends.append(stretch.keys.ends + arena_bytes)
        arena_bytes += len(stretch.keys.arena)
        if stretch.times_ms is None:
            own_starts.append(np.zeros(len(stretch.keys), dtype=np.int64))
            continue
        own_starts.append(np.arange(len(stretch.keys), dtype=np.int64) + time_count)
        times.append(stretch.times_ms)
        time_count += len(stretch.times_ms)
    batch = SeriesBatch(
        values=np.concatenate([stretch.values for stretch in stretches]),
        times_ms=np.concatenate(times),
        offsets=np.arange(count + 1, dtype=np.int64),
        time_starts=np.concatenate(own_starts),
        keys=np.concatenate([stretch.keys.arena for stretch in stretches]),
        key_starts=np.concatenate(starts),
        key_ends=np.concatenate(ends),
    )
    first = 0
    for stretch in stretches:
        if stretch.more is not None:
            batch = with_more(batch, stretch.more, first)
        first += len(stretch.keys)
    return batch
