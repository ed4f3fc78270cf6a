"""Classic histograms of a page become native ones, with their bounds as custom buckets.

The rules are those of Prometheus (model/textparse/nhcbparse.go, util/convertnhcb): counts must not
fall from bucket to bucket and the last must be the count of all; a native histogram that the page
shows itself is preferred.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.exemplars import Exemplars
from series.histogram import CUSTOM_SCHEMA, Histograms, offsets_of
from series.labels import METRIC_NAME, Labels, decode_key
from series.metadata import Metadata
from wire import floats
from wire import histogram_dense_kernels as kernels
from wire.exposition_page import Scraped

Numbers = NDArray[np.int64]

_INFINITY = float("inf")


@dataclass(slots=True)
class _Classic:
    """One classic histogram: the rows of its buckets by bound, of its count and of its sum."""

    buckets: dict[float, int] = field(default_factory=dict)
    count: int = -1
    sum: int = -1


@dataclass(frozen=True, slots=True)
class Layout:
    """Which rows of a page make the H classic histograms that can be converted.

    - ``rows``: int64[R], of all their series; ``counts``, ``sums``: int64[H], -1 without one.
    - ``offsets``: int64[H + 1] into ``buckets`` int64[B] (rows) and ``bounds`` float64[B], rising;
      the last of each histogram is infinity, its row -1 where the page leaves it out.
    - ``keys``, ``key_ends``: the canonical keys of the H, end to end.
    """

    rows: Numbers
    counts: Numbers
    sums: Numbers
    offsets: Numbers
    buckets: Numbers
    bounds: NDArray[np.float64]
    keys: bytes
    key_ends: Numbers


def layout_of(batch: SeriesBatch, metadata: Mapping[str, Metadata]) -> Layout | None:
    """The classic histograms among the rows of *batch*; None where there is none."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], _Classic] = {}
    native: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    keys = batch.keys.tobytes()
    spans = zip(batch.key_starts.tolist(), batch.key_ends.tolist(), strict=True)
    for row, (start, end) in enumerate(spans):
        labels = dict(decode_key(keys[start:end]))
        name = labels.pop(METRIC_NAME)
        if batch.histogram_ids is not None and batch.histogram_ids[row] >= 0:
            native.add((name, frozenset(labels.items())))
            continue
        family, part = _part_of(metadata, name)
        bound = _bound(labels.pop("le", "")) if part == "_bucket" else 0.0
        if not part or bound is None:
            continue
        one = found.setdefault((family, frozenset(labels.items())), _Classic())
        if part == "_bucket":
            one.buckets[bound] = row
        elif part == "_count":
            one.count = row
        else:
            one.sum = row
    chosen = {metric: one for metric, one in found.items() if one.buckets and metric not in native}
    return _laid_out(chosen) if chosen else None


def _part_of(metadata: Mapping[str, Metadata], name: str) -> tuple[str, str]:
    """The family of a classic histogram and the suffix of one of its series, or '' for both."""
    for suffix in ("_bucket", "_count", "_sum"):
        if name.endswith(suffix):
            family = name.removesuffix(suffix)
            described = metadata.get(family)
            if described is not None and described.type == "histogram":
                return family, suffix
    return "", ""


def _bound(text: str) -> float | None:
    try:
        bound = floats.parse(text)
    except ValueError:
        return None
    return None if np.isnan(bound) or bound == -_INFINITY else bound


def _laid_out(
    found: Mapping[tuple[str, frozenset[tuple[str, str]]], _Classic],
) -> Layout:
    rows: list[int] = []
    buckets: list[int] = []
    bounds: list[float] = []
    lengths: list[int] = []
    keys: list[bytes] = []
    for (family, pairs), one in found.items():
        ordered = sorted({_INFINITY: -1, **one.buckets}.items())
        bounds += [bound for bound, _ in ordered]
        buckets += [row for _, row in ordered]
        lengths.append(len(ordered))
        rows += [row for row in (*one.buckets.values(), one.count, one.sum) if row >= 0]
        keys.append(Labels([(METRIC_NAME, family), *pairs]).key)
    return Layout(
        np.array(sorted(rows), dtype=np.int64),
        np.array([one.count for one in found.values()], dtype=np.int64),
        np.array([one.sum for one in found.values()], dtype=np.int64),
        offsets_of(lengths),
        np.array(buckets, dtype=np.int64),
        np.array(bounds),
        b"".join(keys),
        np.cumsum([len(key) for key in keys], dtype=np.int64),
    )


