"""What the one ASGI application is put together from."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

Door = Callable[[ASGIApp], ASGIApp]
"""Puts what asks who calls before an application."""


@dataclass(frozen=True)
class Part:
    """One thing that the server offers: its routes, and what has to be open while it is served."""

    name: str
    routes: Sequence[BaseRoute]
    opened: Callable[[], AbstractAsyncContextManager[None]]
