"""Logs: one event a line on stderr, as ``key=value`` pairs or JSON, and never a secret.

An event is an ordinary record of ``logging`` with the fields that ``fields`` gives it::

    log.warning("samples refused", extra=fields(org="acme", door="remote_write"))
    time=2026-11-22T01:36:02.123Z level=warn logger=o11y.ingest msg="samples refused" org=acme ...
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TextIO

Event = dict[str, str | int | float | bool]

_FIELDS = "o11y_fields"
_LEVELS = {"WARNING": "warn", "CRITICAL": "error"}
_SECRETS = (
    (re.compile(r"hk-[A-Za-z0-9_-]{8,}"), "hk-***"),
    (re.compile(r"\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), r"\1\2***"),
    (re.compile(r"://[^/\s@]+@"), "://***@"),
)
"""What keys, credentials of headers and of URLs look like, and what stands for them."""
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What JSON leaves as it is though some take it for an end of line, or cannot write it."""
_BARE = re.compile(r"[^\s\"=\x00-\x1f\x7f-\x9f\ud800-\udfff\\]+")


class LogFormat(Enum):
    """How an event is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(Enum):
    """The least important events that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


def fields(**values: str | int | float | bool) -> dict[str, Any]:
    """The ``extra`` of a logging call: *values* stand beside the message.

    Common names: ``org``, ``door``, ``path``, ``method``, ``code``, ``reason``, ``seconds``.
    """
    return {_FIELDS: values}


def set_up(form: LogFormat, level: LogLevel, *, access: bool, stream: TextIO | None = None) -> None:
    """Sends all events to *stream* (stderr); those of ``o11y.access`` only with *access*.

    Libraries are heard from ``warn`` on.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(EventFormatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("o11y").setLevel(level.name)
    logging.getLogger("o11y.access").setLevel(logging.INFO if access else logging.CRITICAL)
    logging.captureWarnings(True)


class EventFormatter(logging.Formatter):
    """Writes a record as one line."""

    def __init__(self, form: LogFormat) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        event = {name: _without_secrets(value) for name, value in self._event(record).items()}
        if self._form is LogFormat.JSON:
            return _json(event)
        return " ".join(f"{name}={_text(value)}" for name, value in event.items())

    def _event(self, record: logging.LogRecord) -> Event:
        time = datetime.fromtimestamp(record.created, UTC)
        event: Event = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": _LEVELS.get(record.levelname, record.levelname.lower()),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        event |= getattr(record, _FIELDS, {})
        if record.exc_info:
            event["error"] = self.formatException(record.exc_info)
        return event


def _without_secrets(value: str | int | float | bool) -> str | int | float | bool:
    if isinstance(value, str):
        for pattern, stand_in in _SECRETS:
            value = pattern.sub(stand_in, value)
    return value


def _text(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if _BARE.fullmatch(text) else _json(text)


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
