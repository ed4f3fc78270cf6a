"""Administration of what a key governs: organizations, keys, limits, usage.

An admin key sees and changes what belongs to its organizations; where the server is open this
machine may do it all. A key that is bound to label matchers does not administer.
"""

import asyncio
from dataclasses import asdict
from typing import Any

import orjson

from server.access.auth import Gate, KeyGate
from server.access.keys import (
    ANY,
    Key,
    KeyRing,
    KeysError,
    Role,
    create_key,
    is_tenant_id,
    parse_matcher,
    revoke_key,
)
from server.call import Call
from server.http import Response, api_error, success
from tsdb.db import Db

MAX_BODY_BYTES = 64 << 10


async def orgs(call: Call) -> Response:
    """``GET /v1/admin/orgs``: the organizations that have data or keys."""
    _check_unbound(call)
    found = await asyncio.to_thread(_orgs, call)
    return success([{"org": org} for org in found])


async def keys(call: Call) -> Response:
    """``GET /v1/admin/keys`` lists them; ``POST`` makes one, which only this answer shows."""
    _check_unbound(call)
    ring = _ring(call.house.gate)
    if call.request.method == "GET":
        found = await asyncio.to_thread(_keys, ring)
        return success([_shown(key) for key in found if _governs(call, key)])
    wanted = _wanted(call, await call.request.body(MAX_BODY_BYTES))
    try:
        secret = await asyncio.to_thread(
            create_key, ring.path, wanted.tenants, wanted.role, wanted.matchers
        )
    except (KeysError, OSError) as error:
        raise api_error("unavailable", f"the file of keys: {error}") from None
    ring.forget()
    made = next(key for key in await asyncio.to_thread(_keys, ring) if key.is_(secret))
    return success({**_shown(made), "key": secret})


async def revoke(call: Call) -> Response:
    """``DELETE /v1/admin/keys/{id}``: from now on the key opens nothing."""
    _check_unbound(call)
    ring = _ring(call.house.gate)
    key_id = call.request.captures["id"]
    try:
        key = await asyncio.to_thread(
            revoke_key, ring.path, key_id, lambda key: _governs(call, key)
        )
    except KeyError:
        raise api_error("not_found", "there is no such key") from None
    except (KeysError, OSError) as error:
        raise api_error("unavailable", f"the file of keys: {error}") from None
    ring.forget()
    return success(_shown(key))


async def limits(call: Call) -> Response:
    """``GET /v1/admin/limits``: those in force, the common ones and each organization's own."""
    _check_unbound(call)
    config = call.house.limits.config
    own = {
        org: asdict(limits)
        for org, limits in sorted(config.tenants.items())
        if call.principal.governs(org)
    }
    return success({"defaults": asdict(config.defaults), "orgs": own})


async def usage(call: Call) -> Response:
    """``GET /v1/admin/usage``: what each organization holds, beside its limit of series."""
    _check_unbound(call)

    def found() -> dict[str, Any]:
        used = {}
        for org in _orgs(call):
            db = call.house.store.tenant(org)
            if db is not None:
                used[org] = _usage(db, call.house.limits.of(org).max_global_series_per_user)
        return used

    return success(await asyncio.to_thread(found))


def _usage(db: Db, max_series: int) -> dict[str, Any]:
    stats = db.stats()
    return {
        "series": stats.head_series,
        "max_series": max_series,
        "head_samples": stats.head_samples,
        "block_samples": stats.block_samples,
        "block_bytes": stats.block_bytes,
        "wal_bytes": stats.wal_bytes,
        "appended_samples": stats.appended_samples,
        "refused_samples": stats.refused_samples,
    }


def _check_unbound(call: Call) -> None:
    if call.principal.matchers:
        raise api_error("forbidden", "a key that is bound to labels does not administer")


def _orgs(call: Call) -> list[str]:
    names = set(call.house.store.tenants()) | set(call.house.limits.config.tenants)
    gate = call.house.gate
    if isinstance(gate, KeyGate):
        names.update(org for key in gate.keys.all() for org in key.tenants if org != ANY)
    return sorted(name for name in names if call.principal.governs(name))


def _ring(gate: Gate) -> KeyRing:
    if not isinstance(gate, KeyGate):
        raise api_error("not_found", "the server runs without keys: start it with --keys FILE")
    return gate.keys


def _keys(ring: KeyRing) -> list[Key]:
    try:
        return ring.all()
    except (KeysError, OSError) as error:
        raise api_error("unavailable", f"the file of keys: {error}") from None


def _governs(call: Call, key: Key) -> bool:
    """Whether every organization that *key* opens is the asker's."""
    return all(call.principal.governs(org) for org in key.tenants)


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "orgs": list(key.tenants),
        "role": key.role.value,
        "matchers": [str(one) for one in key.matchers],
        "created": key.created,
    }


def _wanted(call: Call, body: bytes) -> Key:
    """The key that the body ``{"orgs": [...], "role": ..., "matchers": [...]}`` asks for."""
    try:
        asked = orjson.loads(body)
        names = asked.get("orgs", [asked.get("org")])
        role = Role(asked.get("role"))
        matchers = tuple(parse_matcher(text) for text in asked.get("matchers", ()))
        sound = isinstance(names, list) and names
        if not sound or not all(name == ANY or is_tenant_id(name) for name in names):
            raise ValueError("orgs must be a list of organization ids")
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        text = 'the body must be JSON like {"orgs": ["acme"], "role": "write"}'
        raise api_error("bad_data", text) from None
    except ValueError as error:
        raise api_error("bad_data", str(error)) from None
    key = Key(b"", tuple(names), role, matchers)
    if not _governs(call, key):
        raise api_error("forbidden", "the key does not belong to this organization")
    return key
