"""Shapes: a question that differs from an earlier one in nothing but its times is not taken apart
again. Dashboards ask so.
"""

from typing import Any

from server.heads import Head
from server.http import HEAD, Scope

MAX_SHAPES = 1024
"""So many are remembered, ..."""
MAX_SHAPE_BYTES = 4096
"""... none of them longer than this."""

Key = tuple[Head, str, tuple[bytes, ...], bytes]

Shape = tuple[Key, list[str]]
"""A query string without some values, and these."""


_AMPERSAND = ord("&")


class Shapes:
    """What questions of a shape ask besides their times. For the event loop only."""

    def __init__(self) -> None:
        self._known: dict[Key, Any] = {}

    def get(self, key: Key) -> Any:
        """What was remembered; None where there is nothing."""
        return self._known.get(key)

    def put(self, key: Key, asked: Any) -> None:
        if len(self._known) >= MAX_SHAPES:
            del self._known[next(iter(self._known))]
        self._known[key] = asked


def shape_of(scope: Scope, names: tuple[bytes, ...]) -> Shape | None:
    """The shape of the query string of *scope*, without the values of *names*.

    A name is that of a parameter with its ``=``. None where one is not there or may be part of
    something else, where the rest is long, and where the head is none that is known.
    """
    head: Head | None = scope.get(HEAD)
    if head is None:
        return None
    query: bytes = scope["query_string"]
    values = []
    for name in names:
        at = query.find(name)
        if at < 0 or (at and query[at - 1] != _AMPERSAND):
            return None
        start = at + len(name)
        end = query.find(b"&", start)
        if end < 0:
            end = len(query)
        values.append(query[start:end].decode("latin-1"))
        query = query[:start] + query[end:]
    if len(query) > MAX_SHAPE_BYTES:
        return None
    return (head, scope["path"], names, query), values
