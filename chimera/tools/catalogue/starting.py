"""Starts a package with the mesh and writes down the facts of what it lists: how an entry comes to be ``started``.

    python -m chimera.tools.catalogue.starting REGISTRY PACKAGE VERSION OUT -- COMMAND [ARGUMENT...]

Run it where there is no network, with dummies in the variables that the server asks for: nothing of this may need a
vendor. OUT gets one JSON document: ``facts``, a line of ``started.jsonl``, and ``contract``, a file of ``contracts/``.
Neither holds a text of the server's author.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from chimera.core.settings import Settings
from chimera.tools.capability import Capability
from chimera.tools.catalogue.schemas import bare
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

START_S = 60.0
_SEPARATOR = 4


async def start(command: list[str], env: dict[str, str]) -> list[Capability]:
    """The tools that a command lists; none when it does not start."""
    secret = {name: SecretStr(value) for name, value in env.items() if "${" not in value}
    spec = ServerSpec(name="tried", transport="stdio", command=command[0], args=command[1:], env=secret)
    with tempfile.TemporaryDirectory() as home:
        async with ToolMesh([spec], Settings(home=Path(home), tool_start_timeout_s=START_S)) as mesh:
            return await mesh.capabilities()


def facts(registry: str, package: str, version: str, tools: Sequence[Capability]) -> dict[str, Any]:
    """What is a fact about a server that was started: names and hints of its tools, and nothing that it says."""
    found = [_hinted(tool) for tool in tools]
    return {"registry": registry, "package": package, "version": version, "tools": found}


def contract_of(registry: str, package: str, version: str, tools: Sequence[Capability]) -> dict[str, Any]:
    """What a simulator of the server needs: the schemas as well, without their texts."""
    found = [
        {
            **_hinted(tool),
            "input_schema": bare(tool.input_schema),
            "output_schema": bare(tool.output_schema) if tool.output_schema else None,
        }
        for tool in tools
    ]
    return {**facts(registry, package, version, tools), "tools": found}


def _hinted(tool: Capability) -> dict[str, Any]:
    kept = {"read_only": tool.read_only, "idempotent": tool.idempotent, "destructive": tool.destructive}
    return {"name": tool.tool, **kept}


def main(arguments: list[str]) -> int:
    """Start one package; 1 when it listed nothing, and then nothing is written."""
    if len(arguments) < _SEPARATOR + 2 or arguments[_SEPARATOR] != "--":
        sys.stderr.write(f"{__doc__}\n")
        return 2
    registry, package, version, out = arguments[:_SEPARATOR]
    tools = asyncio.run(start(arguments[_SEPARATOR + 1 :], dict(os.environ)))
    if not tools:
        sys.stderr.write(f"{package} {version} listed nothing\n")
        return 1
    about = (registry, package, version, tools)
    Path(out).write_text(json.dumps({"facts": facts(*about), "contract": contract_of(*about)}, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
