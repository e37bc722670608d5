"""Starts a package with the mesh and writes down what it lists: how an entry comes to its status ``started``.

    python -m chimera.tools.catalogue.starting REGISTRY PACKAGE VERSION DATE OUT -- COMMAND [ARGUMENT...]

Run it where there is no network, and in an environment with names of variables only, set to dummies: nothing of this
may need a vendor. OUT gets one JSON document.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from pydantic import SecretStr

from chimera.core.settings import Settings
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

START_S = 60.0


async def start(command: list[str], env: dict[str, str]) -> list[dict[str, object]]:
    """The tools that a command lists, as plain data; none when it does not start."""
    secret = {name: SecretStr(value) for name, value in env.items() if "${" not in value}
    spec = ServerSpec(name="tried", transport="stdio", command=command[0], args=command[1:], env=secret)
    with tempfile.TemporaryDirectory() as home:
        async with ToolMesh([spec], Settings(home=Path(home), tool_start_timeout_s=START_S)) as mesh:
            return [tool.plain() for tool in await mesh.capabilities()]


def main(arguments: list[str]) -> int:
    """Start one package; 1 when it listed nothing."""
    registry, package, version, date, out = arguments[:5]
    tools = asyncio.run(start(arguments[6:], dict(os.environ)))
    found = {"registry": registry, "package": package, "version": version, "date": date, "tools": tools}
    if tools:
        Path(out).write_text(json.dumps(found), "utf-8")
    return 0 if tools else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