def convert(page: Scraped, layout: Layout, *, keep_classic: bool) -> None:
    """Adds the native histograms of *layout* to the page, for whose batch it was made.

    Unless with *keep_classic* the series that they are made of go. Histograms whose counts do not
    fit together stay as they are.
    """
    batch = page.batch
    counted, sound = _counts(batch.values, layout)
    if not sound.any():
        return
    representatives = layout.buckets[layout.offsets[:-1]][sound]
    made = _histograms(batch.values, layout, counted, sound)
    ids = np.full(batch.sample_count, -1) if batch.histogram_ids is None else batch.histogram_ids
    before = Histograms.empty() if batch.histograms is None else batch.histograms
    starts = np.concatenate([np.zeros(1, dtype=np.int64), layout.key_ends])[:-1]
    count = len(representatives)
    starts_ms = batch.starts_ms
    wider = replace(
        batch,
        values=np.concatenate([batch.values, np.zeros(count)]),
        offsets=np.arange(batch.series_count + count + 1),
        time_starts=np.concatenate([batch.time_starts, batch.time_starts[representatives]]),
        keys=np.concatenate([batch.keys, np.frombuffer(layout.keys, dtype=np.uint8)]),
        key_starts=np.concatenate([batch.key_starts, starts[sound] + len(batch.keys)]),
        key_ends=np.concatenate([batch.key_ends, layout.key_ends[sound] + len(batch.keys)]),
        histogram_ids=np.concatenate([ids, np.arange(count) + before.size]),
        histograms=Histograms.concat([before, made]),
        starts_ms=None
        if starts_ms is None
        else np.concatenate([starts_ms, starts_ms[representatives]]),
        exemplars=_with_exemplars(batch, layout, sound),
    )
    explicit = np.concatenate([page.explicit, page.explicit[representatives]])
    kept = np.ones(wider.series_count, dtype=np.bool_)
    if not keep_classic:
        kept[layout.rows] = False
        spared = np.repeat(~sound, np.diff(layout.offsets))
        for rows in (layout.buckets[spared], layout.counts[~sound], layout.sums[~sound]):
            kept[rows[rows >= 0]] = True
    page.batch, page.explicit = wider.take(kept), explicit[kept]


def _with_exemplars(
    batch: SeriesBatch, layout: Layout, sound: NDArray[np.bool_]
) -> Exemplars | None:
    """The exemplars of the batch, those of buckets also with the histogram made of them."""
    exemplars = batch.exemplars
    if exemplars is None:
        return None
    made = np.full(batch.series_count, -1, dtype=np.int64)
    numbers = np.where(sound, batch.series_count + np.cumsum(sound) - 1, -1)
    shown = layout.buckets >= 0
    made[layout.buckets[shown]] = np.repeat(numbers, np.diff(layout.offsets))[shown]
    copied = np.flatnonzero(made[exemplars.rows] >= 0)
    keys = [exemplars.key(at) for at in copied.tolist()]
    total = int(exemplars.key_ends[-1]) if exemplars.size else 0
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64) + total
    return Exemplars(
        np.concatenate([exemplars.rows, made[exemplars.rows[copied]]]),
        np.concatenate([exemplars.times_ms, exemplars.times_ms[copied]]),
        np.concatenate([exemplars.values, exemplars.values[copied]]),
        np.concatenate([exemplars.keys, np.frombuffer(b"".join(keys), dtype=np.uint8)]),
        np.concatenate([exemplars.key_ends, ends]),
    )


def _counts(
    values: NDArray[np.float64], layout: Layout
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The counts of each bucket alone float64[B], and which histograms are sound bool[H]."""
    last = layout.offsets[1:] - 1
    cumulative = np.where(layout.buckets >= 0, values[layout.buckets], 0.0)
    # Without a bucket of all, the count of all stands for it; without that, the last bucket.
    absent = layout.buckets[last] < 0
    total = np.where(layout.counts >= 0, values[layout.counts], cumulative[last - absent])
    cumulative[last[absent]] = total[absent]
    counted = np.diff(cumulative, prepend=0.0)
    counted[layout.offsets[:-1]] = cumulative[layout.offsets[:-1]]
    falls = np.add.reduceat((~(counted >= 0)).astype(np.int64), layout.offsets[:-1])
    without_count = layout.counts < 0
    sound: NDArray[np.bool_] = (falls == 0) & (without_count | (cumulative[last] == total))
    return counted, sound & np.isfinite(cumulative[last])


def _histograms(
    values: NDArray[np.float64],
    layout: Layout,
    counted: NDArray[np.float64],
    sound: NDArray[np.bool_],
) -> Histograms:
    """The native histograms that are *sound*."""
    count = int(np.count_nonzero(sound))
    begins, ends = layout.offsets[:-1][sound], layout.offsets[1:][sound]
    offsets = np.empty(count + 1, dtype=np.int64)
    positions = np.empty(len(counted), dtype=np.int32)
    bucket_counts = np.empty(len(counted))
    used = kernels.place(counted, begins, ends, offsets, positions, bucket_counts)
    finite = np.repeat(sound, np.diff(layout.offsets)) & (layout.bounds < _INFINITY)
    rows_of_sums = layout.sums[sound]
    return Histograms(
        schemas=np.full(count, CUSTOM_SCHEMA, dtype=np.int32),
        hints=np.zeros(count, dtype=np.uint8),
        counts=np.add.reduceat(counted, layout.offsets[:-1])[sound],
        sums=np.where(rows_of_sums >= 0, values[rows_of_sums], 0.0),
        zero_thresholds=np.zeros(count),
        zero_counts=np.zeros(count),
        offsets=offsets,
        positions=positions[:used],
        bucket_counts=bucket_counts[:used],
        bound_offsets=offsets_of(ends - begins - 1),
        bounds=layout.bounds[finite],
    )
