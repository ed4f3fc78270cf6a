"""Who asks: from the headers of a request to a Principal, or a refusal.

With keys the key names the tenant, and ``X-Org-Id`` or ``X-Scope-OrgID`` may only repeat it.
Without keys the server is open to its own machine: the header picks the tenant, and whatever looks
as if it came from elsewhere (a proxy's headers, a foreign Host) is refused.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from server.http import HttpError, Request, api_error
from server.keys import KeyRing, Role, is_tenant_id
from server.settings import Settings, is_loopback

DEFAULT_TENANT = "default"
KEY_COMMAND = "o11y keys create --tenant TENANT --role admin --keys FILE"

_TENANT_HEADERS = (b"x-org-id", b"x-scope-orgid")
_PROXY_HEADERS = (b"forwarded", b"x-forwarded-for")
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="o11y"'),)


class Need(Enum):
    """What a route asks of its caller."""

    NOTHING = "nothing"
    ANY_KEY = "any key"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, after every check."""

    tenant: str


class Gate(Protocol):
    def admit(self, request: Request, need: Need) -> Principal:
        """The Principal of *request*; HttpError 400, 401 or 403 where it may not do *need*."""
        ...


class OpenGate:
    """No keys: everybody on this machine may do everything."""

    def admit(self, request: Request, need: Need) -> Principal:
        del need
        if any(request.headers(name) for name in _PROXY_HEADERS):
            raise _closed("a request through a proxy needs a key")
        hosts = request.headers(b"host")
        if not hosts or not all(is_loopback(_host_name(host)) for host in hosts):
            raise _closed("a request to another host name than this machine's loopback needs a key")
        try:
            return Principal(asserted_tenant(request) or DEFAULT_TENANT)
        except ValueError as error:
            raise api_error("bad_data", str(error)) from None


class KeyGate:
    """Keys: they alone tell who asks."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def admit(self, request: Request, need: Need) -> Principal:
        key = self._keys.find(_bearer(request))
        if key is None:
            raise _unauthorized()
        try:
            asserted = asserted_tenant(request)
        except ValueError as error:
            raise api_error("forbidden", str(error)) from None
        if asserted not in (None, key.tenant):
            raise api_error("forbidden", "the key does not belong to this organization")
        if need is Need.READ and key.role is Role.WRITE:
            raise api_error("forbidden", "the key may only write")
        if need is Need.WRITE and key.role is Role.READ:
            raise api_error("forbidden", "the key may only read")
        return Principal(key.tenant)


def make_gate(settings: Settings) -> Gate:
    """The gate of *settings*; raises KeysError or OSError for a file that cannot be used."""
    return OpenGate() if settings.keys_file is None else KeyGate(KeyRing(settings.keys_file))


def asserted_tenant(request: Request) -> str | None:
    """The tenant that the headers name, or None.

    ValueError where one is malformed or stands twice, or where the two disagree.
    """
    named = set()
    for header in _TENANT_HEADERS:
        values = request.headers(header)
        if len(values) > 1:
            raise ValueError(f"repeated header {header.decode()}")
        for value in values:
            if not is_tenant_id(value):
                raise ValueError(f"invalid organization id in header {header.decode()}")
            named.add(value)
    if len(named) > 1:
        raise ValueError("the headers x-org-id and x-scope-orgid disagree")
    return named.pop() if named else None


def _bearer(request: Request) -> str:
    values = request.headers(b"authorization")
    if len(values) != 1:
        raise _unauthorized()
    scheme, _, secret = values[0].partition(" ")
    if scheme.lower() != "bearer":
        raise _unauthorized()
    return secret.strip()


def _unauthorized() -> HttpError:
    return api_error(
        "unauthorized", "a valid key is needed: Authorization: Bearer hk-...", _CHALLENGE
    )


def _closed(reason: str) -> HttpError:
    return api_error(
        "forbidden",
        f"{reason}; make one with `{KEY_COMMAND}` and start the server with --keys FILE",
    )


def _host_name(host: str) -> str:
    """The host of a ``Host`` header without its port; '' where it is malformed."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        sound = bracket and (port == "" or (port[0] == ":" and port[1:].isdigit()))
        return name if sound and ":" in name else ""
    name, colon, port = host.partition(":")
    return name if not colon or port.isdigit() else ""
