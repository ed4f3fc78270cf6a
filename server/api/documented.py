"""The FastAPI application: the routes that are not hot, and the documentation of all.

Importing FastAPI takes half a second, so nobody does before such a route is asked for.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi import Request as FastApiRequest
from fastapi import Response as FastApiResponse

from series.ports import StorageError
from server.call import CALL, Call
from server.http import HttpError, Response, api_error
from server.routes import ROUTES, Route
from server.settings import VERSION

log = logging.getLogger("o11y.http")


def documented_app() -> FastAPI:
    """``/docs``, ``/openapi.json`` and every route that is not hot; callers are admitted before."""
    app = FastAPI(title="Hanzo O11y", version=VERSION, redoc_url=None)
    for route in ROUTES:
        # FastAPI would list a path's methods one by one under the same operation.
        for method in (m for m in route.methods if m != "HEAD"):
            app.add_api_route(
                route.path,
                _endpoint(route.handler),
                methods=[method],
                summary=route.summary,
                name=f"{method} {route.path}",
                operation_id=f"{method.lower()}{route.path}",
                response_class=FastApiResponse,
                openapi_extra=_documentation(route, method),
            )
    return app


def _endpoint(
    handler: Callable[[Call], Awaitable[Response]],
) -> Callable[[FastApiRequest], Awaitable[FastApiResponse]]:
    async def endpoint(request: FastApiRequest) -> FastApiResponse:
        try:
            answer = await handler(request.scope[CALL])
        except HttpError as error:
            answer = error.response
        except StorageError as error:
            log.error("storage failed: %s", error)
            answer = api_error("internal", str(error)).response
        assert isinstance(answer.body, bytes)
        headers = {name.decode(): value.decode() for name, value in answer.headers}
        headers["content-type"] = answer.content_type
        return FastApiResponse(answer.body, answer.status, headers)

    return endpoint


def _documentation(route: Route, method: str) -> dict[str, Any]:
    """The parameters of *route*: in the URL of a GET, in the form of a POST."""
    names = [(name.rstrip("*"), name.endswith("*")) for name in route.params]
    path_parts = [part for part in route.path.split("/") if part.startswith("{")]
    path_names = [part[1:-1].removesuffix(":path") for part in path_parts]
    text = {"type": "string"}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in path_names
    ]
    if method == "GET":
        parameters += [
            {"name": name, "in": "query", "required": required, "schema": _schema(name)}
            for name, required in names
        ]
    extra: dict[str, Any] = {"parameters": parameters}
    if method in ("POST", "PUT") and names:
        schema = {
            "type": "object",
            "properties": {name: _schema(name) for name, _ in names},
            "required": [name for name, required in names if required],
        }
        media_type = "application/x-www-form-urlencoded"
        extra["requestBody"] = {"content": {media_type: {"schema": schema}}}
    elif method == "POST":
        schema = {"type": "string", "format": "binary"}
        extra["requestBody"] = {"content": {"application/x-protobuf": {"schema": schema}}}
    return extra


def _schema(name: str) -> dict[str, Any]:
    text = {"type": "string"}
    return {"type": "array", "items": text} if name.endswith("[]") else text
