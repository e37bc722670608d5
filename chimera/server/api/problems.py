"""Failures as problem details (RFC 9457), with the stable code and the remedy of the error tree."""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from chimera.core.errors import (
    ArtifactNotFound,
    CallerBusy,
    CallerUnknown,
    ChimeraError,
    ConflictError,
    GuardRejected,
    InputError,
    MissionError,
    MissionNotFound,
    ModelError,
    NotThere,
    StoreError,
)

_LOG = logging.getLogger(__name__)
MEDIA = "application/problem+json"
_STATUS: tuple[tuple[type[ChimeraError], int], ...] = (
    (CallerUnknown, 401),
    (GuardRejected, 403),
    (NotThere, 404),
    (MissionNotFound, 404),
    (ArtifactNotFound, 404),
    (ConflictError, 409),
    (MissionError, 409),
    (InputError, 422),
    (CallerBusy, 429),
    (ModelError, 502),
    (StoreError, 503),
)
_SHOWN = 20


class Wrong(BaseModel):
    """One thing that is wrong with a request: where, and why."""

    model_config = ConfigDict(extra="forbid")

    at: str
    why: str


class Problem(BaseModel):
    """A failure. ``type`` is the stable code as a URN; ``remedy`` says what helps."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(pattern="^urn:chimera:error:CH[0-9]{3}$")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    code: str = Field(pattern="^CH[0-9]{3}$")
    remedy: str
    errors: list[Wrong] = Field(default_factory=list[Wrong])


def problem(
    status: int, error: ChimeraError, headers: Mapping[str, str] | None = None, errors: list[Wrong] | None = None
) -> Response:
    """An error as an answer."""
    found = Problem(
        type=f"urn:chimera:error:{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_text(error.message),
        code=error.code,
        remedy=_text(error.hint),
        errors=errors or [],
    )
    return JSONResponse(found.model_dump(mode="json"), status, dict(headers or {}), media_type=MEDIA)


def of_error(error: ChimeraError) -> Response:
    """An error of the tree as an answer, with its status."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    headers: dict[str, str] = {}
    if status in (429, 503):
        wait = error.context.get("wait_s", 5)
        headers["Retry-After"] = str(max(1, math.ceil(wait)) if isinstance(wait, int | float) else 5)
    return problem(status, error, headers)


def answer_problems(api: FastAPI) -> None:
    """Have every failure of an application answered as a problem."""

    async def known(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ChimeraError)  # noqa: S101 - it is registered for these
        return of_error(error)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for these
        wrong = [Wrong(at=_text(_place(one)), why=_text(str(one["msg"]))) for one in error.errors()[:_SHOWN]]
        first = wrong[0] if wrong else Wrong(at="request", why="it cannot be read")
        return problem(422, InputError(f"{first.at}: {first.why}"), errors=wrong)

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
        match error.status_code:
            case 404:
                found: ChimeraError = NotThere()
            case 405:
                found = InputError("this path does not take that method", remedy="See the OpenAPI document.")
            case 400:
                found = InputError("the body cannot be read", remedy="Send JSON by the OpenAPI document.")
            case _:
                found = InputError("the request cannot be used", remedy="See the OpenAPI document.")
        return problem(error.status_code, found, error.headers)

    async def unexpected(_request: Request, error: Exception) -> Response:
        # What it says may quote prompts, rows or keys: it goes to the log of the operator alone.
        _LOG.warning("a request failed: %s", type(error).__name__, exc_info=error)
        return problem(500, ChimeraError(f"unexpected {type(error).__name__}"))

    api.add_exception_handler(ChimeraError, known)
    api.add_exception_handler(RequestValidationError, invalid)
    api.add_exception_handler(HTTPException, refused)
    api.add_exception_handler(Exception, unexpected)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What an operation can answer besides its success, for the OpenAPI document."""
    schema = {"$ref": "#/components/schemas/Problem"}
    every = sorted({400, 401, 403, 404, 422, 429, 500, 503, *statuses})
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA: {"schema": schema}}} for status in every
    }


def _place(found: Mapping[str, Any]) -> str:
    return ".".join(str(part)[:60] for part in found["loc"])[:200]


def _text(given: str) -> str:
    """One line that can be coded, whatever it quotes."""
    return given.encode("utf-8", "replace").decode("utf-8")[:1_000]
