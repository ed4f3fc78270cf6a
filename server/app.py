"""The application: from a connection to a route's handler and back.

Order: preflight, admission, route, method, handler. Whatever is not free is admitted before it is
looked up, so a stranger does not learn which paths exist.
"""

import asyncio
import logging
import time
from typing import Any

from series.ports import StorageError
from server.access.auth import Need, Principal
from server.call import CALL, Call
from server.doors.whole_writes import WholeWrites
from server.house import House
from server.http import (
    ClientGone,
    HttpError,
    Message,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    api_error,
    in_a_task,
    nothing_comes,
    respond,
    respond_at_once,
    text_error,
)
from server.logs import fields
from server.routes import Route, Router

log = logging.getLogger("o11y.http")
access = logging.getLogger("o11y.access")

DOCS = ("/docs", "/docs/oauth2-redirect", "/openapi.json")
STRANGER = Principal("")
"""Who asks where nobody needs to say; owns nothing."""
GONE = 499
"""What stands for the status of a request until its answer begins; the asker may go before."""


class App:
    """An ASGI application over one House."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._router = Router()
        self._documented: Any = None
        self.whole_writes = WholeWrites(house)
        """Takes writes that have come whole, see ``server.connection``."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        exchange = _Exchange(scope, receive, send)
        request = Request(scope, exchange.receive)
        found = self._router.find(scope["path"])
        http = self._house.metrics.http
        http.in_flight += 1
        response: Response | None
        try:
            try:
                if found is not None and found[0].hot and request.method in found[0].methods:
                    route, request.captures = found
                    response = await route.handler(self._call(request, route.need, exchange))
                else:
                    response = await self._answer(request, found, exchange)
            except Exception as error:
                response = await self._failed(error, request, exchange)
            if response is not None and not exchange.respond_at_once(response):
                await respond(response, exchange.send, head=request.method == "HEAD")
        finally:
            http.in_flight -= 1
            path = found[0].path if found else "other"
            seconds = time.perf_counter() - began
            received = exchange.received_bytes + request.taken_bytes
            http.answered(path, exchange.status, seconds, received, exchange.sent_bytes)
            if access.isEnabledFor(logging.INFO):
                about = exchange.org, exchange.status, seconds, received, exchange.sent_bytes
                _log_access(request, path, *about)

    def at_once(self, scope: Scope) -> Response | None:
        """The response to a GET that its route answers at once, already counted; else None."""
        found = self._router.find(scope["path"])
        if found is None or (answer := found[0].at_once) is None:
            return None
        began = time.perf_counter()
        route, captures = found
        request = Request(scope, nothing_comes)
        request.captures = captures
        principal = self._house.gate.recall(request, route.need)
        if principal is None:
            return None
        org = principal.tenant
        try:
            response = answer(Call(request, principal, self._house))
        except Exception as error:
            response = _response_to(error, request, org)
        if response is None:
            return None
        seconds, sent = time.perf_counter() - began, len(response.body)  # type: ignore[arg-type]
        self._house.metrics.http.answered(route.path, response.status, seconds, 0, sent)
        if access.isEnabledFor(logging.INFO):
            _log_access(request, route.path, org, response.status, seconds, 0, sent)
        return response

    async def _failed(
        self, error: Exception, request: Request, exchange: "_Exchange"
    ) -> Response | None:
        """What is answered where *error* ended a request; None where there is no more to say."""
        if isinstance(error, ClientGone):
            return None
        response = _response_to(error, request, exchange.org)
        if isinstance(error, HttpError):
            if error.delay_seconds:
                await asyncio.sleep(error.delay_seconds)
            return response
        return response if exchange.status == GONE else None

    def _call(self, request: Request, need: Need, exchange: "_Exchange") -> Call:
        """The admitted *request*; HttpError where its asker may not."""
        principal = STRANGER
        if need is not Need.NOTHING:
            principal = self._house.gate.admit(request, need)
            exchange.org = principal.tenant
        return Call(request, principal, self._house)

    async def _answer(
        self, request: Request, found: tuple[Route, dict[str, str]] | None, exchange: "_Exchange"
    ) -> Response | None:
        """The response where no hot route gives it, or None where FastAPI has sent it."""
        if request.method == "OPTIONS" and request.path.startswith("/api/v1/"):
            return Response(status=204)
        call = self._call(request, found[0].need if found else Need.ANY_KEY, exchange)
        if found is None:
            if request.path in DOCS and request.method in ("GET", "HEAD"):
                await self._through_fastapi(request, None, exchange)
                return None
            raise text_error(404, "404 page not found")
        route, request.captures = found
        if request.method not in route.methods:
            allow = ((b"allow", ", ".join(route.methods).encode()),)
            raise text_error(405, "Method Not Allowed", allow)
        await self._through_fastapi(request, call, exchange)
        return None

    async def _through_fastapi(
        self, request: Request, call: Call | None, exchange: "_Exchange"
    ) -> None:
        if self._documented is None:
            self._documented = await asyncio.to_thread(_documented_app)
        await in_a_task()
        await self._documented({**request.scope, CALL: call}, request.receive, exchange.send)


class _Exchange:
    """What has gone to and fro for one request."""

    __slots__ = ("_receive", "_scope", "_send", "org", "received_bytes", "sent_bytes", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.org = ""
        self.status = GONE
        self.received_bytes = 0
        self.sent_bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self.received_bytes += len(message.get("body", b""))
        return message

    def respond_at_once(self, response: Response) -> bool:
        """Whether *response* is sent now; else that is still to be done."""
        head = self._scope["method"] == "HEAD"
        if not respond_at_once(response, self._scope, head=head):
            return False
        self.status = response.status
        self.sent_bytes += 0 if head else len(response.body)  # type: ignore[arg-type]
        return True

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.sent_bytes += len(message.get("body", b""))
        await self._send(message)


def _response_to(error: Exception, request: Request, org: str) -> Response:
    """What *error*, which ended a request of *org*, is answered with."""
    match error:
        case HttpError(response=response):
            return response
        case StorageError():
            log.error("storage failed: %s", error, extra=fields(org=org))
            text = str(error)
        case _:
            about = fields(org=org, method=request.method, path=request.path)
            log.error("request failed", exc_info=error, extra=about)
            text = "unexpected error, see the server's log"
    return api_error("internal", text).response


def _log_access(
    request: Request, path: str, org: str, status: int, seconds: float, received: int, sent: int
) -> None:
    about = fields(
        org=org,
        method=request.method,
        path=path,
        code=status,
        seconds=round(seconds, 6),
        received_bytes=received,
        sent_bytes=sent,
    )
    access.info("request", extra=about)


def _documented_app() -> Any:
    # Imported when first needed: it takes half a second.
    from server.api.documented import documented_app

    return documented_app()
