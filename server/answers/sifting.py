"""Sifting: which series of a delivery a tenant may store, before the storage sees them.

In order: what the key may write, the pairs of Prometheus servers, the sizes of labels, the length
of the request. Each step takes whole series out and names them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import METRIC_NAME, Labels
from series.matcher import Matcher
from series.metadata import Metadata
from series.ports import Refusal
from server.access.limits import Limits
from server.answers import label_kernels as kernels
from server.doors.ha import Elections, Verdict

MAX_SHOWN = 10
MAX_SHOWN_NAME = 200

KEY_SCOPE = "key-scope"
MAX_LABEL_NAMES = "max-label-names-per-series"
MAX_INFO_LABEL_NAMES = "max-label-names-per-info-series"
NAME_TOO_LONG = "label-name-too-long"
VALUE_TOO_LONG = "label-value-too-long"
TOO_MANY_CLUSTERS = "tenant-too-many-ha-clusters"
HA_DUPLICATE = "ha-deduplicated"
START_TIMESTAMPS = "start-timestamps"

_TOO_MANY_INFO_NAMES = kernels.VALUE_TOO_LONG + 1

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(slots=True)
class Sifted:
    """A batch on its way, and what was taken out of it; see ``server.doors.ingest.Delivery``."""

    batch: SeriesBatch
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def refuse(self, rows: Mask, reason: str, detail: Callable[[int], str]) -> None:
        """Takes *rows* (bool[S]) out; *detail* gives the sentence for one of them."""
        lengths = np.diff(self.batch.offsets)
        self.refused[reason] += int(lengths[rows].sum())
        for row in np.flatnonzero(rows)[: MAX_SHOWN - len(self.refusals)].tolist():
            times_ms = self.batch.row_times_ms(row)
            labels = shown_labels(self.batch.key(row))
            time_ms = int(times_ms[0]) if len(times_ms) else 0
            self.refusals.append(Refusal(reason, detail(row), labels, time_ms))
        self.batch = self.batch.take(~rows)

    def refuse_all(self, reason: str, detail: str) -> None:
        """Takes out whatever is left."""
        self.refused[reason] += self.batch.sample_count
        self.refusals.insert(0, Refusal(reason, detail, Labels(), 0))
        self.batch = self.batch.take(np.zeros(self.batch.series_count, dtype=np.bool_))


def shown_labels(key: bytes) -> Labels:
    """The labels of *key* for a message, long texts cut."""
    cut = {_cut(name): _cut(value) for name, value in Labels.from_key(key)}
    return Labels.of(dict(list(cut.items())[:64]))


def drop_starts(sifted: Sifted) -> None:
    """Takes the start timestamps off, which are then counted as skipped."""
    starts_ms = sifted.batch.starts_ms
    if starts_ms is not None:
        sifted.skipped[START_TIMESTAMPS] += int(np.count_nonzero(starts_ms))
        sifted.batch = replace(sifted.batch, starts_ms=None)


def keep_in_scope(sifted: Sifted, matchers: tuple[Matcher, ...]) -> None:
    """Refuses the series that one of *matchers* does not match."""
    for matcher in matchers:
        found, texts = _label(sifted.batch, matcher.name)
        if not texts:
            continue
        allowed = np.fromiter((matcher.matches(text) for text in texts), np.bool_, len(texts))
        outside = ~allowed[found[:, 3]]
        if outside.any():
            text = f"the key may only write {matcher}"
            sifted.refuse(outside, KEY_SCOPE, lambda row: text)  # noqa: B023


def deduplicate(sifted: Sifted, tenant: str, limits: Limits, elections: Elections) -> None:
    """Skips the series of replicas that are not elected; the others lose their replica label."""
    clusters, cluster_texts = _label(sifted.batch, limits.ha_cluster_label)
    replicas, replica_texts = _label(sifted.batch, limits.ha_replica_label)
    if not any(cluster_texts) or not any(replica_texts):
        return
    pairs = clusters[:, 3] * len(replica_texts) + replicas[:, 3]
    skipped = np.zeros(len(pairs), dtype=np.bool_)
    surplus = np.zeros(len(pairs), dtype=np.bool_)
    cut = np.zeros(len(pairs), dtype=np.bool_)
    timeout_seconds = limits.ha_tracker_failover_timeout / 1000
    verdicts: dict[tuple[str, str], Verdict] = {}
    for pair in np.unique(pairs).tolist():
        cluster, replica = divmod(pair, len(replica_texts))
        names = cluster_texts[cluster], replica_texts[replica]
        if not all(names):
            continue
        if names not in verdicts:
            verdicts[names] = elections.hear(
                tenant, *names, timeout_seconds, limits.ha_max_clusters
            )
        rows = pairs == pair
        cut |= rows
        skipped |= rows & (verdicts[names] is Verdict.OTHER)
        surplus |= rows & (verdicts[names] is Verdict.TOO_MANY_CLUSTERS)
    lengths = np.diff(sifted.batch.offsets)
    sifted.skipped[HA_DUPLICATE] += int(lengths[skipped].sum())
    replicas[~cut, 0] = replicas[~cut, 2] = -1
    sifted.batch = _without_label(sifted.batch, replicas)
    if surplus.any():
        text = (
            f"err-{TOO_MANY_CLUSTERS}: tenant {tenant} sends from more than "
            f"{limits.ha_max_clusters} clusters (ha_max_clusters)"
        )
        sifted.refuse(surplus, TOO_MANY_CLUSTERS, lambda row: text)
        skipped = skipped[~surplus]
    if skipped.any():
        sifted.batch = sifted.batch.take(~skipped)


def check_labels(sifted: Sifted, limits: Limits) -> None:
    """Refuses series with too many labels, or too long ones.

    A decoder is only told of known series that are within the limits, see ``known_series``.
    """
    if sifted.batch.known is not None and sifted.batch.known.are_all:
        return
    verdicts = _judged(sifted.batch, limits, limits.max_label_names_per_series)
    if not verdicts.any():
        return
    if limits.max_label_names_per_info_series > limits.max_label_names_per_series:
        _judge_infos(sifted.batch, limits, verdicts)
    for verdict, reason, detail in (
        (kernels.TOO_MANY_NAMES, MAX_LABEL_NAMES, _too_many_names),
        (_TOO_MANY_INFO_NAMES, MAX_INFO_LABEL_NAMES, _too_many_info_names),
        (kernels.NAME_TOO_LONG, NAME_TOO_LONG, _name_too_long),
        (kernels.VALUE_TOO_LONG, VALUE_TOO_LONG, _value_too_long),
    ):
        rows = verdicts == verdict
        if rows.any():
            before = sifted.batch
            sifted.refuse(rows, reason, lambda row: detail(before.key(row), limits))  # noqa: B023
            verdicts = verdicts[~rows]


def _judged(batch: SeriesBatch, limits: Limits, most_names: int) -> NDArray[np.uint8]:
    """uint8[S]: the verdict of ``kernels.judge`` on each series, of up to *most_names* labels."""
    verdicts = np.empty(batch.series_count, dtype=np.uint8)
    kernels.judge(
        batch.keys, batch.key_starts, batch.key_ends,
        most_names or 2**62, limits.max_label_name_length or 2**62,
        limits.max_label_value_length or 2**62, verdicts,
    )  # fmt: skip
    return verdicts


def _judge_infos(batch: SeriesBatch, limits: Limits, verdicts: NDArray[np.uint8]) -> None:
    """Judges series of info metrics with too many labels by the limit of their own."""
    many = np.flatnonzero(verdicts == kernels.TOO_MANY_NAMES)
    chosen = np.zeros(batch.series_count, dtype=np.bool_)
    chosen[many] = True
    found, names = _label(batch.take(chosen), METRIC_NAME)
    is_info = np.array([name.endswith("_info") for name in names], dtype=np.bool_)
    infos = many[is_info[found[:, 3]]]
    if len(infos):
        chosen[:] = False
        chosen[infos] = True
        again = _judged(batch.take(chosen), limits, limits.max_label_names_per_info_series)
        again[again == kernels.TOO_MANY_NAMES] = _TOO_MANY_INFO_NAMES
        verdicts[infos] = again


def check_metadata(
    told: Mapping[str, Metadata], known: dict[str, Metadata], limits: Limits
) -> tuple[dict[str, Metadata], int]:
    """What may be kept of the metadata that was *told* where some is *known*; how many may not."""
    longest = limits.max_metadata_length or 2**62
    room = (limits.max_global_metadata_per_user or 2**62) - len(known)
    kept = {}
    for name, one in told.items():
        if max(len(name), len(one.help), len(one.unit)) > longest:
            continue
        if name not in known:
            if room <= 0:
                continue
            room -= 1
        kept[name] = one
    return kept, len(told) - len(kept)


def _too_many_names(key: bytes, limits: Limits) -> str:
    return (
        f"err-{MAX_LABEL_NAMES}: received a series whose number of labels exceeds the limit "
        f"(actual: {len(Labels.from_key(key))}, limit: {limits.max_label_names_per_series})"
    )


def _too_many_info_names(key: bytes, limits: Limits) -> str:
    return (
        f"err-{MAX_INFO_LABEL_NAMES}: received an info series whose number of labels exceeds the "
        f"limit (actual: {len(Labels.from_key(key))}, "
        f"limit: {limits.max_label_names_per_info_series})"
    )


def _name_too_long(key: bytes, limits: Limits) -> str:
    name = next(
        n for n, _ in Labels.from_key(key) if len(n.encode()) > limits.max_label_name_length
    )
    return (
        f"err-{NAME_TOO_LONG}: received a series whose label name length exceeds the limit "
        f"(label: '{_cut(name)}', actual: {len(name.encode())}, "
        f"limit: {limits.max_label_name_length})"
    )


def _value_too_long(key: bytes, limits: Limits) -> str:
    limit = limits.max_label_value_length
    name, value = next((n, v) for n, v in Labels.from_key(key) if len(v.encode()) > limit)
    return (
        f"err-{VALUE_TOO_LONG}: received a series whose label value length exceeds the limit "
        f"(label: '{_cut(name)}', actual: {len(value.encode())}, limit: {limit})"
    )


def _label(batch: SeriesBatch, name: str) -> tuple[Numbers, list[str]]:
    """Label *name* of every row: what ``kernels.find_label`` finds, and the text of every run."""
    found = np.empty((batch.series_count, 4), dtype=np.int64)
    wanted = np.frombuffer(bytearray(name.encode()), dtype=np.uint8)
    kernels.find_label(batch.keys, batch.key_starts, batch.key_ends, wanted, found)
    _, first = np.unique(found[:, 3], return_index=True)
    spans = found[first, 1:3].tolist()
    return found, [batch.keys[a:b].tobytes().decode() if a >= 0 else "" for a, b in spans]


def _without_label(batch: SeriesBatch, found: Numbers) -> SeriesBatch:
    """The batch without the labels that were *found*."""
    keys = np.empty(int((batch.key_ends - batch.key_starts).sum()), dtype=np.uint8)
    ends = np.empty(batch.series_count, dtype=np.int64)
    kernels.cut_label(batch.keys, batch.key_starts, batch.key_ends, found, keys, ends)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends])[:-1]
    return replace(batch, keys=keys, key_starts=starts, key_ends=ends, known=None)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_NAME else text[:MAX_SHOWN_NAME] + "..."
