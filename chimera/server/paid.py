"""What the server sells: its requests are paid for over HTTP 402, and whoever pays needs no key."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.routing import Route

from chimera.commerce.x402.selling import Paid, PaidEndpoint
from chimera.core.errors import ConfigError
from chimera.server.callers import Caller
from chimera.server.desk import Desk
from chimera.server.parts import Part
from chimera.server.sold import SoldMissions
from chimera.store.principals import PrincipalStore


async def sold_part(endpoint: PaidEndpoint, desk: Desk, principals: PrincipalStore) -> Part:
    """Missions for money, in the name of somebody enrolled.

    Raises:
        ConfigError: nobody of that name is enrolled in that tenant.
    """
    whose = await principals.find(endpoint.tenant, endpoint.by)
    if whose is None or not whose.enrolled:
        raise ConfigError(
            f"what is sold at {endpoint.path} is done as {endpoint.by!r}, nobody in {endpoint.tenant!r}",
            remedy=f"chimera principal add {endpoint.by} --kind service --role service --tenant {endpoint.tenant}",
        )
    sold = SoldMissions(desk, Caller(whose.tenant, whose.name, whose.kind))

    @asynccontextmanager
    async def opened() -> AsyncGenerator[None]:
        yield

    route = Route(endpoint.path, Paid(sold, endpoint.price, endpoint.till))
    return Part(f"sold {endpoint.path}", [route], opened)
