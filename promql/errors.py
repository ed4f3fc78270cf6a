"""ParseError: a query that is not PromQL, in Prometheus' words."""

from promql.notes import position


class Rejected(Exception):
    """A complaint about the character at *at* of a query whose text the raiser does not know."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class ParseError(Exception):
    """The query cannot be parsed, or its types do not fit.

    ``str()`` is what the asker reads: ``1:5: parse error: unexpected ...``. ``line`` and
    ``column`` count from 1, the column in UTF-8 bytes; both are 0 for an empty text.
    """

    def __init__(self, message: str, text: str, at: int) -> None:
        self.message = message
        place = position(text, at) if text else "unknown position"
        self.line, self.column = (int(n) for n in place.split(":")) if text else (0, 0)
        super().__init__(f"{place}: parse error: {message}")
