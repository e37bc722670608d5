"""Serving the ASGI application on uvicorn: where it listens, whom it lets in, and how it ends."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import uvicorn
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette

from chimera.app import App
from chimera.core.errors import ConfigError
from chimera.core.settings import Settings
from chimera.guards.permissions.first import local_user
from chimera.server.asgi import House, address_of, compose
from chimera.server.callers import Caller
from chimera.server.doors import LOOPBACK

ANSWER_S = 1.0
"""How long calls that wait for a mission have to answer, once the server is told to stop, before their streams end."""
GRACE_S = 10


class Web(uvicorn.Server):
    """uvicorn, which leaves the signals of the process to who serves, and says when it has started."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start."""
        await super().startup(sockets)
        if self.started:
            self._on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 lets the system choose.

    Raises:
        ConfigError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or "no such port"
        raise ConfigError(f"{host}:{port} cannot be used: {why}", remedy="Give another --host or --port.") from None


def check_exposure(settings: Settings, host: str, *, asks_for_keys: bool) -> None:
    """Let the server be bound to an address that others reach only if it asks for keys and knows its name.

    Raises:
        ConfigError: it does not.
    """
    if is_loopback(host):
        return
    if not asks_for_keys:
        raise ConfigError(
            f"without keys the server is offered on this machine alone, not on {host}",
            remedy="Leave --no-auth away, and issue keys: `chimera principal key NAME`.",
        )
    if not settings.server_hosts:
        raise ConfigError(
            f"the server has to know by which name others reach it on {host}",
            remedy="Set CHIMERA_SERVER_HOSTS='[\"chimera.example.com\"]'; requests that name another host are refused.",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host in LOOPBACK:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def everybody() -> Caller:
    """Whose calls those are that show no key: the local user's, who may, but does not read this machine's files so."""
    return Caller("default", local_user(), "human")


async def serve(app: App, listening: socket.socket, *, asks_for_keys: bool, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``tell`` is told the URL once it serves. A second signal ends it at once."""
    host, port = listening.getsockname()[:2]

    @asynccontextmanager
    async def opened() -> AsyncGenerator[App]:
        yield app

    caller = None if asks_for_keys else everybody()
    served = compose(app.settings, opened, address_of(app.settings, host, port, caller))
    config = uvicorn.Config(
        served,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=65_536,
    )
    web = Web(config, lambda: tell(f"http://{_shown(host)}:{port}/mcp"))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, number, web, served, loop)
    try:
        await web.serve(sockets=[listening])
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _stop(number: int, web: uvicorn.Server, served: Starlette, loop: asyncio.AbstractEventLoop) -> None:
    house: House | None = getattr(served.state, "house", None)
    if house is None or house.health.closing:  # asked twice, or before it serves: missions go on from where they are
        os._exit(128 + number)
    house.health.closing = True
    house.keeper.closing.set()  # whoever waits for a mission is told its id now

    def end() -> None:
        AppStatus.should_exit = True  # streams that wait for news that will not come
        web.should_exit = True

    loop.call_later(ANSWER_S, end)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
