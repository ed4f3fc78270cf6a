"""A database whose range queries go through a cache, for tests: with it and without it."""

import itertools
from pathlib import Path

from promql.answer import Answer
from promql.engine import Engine
from promql.env import Options, QueryTimes
from promql.notes import ExecutionError
from series.labels import Labels
from series.matcher import Matcher, MatchType
from series.ports import Context, StorageError
from server.answers import answer_json
from server.api.range_cache import CachedQuery, Key, Moment, RangeCache
from tests.tsdb.contents import Value, build
from tests.tsdb.databases import FaultyFiles, open_store
from tsdb.db import Db, DbOptions
from tsdb.store import Store

TENANT = "default"
Sample = tuple[Labels, int, Value]


class Cached:
    """One tenant's database and a cache; ``now_ms`` is its clock."""

    def __init__(self, directory: Path, now_ms: int, options: DbOptions | None = None) -> None:
        self.now_ms = now_ms
        self.directory, self.options = directory, options
        self.store = self.opened()
        self.cache = RangeCache(16 << 20)
        self.engine = Engine(Options())

    def opened(self) -> Store:
        """The database, opened; its disk is not waited for."""
        return open_store(
            self.directory, files=FaultyFiles(), now_ms=lambda: self.now_ms, options=self.options
        )

    def reopen(self) -> None:
        self.store.close()
        self.store = self.opened()

    @property
    def db(self) -> Db:
        return self.store.tenant_for_write(TENANT)

    def append(self, *samples: Sample) -> None:
        """Each sample as a row of its own; what is refused is left out."""
        batch = build((labels, [time_ms], [value]) for labels, time_ms, value in samples)
        self.db.append(batch).result(timeout=30)

    def load(self, *samples: Sample) -> None:
        """Straight into blocks."""
        loader = self.db.loader()
        loader.add(build((labels, [time_ms], [value]) for labels, time_ms, value in samples))
        loader.finish()

    def delete(self, name: str, start_ms: int, end_ms: int) -> None:
        self.db.delete((Matcher(MatchType.EQUAL, "__name__", name),), start_ms, end_ms)

    def ask(self, query: str, times: QueryTimes, *, cached: bool) -> tuple[bytes, int]:
        """The body of the answer or the text of the error, and how many steps were reused."""
        context = Context()
        asked = self._asked(query, times)
        source = self.db.view(context.damaged)
        try:
            if cached:
                answer = asked.answer(source, times, context)
            else:
                answer = self.engine.range(source, query, times, context)
        except (ExecutionError, StorageError) as error:
            return str(error).encode(), 0
        return body(answer), context.reused_steps

    def _asked(self, query: str, times: QueryTimes) -> CachedQuery:
        changes = self.db.changes
        key = Key(
            TENANT, (), query, self.engine.options.lookback_ms,
            times.step_ms, times.start_ms % times.step_ms,
        )  # fmt: skip
        moment = Moment(changes, changes.version, sum(self.store.damage_counts.values()))
        return CachedQuery(self.cache, self.engine, key, moment, lambda of: self.db.changes is of)

    def check_frozen(self, query: str, times: QueryTimes) -> int:
        """As ``check``, of the same frozen data, to which others may add meanwhile."""
        asked = self._asked(query, times)
        source, context = self.db.view(), Context()
        found = body(asked.answer(source, times, context))
        assert found == body(self.engine.range(source, query, times, Context())), query
        return context.reused_steps

    def check(self, query: str, times: QueryTimes) -> int:
        """Asserts that both ways give the same bytes; how many steps were reused."""
        expected, _ = self.ask(query, times, cached=False)
        found, reused = self.ask(query, times, cached=True)
        assert found == expected, query
        return reused

    def close(self) -> None:
        self.store.close()


def body(answer: Answer) -> bytes:
    return b"".join(itertools.chain(answer_json.slices(answer, {})))
