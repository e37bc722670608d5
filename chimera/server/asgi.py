"""The one ASGI application: everything that Chimera serves over HTTP, each part at its own path.

``chimera serve`` runs it on uvicorn. :func:`create_app` makes it from the settings for another ASGI server.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware

from chimera.app import App, open_app
from chimera.core.settings import Settings, load_settings
from chimera.server.api.office import Office
from chimera.server.api.part import api_part
from chimera.server.api.problems import problem
from chimera.server.bearer import Bearer, Everybody, Refuse, refusal
from chimera.server.callers import Caller, Callers
from chimera.server.desk import Desk
from chimera.server.doors import LOOPBACK, Doors
from chimera.server.health import LIVE, READY, Health, health_of
from chimera.server.keeper import Keeper
from chimera.server.langgraph_api.part import langgraph_part
from chimera.server.mcp.mounting import mcp_part
from chimera.server.mcp.serving import sdk_server
from chimera.server.pages.part import pages_part
from chimera.server.paid import sold_part
from chimera.server.parts import Door, Part

Opening = Callable[[], AbstractAsyncContextManager[App]]


@dataclass(frozen=True)
class Address:
    """How the server is reached. ``everybody``: who calls where no key is asked for; None: a key is asked for."""

    hosts: Sequence[str]
    origins: Sequence[str]
    everybody: Caller | None = None


@dataclass(frozen=True)
class House:
    """What the parts share while the server runs. The doors differ in how they tell who is not let in."""

    app: App
    keeper: Keeper
    desk: Desk
    health: Health
    door: Door
    door_of_api: Door
    everybody: Caller | None = None
    origins: Sequence[str] = ()


def compose(settings: Settings, opening: Opening, address: Address) -> Starlette:
    """The application. It opens the services when the ASGI server starts it, and closes them when it stops it."""

    @asynccontextmanager
    async def lifespan(served: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            app = await stack.enter_async_context(opening())
            keeper, health = Keeper(app), health_of(app)
            await stack.enter_async_context(keeper.open())
            door, desk, shown = _doors(app, address), Desk(app, keeper), (address.everybody, address.origins)
            house = House(app, keeper, desk, health, door(refusal), door(problem), *shown)
            for part in await _parts(house):
                await stack.enter_async_context(part.opened())
                served.router.routes.extend(part.routes)
            served.router.routes.extend(health.routes())
            served.state.house = house
            yield
            health.closing = True

    doors = Middleware(
        Doors,
        hosts=address.hosts,
        origins=address.origins,
        max_bytes=settings.server_body_max_bytes,
        open_to_all=(LIVE, READY),
    )
    return Starlette(lifespan=lifespan, middleware=[doors])


async def _parts(house: House) -> list[Part]:
    """Everything that is served. What is added here gets the door, the health checks and the limits of the others."""
    context, max_bytes = house.app.context, house.app.settings.server_body_max_bytes
    sold = context.payments.sells if context.payments is not None else ()
    return [
        mcp_part(sdk_server(house.desk), house.door, max_bytes),
        api_part(Office(house.app, house.keeper, house.desk), house.door_of_api),
        await pages_part(house.app, house.keeper, house.everybody),
        langgraph_part(house.app, house.desk, house.keeper, house.door, house.origins),
        *[await sold_part(each, house.desk, context.oversight.principals) for each in sold],
    ]


def _doors(app: App, address: Address) -> Callable[[Refuse], Door]:
    """Makes doors, which count the calls of a caller together."""
    if address.everybody is not None:
        everybody = partial(Everybody, caller=address.everybody)
        return lambda _: everybody
    context, settings = app.context, app.settings
    callers = Callers(context.oversight.keys, settings.server_calls_per_minute, context.clock, app.calls)
    return lambda refuse: partial(Bearer, callers=callers, refuse=refuse)


def address_of(settings: Settings, host: str, port: int, everybody: Caller | None = None) -> Address:
    """The names and origins under which a server on this host and port may be meant."""
    named = [] if host in ("0.0.0.0", "::") else [f"[{host}]" if ":" in host else host]  # noqa: S104 - not bound here
    hosts = [*LOOPBACK, *named, *settings.server_hosts]
    own = [f"http://{name}:{port}" for name in (*LOOPBACK, *named)]
    return _known_as(settings, hosts, own, everybody)


def _known_as(settings: Settings, hosts: Sequence[str], own: Sequence[str], everybody: Caller | None = None) -> Address:
    """What browsers call the server (``server_url``) is one of its names, and the origin of its own pages."""
    parts = urlsplit(settings.server_url or "")
    if not parts.hostname:
        return Address(hosts, [*own, *settings.server_origins], everybody)
    return Address(
        [*hosts, parts.netloc], [*own, f"{parts.scheme}://{parts.netloc}", *settings.server_origins], everybody
    )


def create_app() -> Starlette:
    """The application by the settings, for an ASGI server of your own: ``--factory chimera.server.asgi:create_app``.

    It asks for keys, and answers to loopback names and those of ``server_hosts``.

    Raises:
        ConfigError: the settings cannot work.
    """
    settings = load_settings()
    return compose(settings, lambda: open_app(settings), _known_as(settings, [*LOOPBACK, *settings.server_hosts], []))
