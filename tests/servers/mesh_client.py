"""The mesh as the client that the MCP project's conformance suite drives: ``mesh_client.py URL``.

What of the operator's is written in a server's entry, such as the endpoint of tokens, is looked up here, as an operator
would: the mesh itself goes to no address that a server names.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from chimera.core.settings import Settings
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.oauth import ClientCredentials
from chimera.tools.mesh.servers import ServerSpec

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "tools_call": ("suite__add_numbers", {"a": 5, "b": 3}),
    "elicitation-sep1034-client-defaults": ("suite__test_client_elicitation_defaults", {}),
    "sse-retry": ("suite__test_reconnection", {}),
    "auth/client-credentials-basic": ("suite__test-tool", {}),
}


async def credentials(url: str) -> ClientCredentials | None:
    """What the operator would write, where the scenario gives a client of his."""
    given = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    if "client_secret" not in given:
        return None
    parts = urlsplit(url)
    async with httpx.AsyncClient() as http:
        about = (
            await http.get(f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}")
        ).json()
        issuer = str(about["authorization_servers"][0]).rstrip("/")
        server = (await http.get(f"{issuer}/.well-known/oauth-authorization-server")).json()
    return ClientCredentials(
        token_url=server["token_endpoint"],
        client_id=SecretStr(given["client_id"]),
        client_secret=SecretStr(given["client_secret"]),
    )


async def main(url: str) -> None:
    """Do what the scenario is about."""
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    spec = ServerSpec(name="suite", transport="http", url=url, oauth=await credentials(url))
    with tempfile.TemporaryDirectory() as folder:
        async with ToolMesh([spec], Settings(home=Path(folder))) as mesh:
            tools = [tool.name for tool in await mesh.capabilities()]
            print("tools", tools, [status.error for status in mesh.status()])
            name, arguments = CALLS.get(scenario, ("", {}))
            if name in tools:
                print(await mesh.call(name, arguments, scope="suite", idempotency_key="suite"))


asyncio.run(main(sys.argv[-1]))
