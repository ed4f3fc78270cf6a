"""Durations as Prometheus writes them: ``1h30m``, ``500ms``, ``15d``.

A literal names its units from the longest to the shortest, each once; a year is 365 days and a
week 7 (promql/parser/durations of Prometheus 3.14). All durations are integers of milliseconds.
"""

import re

_UNITS = (
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
)
_PATTERN = re.compile("".join(rf"(?:([0-9]+){unit})?" for unit, _ in _UNITS))
MAX_DURATION_MS = (2**63 - 1) // 1_000_000


def parse_duration_ms(text: str) -> int:
    """The milliseconds that *text* names; ``0`` needs no unit.

    Raises ValueError in Prometheus' words for anything else and for more than 2**63 - 1 ns.
    """
    if text == "0":
        return 0
    if text == "":
        raise ValueError("empty duration string")
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f'not a valid duration string: "{text}"')
    total_ms = sum(
        int(digits) * unit_ms
        for digits, (_, unit_ms) in zip(match.groups(), _UNITS, strict=True)
        if digits
    )
    if total_ms > MAX_DURATION_MS:
        raise ValueError("duration out of range")
    return total_ms


def format_duration_ms(duration_ms: int) -> str:
    """The shortest literal for *duration_ms* >= 0, as Go's model.Duration prints it.

    Years and weeks are used only when they divide the whole duration: 8 days print as ``8d``.
    """
    if duration_ms == 0:
        return "0s"
    parts = []
    rest_ms = duration_ms
    for unit, unit_ms in _UNITS:
        whole_only = unit in ("y", "w")
        if rest_ms < unit_ms or (whole_only and rest_ms % unit_ms):
            continue
        parts.append(f"{rest_ms // unit_ms}{unit}")
        rest_ms %= unit_ms
    return "".join(parts)
