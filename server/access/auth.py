"""Who asks: from the headers of a request to a Principal, or a refusal.

With keys the key names the tenant, and ``X-Org-Id`` or ``X-Scope-OrgID`` may only repeat it, or
choose among those of a key that has several. Without keys the server is open to its own machine:
the header picks the tenant, and whatever looks as if it came from elsewhere (a proxy's headers, a
foreign Host, a browser's foreign page) is refused.
"""

import base64
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from series.matcher import Matcher
from server.access.keys import Key, KeyRing, Role, is_tenant_id
from server.access.throttle import Throttle
from server.heads import Head
from server.http import HEAD, HttpError, Request, api_error
from server.settings import Settings, is_loopback

DEFAULT_TENANT = "default"
KEY_COMMAND = "o11y keys create --tenant TENANT --role admin --keys FILE"

REMEMBERED = 256
"""A gate remembers what so many heads came to."""

NOBODY = ""
"""The tenant of a key that opens several, where none is named: owns nothing."""

_TENANT_HEADERS = (b"x-org-id", b"x-scope-orgid")
_PROXY_HEADERS = frozenset(
    (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via")
)
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="o11y"'),)


class Need(Enum):
    """What a route asks of its caller."""

    NOTHING = "nothing"
    ANY_KEY = "any key"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    """An admin key; the organization need not be named, the handler goes by the key."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, after every check; ``key`` is None where the server is open."""

    tenant: str
    key: Key | None = None

    @property
    def matchers(self) -> tuple[Matcher, ...]:
        """What bounds what may be read and written, besides the tenant."""
        return self.key.matchers if self.key is not None else ()

    def governs(self, tenant: str) -> bool:
        """Whether what belongs to *tenant* may be shown and changed."""
        return self.key is None or self.key.opens(tenant)


class Gate(Protocol):
    def admit(self, request: Request, need: Need) -> Principal:
        """The Principal of *request*; HttpError 400, 401 or 403 where it may not do *need*."""
        ...

    def recall(self, request: Request, need: Need) -> Principal | None:
        """As ``admit`` where a request of the same head was admitted before and would be now."""
        ...


class OpenGate:
    """No keys: everybody on this machine may do everything.

    Nothing but the headers decides, so what a known head came to is remembered.
    """

    def __init__(self) -> None:
        self._admitted: dict[Head | None, Principal] = {}

    def admit(self, request: Request, need: Need) -> Principal:
        principal = self.recall(request, need)
        if principal is None:
            principal = self._judged(request)
            if (head := request.scope.get(HEAD)) is not None:
                _remember(self._admitted, head, principal)
        return principal

    def recall(self, request: Request, need: Need) -> Principal | None:
        del need
        return self._admitted.get(request.scope.get(HEAD))

    def _judged(self, request: Request) -> Principal:
        if not request.header_names.isdisjoint(_PROXY_HEADERS):
            raise _closed("a request through a proxy needs a key")
        hosts = request.headers(b"host")
        if not hosts or not all(is_loopback(_host_name(host)) for host in hosts):
            raise _closed("a request to another host name than this machine's loopback needs a key")
        if _from_foreign_page(request):
            raise _closed("a request from a web page of another machine needs a key")
        try:
            return Principal(asserted_tenant(request) or DEFAULT_TENANT)
        except ValueError as error:
            raise api_error("bad_data", str(error)) from None


class KeyGate:
    """Keys: they alone tell who asks.

    Of a known head is remembered which key it brought. That the key is still valid, and may do
    what is needed, is looked up each time.
    """

    def __init__(self, keys: KeyRing) -> None:
        self.keys = keys
        self.throttle = Throttle()
        self._admitted: dict[tuple[Head | None, Need], tuple[str, Principal]] = {}

    def admit(self, request: Request, need: Need) -> Principal:
        if (principal := self.recall(request, need)) is not None:
            return principal
        known = self._judged(request, need)
        if (head := request.scope.get(HEAD)) is not None:
            _remember(self._admitted, (head, need), known)
        return known[1]

    def recall(self, request: Request, need: Need) -> Principal | None:
        known = self._admitted.get((request.scope.get(HEAD), need))
        if known is None:
            return None
        secret, principal = known
        return principal if self._find(request, secret) is principal.key else None

    def _judged(self, request: Request, need: Need) -> tuple[str, Principal]:
        """The key that *request* brings, and who that makes its asker."""
        secret, key = self._key(request)
        try:
            asserted = asserted_tenant(request)
        except ValueError as error:
            raise api_error("forbidden", str(error)) from None
        if asserted is not None and not key.opens(asserted):
            raise api_error("forbidden", "the key does not belong to this organization")
        tenant = asserted or key.only_tenant
        if need is Need.READ and key.role is Role.WRITE:
            raise api_error("forbidden", "the key may only write")
        if need is Need.WRITE and key.role is Role.READ:
            raise api_error("forbidden", "the key may only read")
        if need is Need.ADMIN and key.role is not Role.ADMIN:
            raise api_error("forbidden", "the key is not an admin key")
        if tenant is None and need is not Need.ADMIN:
            text = "the key opens several organizations: name one by the header X-Org-Id"
            raise api_error("forbidden", text)
        return secret, Principal(tenant or NOBODY, key)

    def _key(self, request: Request) -> tuple[str, Key]:
        secret = _bearer(request)
        if secret is not None:
            key = self._find(request, secret)
            if key is not None:
                return secret, key
        raise _unauthorized(self.throttle.failed(request.address))

    def _find(self, request: Request, secret: str) -> Key | None:
        return self.keys.find(secret, seen_only=self.throttle.closed(request.address))


def _remember(known: dict[Any, Any], key: object, found: object) -> None:
    if len(known) >= REMEMBERED:
        del known[next(iter(known))]
    known[key] = found


def make_gate(settings: Settings) -> Gate:
    """The gate of *settings*; raises KeysError or OSError for a file that cannot be used."""
    return OpenGate() if settings.keys_file is None else KeyGate(KeyRing(settings.keys_file))


def asserted_tenant(request: Request) -> str | None:
    """The tenant that the headers name, or None.

    ValueError where one is malformed or stands twice, or where the two disagree.
    """
    named = set()
    if request.header_names.isdisjoint(_TENANT_HEADERS):
        return None
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


def _bearer(request: Request) -> str | None:
    """The key that the one Authorization header brings, or None.

    ``Token`` is how Influx clients say Bearer; of ``Basic`` the key is the password.
    """
    values = request.headers(b"authorization")
    if len(values) != 1:
        return None
    scheme, _, secret = values[0].partition(" ")
    if scheme.lower() == "basic":
        return _password(secret.strip())
    return secret.strip() if scheme.lower() in ("bearer", "token") else None


def _password(credentials: str) -> str | None:
    """The password of Basic *credentials*, or None where they are malformed."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return None


def _unauthorized(delay_seconds: float) -> HttpError:
    error = api_error(
        "unauthorized", "a valid key is needed: Authorization: Bearer hk-...", _CHALLENGE
    )
    error.delay_seconds = delay_seconds
    return error


def _closed(reason: str) -> HttpError:
    return api_error(
        "forbidden",
        f"{reason}; make one with `{KEY_COMMAND}` and start the server with --keys FILE",
    )


def _from_foreign_page(request: Request) -> bool:
    """Whether a browser asks on behalf of a page that does not come from this machine.

    Browsers name the page's origin with whatever can write, and its distance with everything.
    Following a link is not the page's doing, and shows it nothing.
    """
    if origins := request.headers(b"origin"):
        return not all(is_loopback(_host_name(origin.partition("://")[2])) for origin in origins)
    near = request.header(b"sec-fetch-site") in ("", "same-origin", "none")
    return not near and request.header(b"sec-fetch-mode") != "navigate"


def _host_name(host: str) -> str:
    """The host of a ``Host`` header without its port; '' where it is malformed."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        sound = bracket and (port == "" or (port[0] == ":" and port[1:].isdigit()))
        return name if sound and ":" in name else ""
    name, colon, port = host.partition(":")
    return name if not colon or port.isdigit() else ""
