"""``chimera serve`` and ``chimera mcp``: Chimera for other agents, over HTTP and on stdio."""

from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, tell

if TYPE_CHECKING:
    import socket

    from chimera.core.settings import Settings


def serve_command(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 lets the system choose.")] = 8321,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no key: whoever reaches it on this machine calls as you.")
    ] = False,
    json: Json = False,
) -> None:
    """Serve people and other agents over HTTP until SIGTERM or Ctrl-C: pages at /, MCP at /mcp, health at /healthz.

    Callers show a key (`chimera principal key NAME`), people log in (`chimera principal invite NAME`). Missions that
    run when it stops go on when it is started again.
    """
    from chimera.core.settings import load_settings
    from chimera.server.serving import check_exposure, listen

    settings = load_settings()
    check_exposure(settings, host, asks_for_keys=not no_auth)
    with listen(host, port) as listening:
        run(_serve(settings, listening, json, asks_for_keys=not no_auth))


async def _serve(settings: "Settings", listening: "socket.socket", json: bool, *, asks_for_keys: bool) -> None:
    from chimera.app import open_app
    from chimera.server.serving import serve

    def started(url: str) -> None:
        if json:
            emit({"url": url, "keys": asks_for_keys})
        tell(f"serving {url}{'' if asks_for_keys else '  (without keys: on this machine, as you)'}")

    async with open_app(settings) as app:
        keys = app.context.oversight.keys
        if asks_for_keys and not await keys.any_counts():
            tell("nobody has a key yet: chimera principal key NAME")
        if asks_for_keys and not await app.context.oversight.accounts.store.any():
            tell("nobody can log in to the pages yet: chimera principal invite NAME")
        await serve(app, listening, asks_for_keys=asks_for_keys, tell=started)
    tell("stopped; missions that were running go on when it is started again")


def mcp_command() -> None:
    """Serve one MCP client on stdin and stdout, as you, until stdin ends."""
    run(_mcp())


async def _mcp() -> None:
    import asyncio
    import signal

    from chimera.app import open_app
    from chimera.guards.permissions.first import local_user
    from chimera.server.callers import Caller
    from chimera.server.mcp.stdio import serve_stdio

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with open_app() as app:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await serve_stdio(app, Caller("default", local_user(), "human", reads_here=True), stopping)
