"""The front door: listens at once, and answers "not yet" until the house behind it is open.

Imports nothing that needs a kernel.
"""

from server.http import TEXT, Receive, Response, Scope, Send, respond
from tsdb.log.progress import ReplayProgress

_RETRY_AFTER = ((b"retry-after", b"5"),)
_HEALTHY = Response(b"Hanzo O11y is Healthy.\n", content_type=TEXT)


class Front:
    """An ASGI application that hands over to ``inner`` once there is one."""

    def __init__(self, progress: ReplayProgress) -> None:
        """*progress* is that of the start."""
        self.inner: object = None
        self._progress = progress

    @property
    def whole_writes(self) -> object:
        """That of ``inner``; None until it is there."""
        return getattr(self.inner, "whole_writes", None)

    @property
    def at_once(self) -> object:
        """As ``whole_writes``."""
        return getattr(self.inner, "at_once", None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self.inner is not None:
            await self.inner(scope, receive, send)  # type: ignore[operator]
            return
        healthy = scope["path"] == "/-/healthy"
        answer = _HEALTHY if healthy else self._unavailable()
        await respond(answer, send, head=scope["method"] == "HEAD")

    def _unavailable(self) -> Response:
        text = "Service Unavailable"
        if self._progress.total_bytes:
            text += f": replaying the log, {self._progress.percent} %"
        return Response(text.encode() + b"\n", 503, TEXT, _RETRY_AFTER)
