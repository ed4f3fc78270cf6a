"""Administration of a tenant's data: delete series, clean up behind that, make a snapshot.

Source: web/api/v1/api.go of Prometheus 3.14. There ``--web.enable-admin-api`` opens these routes;
here the admin role does, and a server without keys allows them to its own machine.
"""

import asyncio
import logging
from collections.abc import Callable

from series.ports import StorageError
from server.access.tenants import tenant_db
from server.api.metadata_api import selectors
from server.api.params import MAX_TIME_MS, MIN_TIME_MS, Params, invalid, read_params
from server.call import Call
from server.http import Response, api_error, success
from server.logs import fields

log = logging.getLogger("o11y.admin")

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


async def delete_series(call: Call) -> Response:
    """``/api/v1/admin/tsdb/delete_series``: hides the samples of selectors at once; 204."""
    _check_unbound(call)
    params = await read_params(call.request)
    if not params.all("match[]"):
        raise api_error("bad_data", "no match[] parameter provided")
    start_ms = params.time_ms("start", MIN_TIME_MS)
    end_ms = params.time_ms("end", MAX_TIME_MS)
    try:
        chosen = selectors(params)
    except ValueError as error:
        raise invalid("match[]", str(error)) from None

    def delete() -> None:
        db = tenant_db(call.house.store, call.principal, create=False)
        if db is not None and start_ms <= end_ms:
            for matchers in chosen:
                db.delete(matchers, start_ms, end_ms)

    await _carry_out(delete)
    log.info("series deleted", extra=fields(org=call.principal.tenant, detail=_shown(params)))
    return Response(status=204)


async def clean_tombstones(call: Call) -> Response:
    """``/api/v1/admin/tsdb/clean_tombstones``: takes what is deleted off the disk; 204."""
    _check_unbound(call)

    def clean() -> None:
        db = tenant_db(call.house.store, call.principal, create=False)
        if db is not None:
            db.clean_tombstones()

    await _carry_out(clean)
    return Response(status=204)


async def snapshot(call: Call) -> Response:
    """``/api/v1/admin/tsdb/snapshot``: a copy of the tenant as it is now; answers its name."""
    _check_unbound(call)
    params = await read_params(call.request)
    text = params.get("skip_head")
    if text and text not in _BOOLEANS:
        raise invalid(
            "skip_head",
            f'unable to parse boolean: strconv.ParseBool: parsing "{text}": invalid syntax',
        )
    names: list[str] = []
    tenant = call.principal.tenant

    def make() -> None:
        if tenant_db(call.house.store, call.principal, create=False) is None:
            raise api_error("not_found", f"there are no data of organization {tenant}")
        path = call.house.store.snapshot(tenant, skip_head=_BOOLEANS.get(text, False))
        names.append(path.name)

    await _carry_out(make)
    call.house.metrics.snapshots.inc()
    log.info("snapshot made", extra=fields(org=call.principal.tenant, detail=names[0]))
    return success({"name": names[0]})


def _shown(params: Params) -> str:
    texts = ", ".join(params.all("match[]"))
    return f"{texts} from {params.get('start') or 'ever'} to {params.get('end') or 'ever'}"


async def _carry_out(act: Callable[[], None]) -> None:
    try:
        await asyncio.to_thread(act)
    except OSError as error:
        raise api_error("unavailable", f"the storage cannot write: {error}") from None
    except StorageError as error:
        raise api_error("internal", str(error)) from None


def _check_unbound(call: Call) -> None:
    if call.principal.matchers:
        raise api_error("forbidden", "a key that is bound to labels does not administer")
