"""Logs: one line an event, in two formats, without secrets."""

import io
import json
import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.labels import Labels
from series.ports import Refusal
from server.access.keys import Role, create_key
from server.doors.refusal_log import MAX_KINDS, RefusalLog
from server.logs import EventFormatter, LogFormat, LogLevel, fields, set_up
from tests.server.conftest import Asker, up


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where events go; the loggers are as before afterwards."""
    loggers = [logging.getLogger(name) for name in ("", "o11y", "o11y.access")]
    before = [(one, one.level, one.handlers[:]) for one in loggers]
    yield io.StringIO()
    logging.captureWarnings(False)
    for one, level, handlers in before:
        one.setLevel(level)
        one.handlers[:] = handlers


def line(form: LogFormat, message: str, **about: str | int) -> str:
    record = logging.LogRecord("o11y.test", logging.WARNING, "file", 1, message, None, None)
    record.__dict__ |= fields(**about)
    record.created = 1_700_000_000.25
    return EventFormatter(form).format(record)


def test_text_is_pairs() -> None:
    """Words stand as they are, all else in quotes."""
    assert line(LogFormat.TEXT, "it broke", org="acme", count=3, detail='say "x" = 1') == (
        "time=2023-11-14T22:13:20.250Z level=warn logger=o11y.test "
        r'msg="it broke" org=acme count=3 detail="say \"x\" = 1"'
    )


def test_json_is_an_object() -> None:
    """The same fields, numbers as numbers."""
    assert json.loads(line(LogFormat.JSON, "it broke", door="otlp", count=3)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warn",
        "logger": "o11y.test",
        "msg": "it broke",
        "door": "otlp",
        "count": 3,
    }


@given(st.sampled_from(LogFormat), st.text(), st.text())
def test_an_event_is_one_line(form: LogFormat, message: str, detail: str) -> None:
    """Whatever text comes, nobody can write a second event with it."""
    text = line(form, message.replace("%", ""), detail=detail)
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("form", LogFormat)
def test_an_exception_is_part_of_its_event(form: LogFormat, stream: io.StringIO) -> None:
    """The trace is a field of the same line."""
    set_up(form, LogLevel.INFO, access=False, stream=stream)
    try:
        raise OSError("no space left")
    except OSError:
        logging.getLogger("o11y.test").exception("it broke")
    assert stream.getvalue().count("\n") == 1
    assert "no space left" in stream.getvalue() and "Traceback" in stream.getvalue()


@pytest.mark.parametrize("form", LogFormat)
def test_no_key_is_written(form: LogFormat) -> None:
    """Neither keys nor the credentials of headers and URLs."""
    key = "hk-" + secrets.token_urlsafe(32)
    texts = (f"got {key}", f"Authorization: Bearer {key[3:]}", "basic dXNlcjpwYXNzd29yZA==")
    for secret in texts:
        text = line(form, secret, detail=secret, url="http://user:secret@host/metrics")
        assert key[3:] not in text and "dXNl" not in text and "user:secret" not in text
        assert "***" in text and "host/metrics" in text


@pytest.mark.parametrize(("level", "written"), [(LogLevel.DEBUG, 4), (LogLevel.WARN, 2)])
def test_levels(level: LogLevel, written: int, stream: io.StringIO) -> None:
    """What is less important than the level is left out."""
    set_up(LogFormat.TEXT, level, access=False, stream=stream)
    log = logging.getLogger("o11y.test")
    for say in (log.debug, log.info, log.warning, log.error):
        say("said")
    logging.getLogger("library").info("chatter")
    assert stream.getvalue().count("\n") == written


def test_requests_are_logged_on_request(
    make_asker: Callable[..., Asker], tmp_path: Path, stream: io.StringIO
) -> None:
    """Off by default; else one event each with organization, route, code and sizes, and no key."""
    path = tmp_path / "keys"
    key = create_key(path, "acme", Role.ADMIN)
    asker = make_asker(keys_file=path)
    headers = {"authorization": f"Bearer {key}"}
    set_up(LogFormat.JSON, LogLevel.INFO, access=False, stream=stream)
    asker.values("up", headers)
    assert stream.getvalue() == ""
    set_up(LogFormat.JSON, LogLevel.WARN, access=True, stream=stream)
    asker.write(up("x", 1), headers=headers)
    asker.get(f"/api/v1/query?query=up&key={key}")
    written, refused = map(json.loads, stream.getvalue().splitlines())
    assert (written["org"], written["path"], written["code"]) == ("acme", "/api/v1/write", 204)
    assert written["received_bytes"] > 0 and written["sent_bytes"] == 0
    assert (refused["org"], refused["method"], refused["code"]) == ("", "GET", 401)
    assert key not in stream.getvalue()


def test_a_fault_names_organization_and_path(
    asker: Asker, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is a 500 for the asker and an event for the operator."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(asker.house.store, "tenant", broken)
    set_up(LogFormat.JSON, LogLevel.INFO, access=False, stream=stream)
    answer = asker.get("/api/v1/query", {"x-org-id": "acme"}, query="up")
    assert answer.status_code == 500 and "broken" not in answer.text
    event = json.loads(stream.getvalue())
    assert (event["level"], event["org"], event["path"]) == ("error", "acme", "/api/v1/query")
    assert "broken" in event["error"]


def refused_events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str, int]]:
    events = [record.__dict__["o11y_fields"] for record in caplog.records]
    return [(one["org"], one["door"], one["reason"], one["count"]) for one in events]


def test_refusals_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """For each organization, door and reason, with the first one as example."""
    now = 0.0
    told = RefusalLog(clock=lambda: now)
    series = Labels.of({"__name__": "up"})
    first = Refusal("too-old", "the sample is too old", series, 0)
    told.tell("acme", "otlp", {}, [])
    told.tell("acme", "otlp", {"too-old": 3, "other": 1}, [first])
    told.tell("acme", "otlp", {"too-old": 5}, [first])
    told.tell("zorg", "otlp", {"too-old": 7}, [first])
    assert refused_events(caplog) == [
        ("acme", "otlp", "too-old", 3),
        ("acme", "otlp", "other", 1),
        ("zorg", "otlp", "too-old", 7),
    ]
    about = caplog.records[0].__dict__["o11y_fields"]
    assert (about["detail"], about["series"]) == (first.detail, '{__name__="up"}')
    caplog.clear()
    now = 60.0
    told.tell("acme", "otlp", {"too-old": 5}, [first])
    assert refused_events(caplog) == [("acme", "otlp", "too-old", 5)]


def test_the_kinds_of_refusals_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """However many organizations there are, memory and log stay small."""
    told = RefusalLog(clock=lambda: 0.0)
    for number in range(2 * MAX_KINDS):
        told.tell(f"org-{number}", "otlp", {"too-old": 1}, [])
    assert len(caplog.records) == MAX_KINDS
