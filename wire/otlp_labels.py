"""Labels: what resources, scopes, metrics and data points of OTLP are called as series.

Everything here happens once for what is new; ``wire.otlp_translate`` remembers the outcome. The
rules are those of Prometheus' OTLP receiver.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from series.labels import METRIC_NAME
from series.metadata import Metadata
from wire import otlp_kernels as kernels
from wire.errors import Malformed
from wire.otlp_attributes import Pairs, attributes, plain_text, text
from wire.otlp_names import UnnamableError, label_name, metric_name, unit_name
from wire.otlp_options import Options, Strategy
from wire.otlp_rewrite import varint_bytes
from wire.otlp_walk_kernels import EXPONENTIAL, GAUGE, HISTOGRAM, SUM, SUMMARY
from wire.protobuf import texts, varint

TARGET_INFO = "target_info"

_SHORT, _MEDIUM = 200, 500
_cached_label_name = lru_cache(4096)(label_name)

_NAMESPACE, _NAME, _INSTANCE = "service.namespace", "service.name", "service.instance.id"
_IDENTIFYING = frozenset((_NAMESPACE, _NAME, _INSTANCE))

Label = tuple[bytes, bytes]
"""The UTF-8 name, and the whole label as it stands in a key."""


class RefusedError(Exception):
    """What was sent cannot be named as series: a reason and the sentence that tells why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Resource:
    """What a resource gives to its series.

    ``promoted`` labels give way to those of a point, ``identity`` (job and instance) does not;
    ``info_key`` is the key of its target_info, b"" where it has none.
    """

    promoted: dict[str, str]
    identity: dict[str, str]
    info_key: bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope below its resource: the labels that it gives to series."""

    resource: Resource
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric below its scope: its name and what is told of it."""

    scope: Scope
    name: str
    metadata: Metadata
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Shape:
    """Which series a point of some kind makes: a suffix and a further label each, in order."""

    suffixes: tuple[tuple[str, Label | None], ...]


def make_resource(message: bytes, options: Options) -> Resource:
    """The Resource of a ``Resource`` message; raises RefusedError."""
    pairs = _attributes(message, 1, "resource")
    found = dict(pairs)
    identity = {}
    if found.get(_NAME):
        namespace = found.get(_NAMESPACE)
        identity["job"] = f"{namespace}/{found[_NAME]}" if namespace else found[_NAME]
    if found.get(_INSTANCE):
        identity["instance"] = found[_INSTANCE]
    promoted: dict[str, str] = {}
    for name, value in sorted(pairs):
        if _is_promoted(name, options):
            promoted.setdefault(_label_name(name, options), value)
    return Resource(promoted, identity, _info_key(pairs, identity, options))


def make_scope(resource: Resource, message: bytes, schema_url: bytes, options: Options) -> Scope:
    """The Scope of an ``InstrumentationScope`` message; raises RefusedError."""
    labels: dict[str, str] = {}
    try:
        name, version = (text(one) for one in texts(message, 2))
        url = text(schema_url)
    except Malformed as error:
        raise RefusedError("invalid-attributes", f"instrumentation scope: {error}") from None
    if options.promote_scope_metadata and name:
        for key, value in _attributes(message, 3, f'instrumentation scope "{name}"'):
            labels[_label_name(f"otel_scope_{key}", options)] = value
        labels |= {
            "otel_scope_name": name,
            "otel_scope_version": version,
            "otel_scope_schema_url": url,
        }
    return Scope(resource, labels)


def make_metric(
    scope: Scope, identity: bytes, kind: int, monotonic: bool, options: Options
) -> Metric:
    """The Metric of the naming bytes of a ``Metric`` message; raises RefusedError."""
    told_of = _told_of if len(identity) <= _MEDIUM else _read_identity
    name, metadata = told_of(identity, kind, monotonic, options.translation_strategy)
    labels = {}
    if options.type_and_unit_labels:
        labels = {"__type__": metadata.type, "__unit__": metadata.unit}
    return Metric(scope, name, metadata, labels)


def _read_identity(
    identity: bytes, kind: int, monotonic: bool, strategy: Strategy
) -> tuple[str, Metadata]:
    """The name of a metric as its series have it, and what is told of it; raises RefusedError."""
    try:
        sent, description, unit = (text(one) for one in texts(identity, 3))
    except Malformed as error:
        raise RefusedError("invalid-metric-name", f"metric: {error}") from None
    counter = kind == SUM and monotonic
    try:
        name = metric_name(strategy, sent, unit, counter=counter, gauge=kind == GAUGE)
    except UnnamableError as error:
        raise RefusedError("invalid-metric-name", str(error)) from None
    words = {HISTOGRAM: "histogram", EXPONENTIAL: "histogram", SUMMARY: "summary"}
    word = words.get(kind, "counter" if counter else "gauge")
    return name, Metadata(word, description, unit_name(strategy, unit))


# Many resources have metrics of the same names, and points with the same attributes.
_told_of = lru_cache(4096)(_read_identity)


