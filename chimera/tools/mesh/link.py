"""The way to one server: its command or URL as the adapters want it, with bounded reading on either."""

import functools
import os
import shutil
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
from langchain_mcp_adapters.sessions import Connection, SSEConnection, StdioConnection, StreamableHttpConnection

from chimera.core.clock import SystemClock
from chimera.core.errors import ToolServerDown
from chimera.core.settings import Settings
from chimera.tools.mesh import child
from chimera.tools.mesh.lines import line_encoding
from chimera.tools.mesh.oauth import Tokens
from chimera.tools.mesh.ports import listening_port
from chimera.tools.mesh.servers import ServerSpec
from chimera.tools.mesh.untrusted import one_line
from chimera.tools.mesh.web import BoundedClient

LISTING_BYTES = 4_000_000  # a list of tools may be longer than a result
ENVELOPE_BYTES = 65_536


class Link:
    """The connection to one server, for one session."""

    def __init__(self, spec: ServerSpec, settings: Settings, alarm: Callable[[str], None]) -> None:
        """``alarm`` is called with the reason when the connection cannot come to be, as the SDK would wait on."""
        self._spec = spec
        self._alarm = alarm
        self._limit = max(settings.tool_result_max_bytes, LISTING_BYTES) + ENVELOPE_BYTES
        self._log = settings.home.absolute() / "logs" / f"{spec.name}.log"
        self._bounds = [str(os.getpid()), str(self._log), str(settings.tool_memory_mb)]
        self._web: BoundedClient | None = None
        self._trust: ssl.SSLContext | None = None

    @property
    def hint(self) -> str:
        """Where to read more about a failure, as the end of a sentence."""
        return f"; its own messages are in {self._log}" if self._spec.transport == "stdio" else ""

    def connection(self) -> Connection:
        """What the adapters connect with. Looks into the file system, so it belongs off the event loop.

        Raises:
            ToolServerDown: the command or the folder is not there.
        """
        spec = self._spec
        if spec.transport != "stdio":
            self._trust = _trust()
        if spec.transport == "http":
            return StreamableHttpConnection(
                transport="streamable_http", url=spec.url, httpx_client_factory=self._open_web
            )
        if spec.transport == "sse":
            return SSEConnection(transport="sse", url=spec.url, httpx_client_factory=self._open_web)
        env = {name: value.get_secret_value() for name, value in spec.env.items()}
        command = shutil.which(_from(spec.cwd, spec.command), path=env.get("PATH"))
        if command is None:
            raise ToolServerDown(f"the command {one_line(spec.command, 100)} is not found")
        if spec.cwd is not None and not spec.cwd.is_dir():
            raise ToolServerDown(f"the folder {spec.cwd} is not there")
        return StdioConnection(
            transport="stdio",
            command=sys.executable,
            args=["-I", "-S", str(Path(child.__file__)), *self._bounds, command, *spec.args],
            env=env,
            cwd=spec.cwd,
            encoding=line_encoding(self._limit),
        )

    def opened_port(self) -> int | None:
        """The port that a stdio server, or a process that it started, listens on. Looks into the file system."""
        return listening_port(self._log) if self._spec.transport == "stdio" else None

    def withdraw(self, request_id: int) -> None:
        """Free what still waits for an answer that nobody wants."""
        if self._web is not None:
            self._web.withdraw(request_id)

    def _open_web(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx.Timeout | None = None,
        auth: httpx.Auth | None = None,
    ) -> BoundedClient:
        """The adapters' client factory; its arguments are empty, for the connection names none."""
        secret = {name: value.get_secret_value() for name, value in self._spec.headers.items()}
        oauth, trust = self._spec.oauth, self._trust or _trust()
        tokens = Tokens(oauth, SystemClock(), trust) if oauth is not None else None
        stream = (self._spec.url, self._alarm) if self._spec.transport == "sse" else None
        self._web = BoundedClient(self._limit, secret, trust, tokens=tokens, stream=stream)
        return self._web


@functools.cache
def _trust() -> ssl.SSLContext:
    """The certificates to trust. Reading them takes tens of milliseconds, so all sessions share them."""
    return httpx.create_ssl_context()


def _from(folder: Path | None, command: str) -> str:
    """A command with a path in it starts at the server's folder, as it would in a shell there."""
    return str(folder / command) if folder is not None and os.sep in command else command
