"""Notes: the annotations of an answer, in Prometheus' words.

A note points at a place of the query and prints as ``PromQL info: text (1:5)``. Equal notes count
once, however many series or steps gave rise to them.
"""

from dataclasses import dataclass, field

from promql.ast import Span

MAX_NOTES = 10


class ExecutionError(Exception):
    """The evaluation cannot go on; the text is what the asker reads (HTTP 422, execution)."""


@dataclass(slots=True)
class Notes:
    """Collects the warnings and infos of one query, in order of appearance."""

    query: str
    warnings: dict[str, None] = field(default_factory=dict)
    infos: dict[str, None] = field(default_factory=dict)

    def warn(self, text: str, span: Span) -> None:
        self.warnings[f"PromQL warning: {text} ({position(self.query, span.start)})"] = None

    def info(self, text: str, span: Span) -> None:
        self.infos[f"PromQL info: {text} ({position(self.query, span.start)})"] = None

    def join(self, later: "Notes") -> None:
        """Adds those of *later*, a part of the same query."""
        self.warnings.update(later.warnings)
        self.infos.update(later.infos)


def limited(notes: dict[str, None], kind: str) -> list[str]:
    """At most ten of *notes*, the rest as one line; *kind* is ``warning`` or ``info``."""
    texts = list(notes)
    if len(texts) <= MAX_NOTES:
        return texts
    more = len(texts) - MAX_NOTES
    return [*texts[:MAX_NOTES], f"{more} more {kind} annotations omitted"]


def position(query: str, at: int) -> str:
    """``line:column`` of the character at *at*, both from 1, the column in UTF-8 bytes."""
    before = query[:at]
    line_start = before.rfind("\n") + 1
    return f"{before.count(chr(10)) + 1}:{len(before[line_start:].encode()) + 1}"