def make_shape(shape: int, limits: Iterable[float]) -> Shape:
    """The Shape of points of that shape (see ``otlp_kernels``); *limits* bounds or quantiles."""
    kind = shape % kernels.HAS_SUM
    total: list[tuple[str, Label | None]] = [("_sum", None)] if shape & kernels.HAS_SUM else []
    if kind in (kernels.NUMBER, kernels.NATIVE):
        return Shape((("", None),))
    if kind == kernels.SUMMARY:
        quantiles = [("", encode_label("quantile", plain_text(one))) for one in limits]
        return Shape((*quantiles, *total, ("_count", None)))
    buckets = [encode_label("le", text) for text in (*map(plain_text, limits), "+Inf")]
    return Shape((*(("_bucket", one) for one in buckets), *total, ("_count", None)))


def point_keys(metric: Metric, shape: Shape, message: bytes, options: Options) -> list[bytes]:
    """The keys of the series of a point; *message* is its attribute fields. Raises RefusedError."""
    try:
        labels = (_labels_of if len(message) <= _MEDIUM else _read_labels)(message, options)
    except Malformed as error:
        detail = f'attributes of metric "{metric.name}": {error}'
        raise RefusedError("invalid-attributes", detail) from None
    resource = metric.scope.resource
    labels = {
        **resource.promoted,
        **labels,
        **metric.scope.labels,
        **resource.identity,
        **metric.labels,
    }
    encoded = encode_labels(labels)
    return [_join(encoded, metric.name + suffix, label) for suffix, label in shape.suffixes]


def _read_labels(message: bytes, options: Options) -> dict[str, str]:
    """The labels that the attribute fields of a point make; raises Malformed and RefusedError."""
    number = varint(message, 0)[0] >> 3 if message else 0
    return _merged(attributes(message, number), options)


_labels_of = lru_cache(8192)(_read_labels)


def _merged(pairs: Pairs, options: Options) -> dict[str, str]:
    """Attributes as labels; the values of those that get the same name, by semicolons."""
    labels: dict[str, str] = {}
    for name, value in sorted(pairs, key=lambda pair: pair[0]):
        final = _label_name(name, options)
        labels[final] = f"{labels[final]};{value}" if final in labels else value
    return labels


def encode_labels(labels: dict[str, str]) -> list[Label]:
    """The labels with a value, in the order of their names, without the metric name."""
    return sorted(
        encode_label(name, value) for name, value in labels.items() if value and name != METRIC_NAME
    )


def encode_label(name: str, value: str) -> Label:
    """One label; see ``series.labels`` for the bytes."""
    short = len(name) + len(value) <= _SHORT
    return _cached_encoding(name, value) if short else _encode_label(name, value)


def _encode_label(name: str, value: str) -> Label:
    name_bytes, value_bytes = name.encode(), value.encode()
    inner = b"\x0a%b%b\x12%b%b" % (
        varint_bytes(len(name_bytes)),
        name_bytes,
        varint_bytes(len(value_bytes)),
        value_bytes,
    )
    return name_bytes, b"\x0a" + varint_bytes(len(inner)) + inner


_cached_encoding = lru_cache(16384)(_encode_label)


def _join(labels: Sequence[Label], name: str, further: Label | None) -> bytes:
    """The key of *labels* with a metric name and, replacing its namesake, a further label."""
    mine = [encode_label(METRIC_NAME, name)]
    if further is not None:
        mine.append(further)
        labels = [label for label in labels if label[0] != further[0]]
    return b"".join([encoded for _, encoded in sorted([*labels, *mine])])


def _attributes(message: bytes, number: int, whose: str) -> Pairs:
    try:
        return attributes(message, number) if message else []
    except Malformed as error:
        raise RefusedError("invalid-attributes", f"attributes of {whose}: {error}") from None


def _label_name(name: str, options: Options) -> str:
    strategy, sanitize = options.translation_strategy, options.label_name_underscore_sanitization
    name_of = _cached_label_name if len(name) <= _SHORT else label_name
    try:
        return name_of(strategy, name, sanitize_underscore=sanitize)
    except UnnamableError as error:
        raise RefusedError("invalid-label-name", str(error)) from None


def _is_promoted(name: str, options: Options) -> bool:
    if options.promote_all_resource_attributes:
        return name not in options.ignore_resource_attributes
    return name in options.promote_resource_attributes


def _info_key(pairs: Pairs, identity: dict[str, str], options: Options) -> bytes:
    """The key of target_info; b"" where nothing but the identity is known, or not even that."""
    if all(name in _IDENTIFYING for name, _ in pairs):
        return b""
    if not options.keep_identifying_resource_attributes:
        pairs = [pair for pair in pairs if pair[0] not in _IDENTIFYING]
    labels = _merged(pairs, options) | identity
    if not labels.get("job") and not labels.get("instance"):
        return b""
    return _join(encode_labels(labels), TARGET_INFO, None)
