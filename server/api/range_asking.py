"""The way of a range query to the cache: what its answer depends on, and the moment of its data."""

from promql.engine import Engine
from promql.env import QueryTimes
from server.access.tenants import tenant_db
from server.api.range_cache import CachedQuery, Key, Moment
from server.call import Call
from tsdb.changes import Changes

LEAST_STEPS = 8
"""An answer of fewer steps goes around the cache."""


def cached_query(call: Call, query: str, times: QueryTimes, engine: Engine) -> CachedQuery | None:
    """*query* as one that goes through the cache; None where there is nothing to be had.

    To be called before the data are frozen of which the query is asked then.
    """
    house, principal = call.house, call.principal
    if not house.range_cache.max_bytes:
        return None
    db = tenant_db(house.store, principal, create=False)
    if db is None:
        return None

    def is_open(changes: Changes) -> bool:
        now = tenant_db(house.store, principal, create=False)
        return now is not None and now.changes is changes

    key = Key(
        principal.tenant, principal.matchers, query, engine.options.lookback_ms,
        times.step_ms, times.start_ms % times.step_ms,
    )  # fmt: skip
    moment = Moment(db.changes, db.changes.version, sum(house.store.damage_counts.values()))
    return CachedQuery(house.range_cache, engine, key, moment, is_open)
