"""o11y: a data directory as a library.

Opens what ``o11y serve`` has written, read-only and in this process, and evaluates PromQL over it::

    import o11y

    with o11y.open("data") as database:
        result = database.query_range("rate(x[5m])", start, end, "1m")
        frame = result.to_pandas()
"""

from o11y.database import Database, open_database
from o11y.result import Result

open = open_database  # noqa: A001

__all__ = ["Database", "Result", "open", "open_database"]
