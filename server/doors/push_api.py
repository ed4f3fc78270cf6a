"""Pushes, as to a Pushgateway: ``PUT``, ``POST`` and ``DELETE`` below ``/metrics/job/...``.

Source of paths, methods and refusals: prometheus/pushgateway (README, handler/push.go).
"""

import asyncio
import base64
import binascii
import re
from dataclasses import dataclass, field, replace

import numpy as np

from series.batch import STALE_NAN, SeriesBatch
from series.labels import METRIC_NAME, Labels, quote
from series.metadata import Metadata
from server.call import Call
from server.doors.ingest import INLINE_BYTES, Delivery, Outcome, http_error, ingest
from server.doors.push_groups import GroupKey
from server.http import Response, text_error
from wire import compression
from wire.errors import Malformed
from wire.exposition import decode
from wire.exposition_page import single_samples, with_more

MAX_PUSH_BYTES = 32 << 20
"""How large a push may be, compressed or not."""

_SUFFIX = "@base64"
_ENCODINGS = ("", "identity", "gzip", "zstd", "snappy")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_PUSH_TIME = Metadata("gauge", "Last Unix time when changing this group succeeded.", "")


async def push(call: Call) -> Response:
    """``PUT`` replaces all of a group, ``POST`` the metrics in the body, ``DELETE`` ends it.

    All or nothing is read; 200 (202 for DELETE) once it is durable.
    """
    group = call.principal.tenant, _grouping(call.request.captures, call.request.path)
    replaces = call.request.method != "POST"
    pushed = _Pushed()
    if call.request.method != "DELETE":
        pushed = await _read(call, dict(group[1]))
    async with call.house.pushes.turn(group):
        outcome = await _store(call, group, pushed, replaces)
    return _answer(call, outcome)


async def _store(call: Call, group: GroupKey, pushed: "_Pushed", replaces: bool) -> Outcome:
    """Stores what was *pushed* to the *group*, and ends what it no longer holds."""
    groups = call.house.pushes
    time_ms = groups.next_time_ms(group, call.house.now_ms())
    if pushed.series:
        pushed.add_push_time(group, time_ms)
    names = None if replaces else frozenset(pushed.series.values())
    gone = groups.gone(group, pushed.series, names)
    try:
        outcome = await ingest(call.house, call.principal, "push", pushed.delivery(gone, time_ms))
    except OSError as error:
        raise http_error(error) from None
    groups.put(group, pushed.series, gone, time_ms)
    return outcome


@dataclass(slots=True)
class _Pushed:
    """A page below its grouping labels: key -> metric name, and the values beside.

    ``shown`` is the page as it was pushed, whose rows the series begin with.
    """

    series: dict[bytes, str] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    shown: SeriesBatch | None = None
    metadata: dict[str, Metadata] = field(default_factory=dict)
    refused: Delivery = field(default_factory=Delivery)

    def add_push_time(self, group: GroupKey, time_ms: int) -> None:
        name = "push_time_seconds"
        key = Labels([(METRIC_NAME, name), *group[1]]).key
        if key not in self.series:
            self.series[key] = name
            self.values.append(time_ms / 1000)
            self.metadata[name] = _PUSH_TIME

    def delivery(self, gone: list[bytes], time_ms: int) -> Delivery:
        """The samples, and stale markers for *gone*, all at *time_ms*."""
        keys = [*self.series, *gone]
        batch, _ = single_samples(
            keys, self.values + [0.0] * len(gone), [None] * len(keys), time_ms
        )
        batch.values[len(self.series) :] = STALE_NAN
        if self.shown is not None:
            batch = with_more(batch, _at(self.shown, time_ms), 0)
        told = self.refused
        return Delivery(batch, self.metadata, told.refused, told.refusals, told.skipped)


async def _read(call: Call, grouping: dict[str, str]) -> _Pushed:
    """The body below its *grouping* labels; HttpError 400 and 415."""
    encoding = call.request.header(b"content-encoding").lower()
    if encoding not in _ENCODINGS:
        raise text_error(415, f"content encoding {encoding!r} is not one of gzip, zstd and snappy")
    content_type = call.request.header(b"content-type")
    body = await call.request.body(MAX_PUSH_BYTES)
    arguments = body, encoding or "identity", content_type, grouping
    try:
        if len(body) <= INLINE_BYTES and encoding in ("", "identity"):
            return _decode(*arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(call.writes, _decode, *arguments)
    except Malformed as error:
        raise text_error(400, f"text format parsing error in {error}") from None


def _decode(body: bytes, encoding: str, content_type: str, grouping: dict[str, str]) -> _Pushed:
    if encoding != "identity":
        body = compression.decompress(body, encoding, MAX_PUSH_BYTES).tobytes()
    page = decode(body, content_type, 0)
    if page.explicit.any():
        raise Malformed("pushed metrics must not have timestamps")
    pushed = _Pushed({}, page.batch.values.tolist(), page.batch, page.metadata)
    pushed.refused = Delivery(refused=page.refused, refusals=page.refusals)
    for key in _keys(page.batch):
        labels = Labels.of(Labels.from_key(key).as_dict() | grouping)
        if (grouped := labels.key) in pushed.series:
            raise Malformed(f"series {labels} was pushed before with the same name and labels")
        pushed.series[grouped] = labels.metric
    return pushed


def _at(shown: SeriesBatch, time_ms: int) -> SeriesBatch:
    """The page with the time of its push for exemplars that tell none."""
    exemplars = shown.exemplars
    if exemplars is None:
        return shown
    times_ms = np.where(exemplars.times_ms == 0, time_ms, exemplars.times_ms)
    return replace(shown, exemplars=replace(exemplars, times_ms=times_ms))


def _keys(batch: SeriesBatch) -> list[bytes]:
    keys = batch.keys.tobytes()
    starts, ends = batch.key_starts.tolist(), batch.key_ends.tolist()
    return [keys[start:end] for start, end in zip(starts, ends, strict=True)]


def _answer(call: Call, outcome: Outcome) -> Response:
    if outcome.refused:
        return outcome.response()
    return Response(status=202 if call.request.method == "DELETE" else 200)


def _grouping(captures: dict[str, str], path: str) -> tuple[tuple[str, str], ...]:
    """The grouping labels of the *path*, sorted; HttpError 400."""
    first = "job" + (_SUFFIX if path.startswith("/metrics/job@") else "")
    rest = captures.get("labels", "")
    segments = [first, captures["job"], *(rest.split("/") if rest else ())]
    if len(segments) % 2:
        raise text_error(400, f"odd number of components in label string {quote(rest)}")
    labels: dict[str, str] = {}
    for name, value in zip(segments[::2], segments[1::2], strict=True):
        plain_name = name.removesuffix(_SUFFIX)
        if not _LABEL_NAME.fullmatch(plain_name) or plain_name.startswith("__"):
            raise text_error(400, f"improper label name {quote(plain_name)}")
        if plain_name in labels:
            raise text_error(400, f"label name {quote(plain_name)} stands twice in the path")
        labels[plain_name] = _from_base64(value) if name.endswith(_SUFFIX) else value
    if not labels["job"]:
        raise text_error(400, "job name is required")
    return tuple(sorted(labels.items()))


def _from_base64(text: str) -> str:
    """The text of a value in URL-safe base64, padded or not; HttpError 400."""
    bare = text.rstrip("=")
    try:
        if not re.fullmatch(r"[A-Za-z0-9_-]*", bare):
            raise ValueError("illegal base64 data")
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4)).decode()
    except (ValueError, binascii.Error) as error:
        raise text_error(400, f"invalid base64 encoding {quote(text)}: {error}") from None
