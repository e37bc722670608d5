"""What costs money: a part of the server whose requests are paid for over HTTP 402."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.routing import Mount
from starlette.types import ASGIApp

from chimera.commerce.x402.selling import Paid, Price, Till
from chimera.server.parts import Part


def paid_part(path: str, app: ASGIApp, price: Price, till: Till) -> Part:
    """An application at a path, with a price for each request. Who pays needs no key: the payment lets it in."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[None]:
        yield

    return Part(f"paid {path}", [Mount(path, app=Paid(app, price, till))], opened)
