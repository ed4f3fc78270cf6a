"""Parameters: merged, parsed and refused as Prometheus does."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from server.api.params import (
    INLINE_BYTES,
    MAX_JSON_BYTES,
    MAX_PARAMS,
    MAX_TIME_MS,
    MIN_TIME_MS,
    Params,
    parse_seconds,
    parse_time_ms,
    read_params,
)
from server.http import HttpError, Message, Request


def read(query: str = "", body: bytes = b"", kind: str = "", method: str = "POST") -> Params:
    """The parameters of a request whose body comes in pieces of three bytes."""
    pieces = [body[at : at + 3] for at in range(0, len(body), 3)] or [b""]
    messages = [
        {"type": "http.request", "body": piece, "more_body": at + 1 < len(pieces)}
        for at, piece in enumerate(pieces)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    scope = {
        "method": method,
        "query_string": query.encode(),
        "headers": [(b"content-type", kind.encode())],
    }
    return asyncio.run(read_params(Request(scope, receive)))


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    """Status and text of the refusal that *call* raises."""
    with pytest.raises(HttpError) as caught:
        call()
    body = caught.value.response.body
    assert isinstance(body, bytes)
    return caught.value.response.status, orjson.loads(body)["error"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", ""])
def test_a_form_is_read_whatever_its_type(kind: str) -> None:
    """The body is a form, its values stand before those of the URL."""
    params = read("query=url&match[]=a&step=300s", b"query=body&match%5B%5D=b", kind)
    assert params.get("query") == "body"
    assert params.all("match[]") == ["b", "a"]
    assert params.get("step") == "300s"


def test_an_empty_body_leaves_the_url() -> None:
    """What vmalert sends: everything in the URL, a JSON type, no body."""
    assert read("query=up&time=1", b"", "application/json").get("query") == "up"


def test_json_objects_are_read() -> None:
    """Texts, numbers, booleans and lists count as if they stood in a form."""
    body = b'{"query":"up","time":1.5,"limit":3,"match[]":["a","b"],"start":null,"stats":true}'
    params = read("limit=9", body, "application/json")
    assert [params.get(n) for n in ("query", "time", "limit", "stats")] == [
        "up",
        "1.5",
        "3",
        "true",
    ]
    assert params.all("match[]") == ["a", "b"]
    assert params.get("start") == ""


@pytest.mark.parametrize("body", [b'{"query":', b'{"query":{"a":1}}', b'{"query":[[1]]}', b"{]"])
def test_bad_json_is_bad_data(body: bytes) -> None:
    """JSON that is broken or too deep is refused."""
    assert refused(lambda: read("", body))[0] == 400


def test_the_body_of_a_get_does_not_count() -> None:
    """As in Go only the URL of a GET has parameters."""
    assert read("query=url", b"query=body", method="GET").get("query") == "url"


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("0", 0),
        ("1.5", 1500),
        ("-1.5", -1500),
        ("1e3", 1_000_000),
        (".0004", 0),
        ("1.0006", 1001),
        ("-0.0015", -2),
        ("1700000000.123", 1_700_000_000_123),
        ("2015-07-01T20:10:51Z", 1_435_781_451_000),
        ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
        ("2015-07-01T20:10:51.7819999+02:00", 1_435_774_251_781),
        ("1969-12-31T23:59:59-00:30", 1_799_000),
        ("-292273086-05-16T16:47:06Z", MIN_TIME_MS),
        ("292277025-08-18T07:12:54.999999999Z", MAX_TIME_MS),
        ("9e15", MAX_TIME_MS),
    ],
)
def test_times(text: str, time_ms: int) -> None:
    """Unix seconds and RFC 3339 give milliseconds."""
    assert parse_time_ms(text) == time_ms


@pytest.mark.parametrize(
    "text",
    ["", "abc", "1,5", "NaN", "inf", "1e30", "1_000", "2015-07-01", "2015-02-30T00:00:00Z", "١"],
)
def test_no_times(text: str) -> None:
    """Everything else is refused in Prometheus' words."""
    with pytest.raises(ValueError, match="to a valid timestamp"):
        parse_time_ms(text)


def test_refused_times_name_their_parameter() -> None:
    """Optional times are refused in two halves, required ones in one."""
    params = Params([("time", "abc")])
    assert refused(lambda: params.time_ms("time", 5)) == (
        400,
        "invalid parameter \"time\": invalid time value for 'time': "
        'cannot parse "abc" to a valid timestamp',
    )
    assert refused(lambda: params.time_ms("start")) == (
        400,
        'invalid parameter "start": cannot parse "" to a valid timestamp',
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("15", 15), ("0.5", 0.5), ("1h30m", 5400), ("300s", 300), ("-1", -1)]
)
def test_durations(text: str, seconds: float) -> None:
    """Seconds and Prometheus' literals."""
    assert parse_seconds(text) == seconds


def test_no_durations() -> None:
    """Everything else is refused, too long ones by name."""
    with pytest.raises(ValueError, match=r'^cannot parse "x" to a valid duration$'):
        parse_seconds("x")
    with pytest.raises(ValueError, match="It overflows int64"):
        parse_seconds("1e30")


@pytest.mark.parametrize(("text", "limit"), [("", 0), ("0", 0), ("7", 7)])
def test_limits(text: str, limit: int) -> None:
    """A missing limit is none."""
    assert Params([("limit", text)]).limit() == limit


def test_negative_limits_are_refused() -> None:
    """In Prometheus' words."""
    expected = 'invalid parameter "limit": limit must be non-negative'
    assert refused(lambda: Params([("limit", "-1")]).limit()) == (400, expected)
    assert refused(lambda: Params([("limit", "x")]).limit())[0] == 400
    assert refused(lambda: Params([("limit", "9" * 5000)]).limit())[0] == 400


def read_whole(query: str, body: bytes) -> Params:
    """The parameters of a POST whose body comes in one piece."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    scope = {"method": "POST", "query_string": query.encode(), "headers": []}
    return asyncio.run(read_params(Request(scope, receive)))


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("a&" * MAX_PARAMS, b""),
        ("", b"a=1&" * MAX_PARAMS),
        ("", b"&" * MAX_PARAMS),
        ("", b'{"a":[' + b"1," * MAX_PARAMS + b"1]}"),
        ("", b"{" + b",".join(b'"%d":1' % k for k in range(MAX_PARAMS + 1)) + b"}"),
        ("", b'{"a":"' + b"x" * MAX_JSON_BYTES + b'"}'),
    ],
)
def test_too_much_is_refused(query: str, body: bytes) -> None:
    """Too many parameters and too long JSON would keep the server busy."""
    status, text = refused(lambda: read_whole(query, body))
    assert status == 400
    assert "more than 1000 parameters" in text or "the JSON body exceeds" in text


def test_long_values_are_read() -> None:
    """A body that another thread takes apart gives the same."""
    assert read_whole("b=2", b"a=" + b"%41" * INLINE_BYTES).get("a") == "A" * INLINE_BYTES
    assert read_whole("b=2", b"a=" + b"%41" * INLINE_BYTES).get("b") == "2"


def test_urls_are_utf8() -> None:
    """Escaped or not; what is none is replaced."""
    assert read("query=%C3%A9").get("query") == "é"
    assert read("query=é").get("query") == "é"
    assert read("query=%ff").get("query") == "�"
