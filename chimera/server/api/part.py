"""The interface as a part of the server, at /api/v1, and its OpenAPI document."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import MutableHeaders
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chimera.server.api import events, missions, reviews, tools
from chimera.server.api.office import Office
from chimera.server.api.problems import Problem, answer_problems
from chimera.server.parts import Door, Part

PATH = "/api/v1"
VERSION = "1.0.0"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_ABOUT = (
    "Missions, and the questions that wait for humans. Every request shows a key: `Authorization: Bearer KEY` "
    "(`chimera principal key NAME`). A failure is a problem of RFC 9457 with a stable code and a remedy. Listings go "
    "on at the `cursor` that a page gives as `next`. What belongs to another tenant is unknown."
)


class Sealed:
    """ASGI middleware: every answer says that it is data, and no page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, sealed)


def api() -> FastAPI:
    """The application without its services, which it finds as ``state.office`` when it is asked for something."""
    made = FastAPI(
        title="Chimera", version=VERSION, description=_ABOUT, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    answer_problems(made)

    async def schema() -> dict[str, Any]:
        return document(made)

    made.add_api_route("/openapi.json", schema, include_in_schema=False)
    for router in (missions.router, reviews.router, tools.router, events.router):
        made.include_router(router)
    return made


def document(made: FastAPI | None = None) -> dict[str, Any]:
    """The OpenAPI document."""
    found = get_openapi(
        title="Chimera",
        version=VERSION,
        description=_ABOUT,
        routes=(made or api()).routes,
        servers=[{"url": PATH}],
    )
    parts = found["components"]
    parts["schemas"] |= _schemas_of_problems()
    for unused in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(unused, None)
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {**found, "security": [{"key": []}]}


def _schemas_of_problems() -> dict[str, Any]:
    whole = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**whole.pop("$defs", {}), "Problem": whole}


def api_part(office: Office, door: Door) -> Part:
    """The interface. ``door``: what stands before it and says who calls."""
    made = api()
    made.state.office = office

    @asynccontextmanager
    async def opened() -> AsyncGenerator[None]:
        yield

    return Part("api", [Mount(PATH, Sealed(door(made)))], opened)
