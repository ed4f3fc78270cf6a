"""``o11y snapshot`` and ``o11y restore``: a tenant as it is at one instant, and back."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from server.command.transfer_cli import (
    Data,
    Key,
    Tenant,
    Url,
    check_target,
    checked_tenant,
    fail,
    headers,
)


def snapshot(
    tenant: Tenant = "",
    data: Data = None,
    url: Url = "",
    skip_head: Annotated[
        bool, typer.Option(help="Leave out what is not in blocks yet, about the last two hours.")
    ] = False,
    key: Key = "",
) -> None:
    """Make a snapshot, a data directory below `snapshots` of the data directory; print its name.

    With --url the server makes it while it goes on writing, for an admin key. Files are linked, so
    a snapshot takes hardly any room until the data itself is merged or dropped.
    """
    check_target(data, url)
    if data is not None:
        print(_made(data, checked_tenant(tenant), skip_head))
        return
    import httpx

    path = url.rstrip("/") + "/api/v1/admin/tsdb/snapshot"
    form = {"skip_head": "true"} if skip_head else {}
    try:
        reply = httpx.post(path, data=form, headers=headers(key, tenant), timeout=600)
        answer = reply.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"{url}: {error}")
    except ValueError:
        fail(f"{url}: {reply.status_code} {reply.text.strip()}")
    if answer.get("status") != "success":
        fail(str(answer.get("error", reply.text)))
    print(answer["data"]["name"])


def _made(data: Path, tenant: str, skip_head: bool) -> Path:
    from tsdb.db import DbOptions
    from tsdb.store import Store

    if not data.is_dir():
        fail(f"there is no data directory {data}")
    try:
        # A retention would drop blocks, which is not what was asked for.
        options = DbOptions(retention_ms=0)
        store = Store.open(data, options, lambda: time.time_ns() // 1_000_000)
        try:
            if store.tenant(tenant) is None:
                fail(f"no tenant {tenant!r} in {data}")
            return store.snapshot(tenant, skip_head=skip_head)
        finally:
            store.close()
    except BlockingIOError as error:
        fail(f"{error}; let that server make it: --url")
    except OSError as error:
        fail(str(error))


def restore(
    source: Annotated[Path, typer.Argument(help="A snapshot, or any data directory not in use.")],
    data: Annotated[Path, typer.Option(help="The data directory; made if missing.")],
    tenant: Annotated[str, typer.Option(help="Only this tenant; all if left out.")] = "",
) -> None:
    """Copy the tenants of a snapshot into a data directory that has none of them.

    Every file is read back as it is copied, and what is restored is checked and read at the end.
    Exits with 1 where the snapshot was damaged, with 2 where nothing was restored.
    """
    from tsdb import doctor
    from tsdb.files import Files, ReadOnlyFiles
    from tsdb.store import is_tenant_id
    from tsdb.upkeep.snapshot import restore as restore_tenants

    if not (source / "tenants").is_dir():
        fail(f"{source} is no snapshot: it has no directory `tenants`")
    names = (
        [tenant]
        if tenant
        else sorted(each.name for each in (source / "tenants").iterdir() if is_tenant_id(each.name))
    )
    try:
        copied = restore_tenants(source, data, names, Files())
        for name in names:
            print(_counted(data, name))
    except OSError as error:
        fail(str(error))
    print(f"restored {copied:,} bytes to {data}")
    reports = [
        report
        for name in names
        for report in doctor.check_directory(data, ReadOnlyFiles(), tenant=name)
    ]
    if damaged := sum(len(report.findings) for report in reports):
        print(f"o11y: {damaged} places are damaged; see o11y check data {data}", file=sys.stderr)
        raise SystemExit(1)


def _counted(data: Path, tenant: str) -> str:
    """What is there now, as a reader of the directory finds it."""
    from series.ports import Context, StorageError
    from transfer.reading import read_database
    from tsdb.store import Store

    store = Store.open_read_only(data, lambda: time.time_ns() // 1_000_000)
    try:
        db = store.tenant(tenant)
        if db is None:
            return f"tenant {tenant}: no data"
        context = Context()
        series = samples = 0
        for slab in read_database(db.view(context.warn), [()], -(2**62), 2**62, context):
            series += slab.frame.size
            samples += slab.batch.sample_count
        for text in context.warnings:
            print(f"o11y: {text}", file=sys.stderr)
        return f"tenant {tenant}: {samples} samples of {series} series"
    except StorageError as error:
        fail(str(error))
    finally:
        store.close()
