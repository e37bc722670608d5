"""The command line that the first-party servers share."""

import argparse
import sys
from collections.abc import Callable

from chimera.core.errors import ChimeraError
from chimera.tools.servers.serving import ToolServer


def parser(name: str) -> argparse.ArgumentParser:
    """Options of every server: stdio by default, ``--http PORT`` for streamable HTTP on 127.0.0.1."""
    options = argparse.ArgumentParser(prog=f"python -m chimera.tools.servers.{name}")
    options.add_argument("--http", type=_port, metavar="PORT", help="serve HTTP on 127.0.0.1; 0 lets the system choose")
    return options


def serve(server: ToolServer, http_port: int | None) -> None:
    """Serve until the client leaves or the process is ended."""
    if http_port is None:
        from chimera.tools.servers.stdio import serve_stdio

        serve_stdio(server)
    else:
        from chimera.tools.servers.http import serve_http  # the SDK and a web server, which stdio does not need

        serve_http(server, http_port)


def run(main: Callable[[], None]) -> None:
    """Run a server's ``main``; what stops it from starting is one line on stderr and an exit code."""
    try:
        main()
    except ChimeraError as error:
        sys.stderr.write(f"{error} | {error.hint}\n")
        sys.exit(error.exit_code)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError("a port is 0 to 65535")
    return port
