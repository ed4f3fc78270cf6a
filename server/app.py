"""The application: from a connection to a route's handler and back.

Order: preflight, admission, route, method, handler. Whatever is not free is admitted before it is
looked up, so a stranger does not learn which paths exist.
"""

import asyncio
import logging
from typing import Any

from server.auth import Need, Principal
from server.call import CALL, Call
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
    respond,
    text_error,
)
from server.routes import Route, Router

log = logging.getLogger("o11y.http")

DOCS = ("/docs", "/docs/oauth2-redirect", "/openapi.json")
STRANGER = Principal("")
"""Who asks where nobody needs to say; owns nothing."""


class App:
    """An ASGI application over one House."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._router = Router()
        self._documented: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        found = self._router.find(request.path)
        sender = _Sender(send)
        try:
            response = await self._answer(request, found, sender)
        except HttpError as error:
            response = error.response
        except ClientGone:
            return
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            response = api_error("internal", "unexpected error, see the server's log").response
        if response is not None:
            await respond(response, sender, head=request.method == "HEAD")
        path = found[0].path if found else "other"
        self._house.metrics.requests.labels(path, str(sender.status)).inc()

    async def _answer(
        self, request: Request, found: tuple[Route, dict[str, str]] | None, sender: "_Sender"
    ) -> Response | None:
        """The response, or None where FastAPI has sent it."""
        if request.method == "OPTIONS" and request.path.startswith("/api/v1/"):
            return Response(status=204)
        need = found[0].need if found else Need.ANY_KEY
        principal = STRANGER
        if need is not Need.NOTHING:
            principal = self._house.gate.admit(request, need)
        if found is None:
            if request.path in DOCS and request.method in ("GET", "HEAD"):
                await self._through_fastapi(request, None, sender)
                return None
            raise text_error(404, "404 page not found")
        route, request.captures = found
        if request.method not in route.methods:
            allow = ((b"allow", ", ".join(route.methods).encode()),)
            raise text_error(405, "Method Not Allowed", allow)
        call = Call(request, principal, self._house)
        if route.hot:
            return await route.handler(call)
        await self._through_fastapi(request, call, sender)
        return None

    async def _through_fastapi(
        self, request: Request, call: Call | None, sender: "_Sender"
    ) -> None:
        if self._documented is None:
            self._documented = await asyncio.to_thread(_documented_app)
        await self._documented({**request.scope, CALL: call}, request.receive, sender)


class _Sender:
    """Sends on, and remembers the status."""

    __slots__ = ("_send", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _documented_app() -> Any:
    # Imported when first needed: it takes half a second.
    from server.documented import documented_app

    return documented_app()
