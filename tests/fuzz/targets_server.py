"""What the server reads of requests besides their bodies, and its file of limits."""

from functools import cache
from urllib.parse import unquote

from scrape.document import ConfigError
from series.labels import Labels
from server.access.limits import UNSET, parse_limits
from server.api.params import MAX_TIME_MS, MIN_TIME_MS, _params
from server.doors.push_api import _grouping
from server.doors.push_groups import PushGroups
from server.http import HttpError
from server.routes import Router
from tests.fuzz.mutate import Shape
from tests.fuzz.target import Outcome, Target, magnitude, shape_of
from tests.fuzz.targets_asked import YAML_WORDS


class Refused(Exception):
    """An HttpError as its text."""


def _refused(error: HttpError) -> Refused:
    """Asserts that it blames the asker."""
    response = error.response
    assert 400 <= response.status < 500, response
    assert isinstance(response.body, bytes)
    response.body.decode()
    return Refused(f"{response.status} {response.body.decode()}")


def _query_params(data: bytes) -> Outcome:
    """The URL before a NUL, the body behind it; every parameter is read as each kind."""
    url, _, body = data.partition(b"\x00")
    try:
        params = _params(url, body.strip())
    except HttpError as error:
        raise _refused(error) from None
    told = []
    for name in ("time", "start", "step", "limit", "timeout"):
        for read in (params.time_ms, params.duration_ms, params.limit):
            try:
                number = read(name)
            except HttpError as error:
                told.append(shape_of(str(_refused(error)))[:60])
            else:
                assert isinstance(number, int | float)
                if read == params.time_ms:
                    assert MIN_TIME_MS <= number <= MAX_TIME_MS
                told.append(read.__name__)
    assert all(isinstance(value, str) for value in params.all("match[]"))
    return frozenset(told), magnitude(len(params.all("match[]")))


def _push_path(data: bytes) -> Outcome:
    """A path as the server hands it to a route, to the labels of a group."""
    path = "/metrics/" + unquote(data.decode("ascii", "ignore"))
    found = _router().find(path)
    if found is None:
        raise Refused("404")
    try:
        group = _grouping(found[1], path)
    except HttpError as error:
        raise _refused(error) from None
    labels = Labels(group)
    assert Labels.from_key(labels.key) == labels
    groups = PushGroups()
    groups.put(("", group), {labels.key: "up"}, [], 1)
    assert groups.gone(("", group), {}, None) == [labels.key]
    return magnitude(len(group)), "base64" in path, magnitude(len(labels.key))


@cache
def _router() -> Router:
    return Router()


def _limits(data: bytes) -> Outcome:
    config = parse_limits(data, "limits.yml")
    for limits in (config.defaults, *config.tenants.values()):
        assert all(value >= 0 for _, value in limits.numbers())
    chosen = zip(config.defaults.numbers(), UNSET.numbers(), strict=True)
    changed = frozenset(name for (name, value), (_, usual) in chosen if value != usual)
    return magnitude(len(config.tenants)), magnitude(len(config.scrape_tenants)), changed


_PARAM_WORDS = (
    b"&", b"=", b"%", b"%00", b"%ff", b"%u1234", b"+", b";", b"query=up", b"time=", b"start=",
    b"end=", b"step=", b"limit=", b"timeout=", b"match[]=", b"2024-01-01T00:00:00Z",
    b"0000-01-01T00:00:00Z", b"9999-12-31T23:59:60.999999999+23:59", b"1h", b"1y2w3d4h5m6s7ms",
    b"1e18", b"-1", b"NaN", b"Inf", b"{", b"}", b'"time":', b'"limit":', b"[", b"]", b"null",
    b"true", b"\x00", b"\xff", b"[" * 1100, b"18446744073709551616", b"1.7e308",
    b"-292273086-05-16T16:47:06Z", b'{"time":"', b"&" * 1001, b"9" * 5000, b"\xd9\xa3",
)  # fmt: skip
_PATH_WORDS = (
    b"job", b"job@base64", b"@base64", b"/", b"//", b"%2F", b"%ff", b"%00", b"%ED%A0%80", b"=",
    b"==", b"Lw", b"_w", b"instance", b"__name__", b"%C3%A4", b"-_", b"%25", b"%0A", b"__a",
)  # fmt: skip

TARGETS = (
    Target("query_params", _query_params, (Refused,), Shape.TEXT, _PARAM_WORDS),
    Target("push_path", _push_path, (Refused,), Shape.TEXT, _PATH_WORDS),
    Target("limits", _limits, (ConfigError,), Shape.TEXT, YAML_WORDS, bytes_per_byte=4000),
)
