"""When the log is synced: before a write is acknowledged, a while later, or never by us."""

from series.durations import format_duration_ms, parse_duration_ms

NEVER_SYNC_MS = -1
"""In the place of an interval: the operating system decides when the log is durable."""


def parse_sync(text: str) -> int:
    """Of ``always`` (0), ``interval=1s`` and ``off`` how long a sync may wait, in milliseconds.

    ValueError for anything else.
    """
    if text in ("always", "off"):
        return 0 if text == "always" else NEVER_SYNC_MS
    name, _, interval = text.partition("=")
    interval_ms = parse_duration_ms(interval) if name == "interval" else 0
    if interval_ms <= 0:
        raise ValueError(f"{text!r} is not always, interval=DURATION or off")
    return interval_ms


def sync_text(sync_ms: int) -> str:
    """What ``parse_sync`` makes *sync_ms* of."""
    if sync_ms == NEVER_SYNC_MS:
        return "off"
    return f"interval={format_duration_ms(sync_ms)}" if sync_ms else "always"
