"""The front door: listens at once, and answers "not yet" until the house behind it is open.

Imports nothing that needs a kernel.
"""

from server.http import TEXT, Receive, Response, Scope, Send, respond

_UNAVAILABLE = Response(b"Service Unavailable\n", 503, TEXT, ((b"retry-after", b"5"),))
_HEALTHY = Response(b"Hanzo O11y is Healthy.\n", content_type=TEXT)


class Front:
    """An ASGI application that hands over to ``inner`` once there is one."""

    def __init__(self) -> None:
        self.inner: object = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self.inner is not None:
            await self.inner(scope, receive, send)  # type: ignore[operator]
            return
        healthy = scope["path"] == "/-/healthy"
        await respond(_HEALTHY if healthy else _UNAVAILABLE, send, head=scope["method"] == "HEAD")
