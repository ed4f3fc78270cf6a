"""``o11y keys``: make, list and revoke the keys that name tenants."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

keys_app = typer.Typer(help="The keys that name tenants.", no_args_is_help=True)

TENANT_RULE = "a tenant is 1 to 64 of A-Z a-z 0-9 _ . - and not . or .."


@keys_app.command("create")
def create(
    tenant: Annotated[
        list[str], typer.Option(help="Whose data; several times for several, '*' for all.")
    ],
    role: Annotated[str, typer.Option(help="write, read or admin (both).")],
    keys: Annotated[Path, typer.Option(help="The file; made if missing.")],
    match: Annotated[
        list[str] | None,
        typer.Option(help="A label matcher that bounds the key, like 'env=\"prod\"'."),
    ] = None,
) -> None:
    """Make a key, add it to the file and print it; it is shown only this once."""
    from server.access import keys as ring

    if not all(one == ring.ANY or ring.is_tenant_id(one) for one in tenant):
        raise typer.BadParameter(TENANT_RULE)
    try:
        chosen = ring.Role(role)
    except ValueError:
        raise typer.BadParameter("a role is write, read or admin") from None
    try:
        matchers = [ring.parse_matcher(text) for text in match or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        key = ring.create_key(keys, tenant, chosen, matchers)
    except (ring.KeysError, OSError) as error:
        _fail(str(error))
    print(f"added a {role} key for tenant {', '.join(tenant)} to {keys}", file=sys.stderr)
    print(key)


@keys_app.command("list")
def list_keys(keys: Annotated[Path, typer.Option(help="The file.")]) -> None:
    """List the keys that are valid: id, tenants, role, when made, matchers."""
    from server.access import keys as ring

    try:
        found = ring.load_keys(keys)
    except (ring.KeysError, OSError) as error:
        _fail(str(error))
    for key in found:
        matchers = " ".join(map(str, key.matchers))
        line = f"{key.id}  {','.join(key.tenants)}  {key.role.value}  {key.created}  {matchers}"
        print(line.rstrip())


@keys_app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="Its id, as `o11y keys list` shows it.")],
    keys: Annotated[Path, typer.Option(help="The file.")],
) -> None:
    """End a key; a running server lets nobody in by it within a second."""
    from server.access import keys as ring

    try:
        key = ring.revoke_key(keys, key_id)
    except KeyError:
        _fail(f"{keys} holds no key with the id {key_id}")
    except (ring.KeysError, OSError) as error:
        _fail(str(error))
    print(f"revoked the {key.role.value} key {key.id} of tenant {', '.join(key.tenants)}")


def _fail(text: str) -> NoReturn:
    print(f"o11y: {text}", file=sys.stderr)
    raise SystemExit(1)
