"""The mesh of a mission asks the registry: what changed is not there, and who tries a version gets it.

Proves FR-504, FR-507, FR-509 and FR-517 with servers that really run, on a real database.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chimera.app import open_app
from chimera.core.clock import SystemClock
from chimera.core.errors import ToolUnknown
from chimera.core.settings import Settings
from chimera.store.audit import AuditLog
from chimera.store.pins import PinStore
from chimera.store.postgres import Pool
from chimera.tools.capability import Requester
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.registry.model import ServerEntry
from chimera.tools.registry.registry import Registry

ROOT = str(Path(__file__).resolve().parents[2])
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}


def offer(file: Path, vendor: str = "Shop", schema: dict[str, Any] = SCHEMA) -> None:
    tool = {"name": "search", "input_schema": schema, "read_only": True, "idempotent": True, "destructive": False}
    file.write_text(json.dumps({"vendor": vendor, "version": file.stem, "tools": [tool]}))


def entry(file: Path, version: str = "1.0.0", name: str = "shop") -> ServerEntry:
    return ServerEntry.model_validate(
        {
            "name": name,
            "version": version,
            "transport": "stdio",
            "command": sys.executable,
            "args": ["-m", "chimera.sim.vendors", str(file)],
            "env": [{"name": "PYTHONPATH", "value": ROOT}],
            "origin": {"source": "test"},
        }
    )


@pytest.fixture
def registry(pool: Pool, clock: SystemClock) -> Registry:
    return Registry(pool, AuditLog(pool, clock), clock)


async def answered_by(mesh: ToolMesh, agent: str) -> str:
    requester = Requester(agent=agent)
    result = await mesh.call("shop__search", {}, scope="m1", idempotency_key=agent, requester=requester)
    return str(json.loads(result.text)["version"])


async def test_a_mission_uses_registered_servers_until_their_tools_change(
    registry: Registry, pool: Pool, settings: Settings, tmp_path: Path, database_url: str, enrol: Callable[..., None]
) -> None:
    enrol(database_url, "ada")
    offer(tmp_path / "shop.json")
    await registry.add(entry(tmp_path / "shop.json"), "ada")
    lacking = {**entry(tmp_path / "shop.json", name="lacks").plain(), "args": ["x"], "env": [{"name": "NOT_SET_HERE"}]}
    await registry.add(ServerEntry.model_validate(lacking), "ada")
    async with open_app(settings) as app:
        assert "shop__search" in {tool.name for tool in await app.mesh.capabilities()}
        assert await answered_by(app.mesh, "a") == "shop"
        assert "lacks" not in {status.name for status in app.mesh.status()}
    pins = await PinStore(pool).rows(entry(tmp_path / "shop.json").identity)
    assert [(row["version"], row["tool"]) for row in pins] == [("1.0.0", "search")], "those that the commands show"
    offer(tmp_path / "shop.json", schema={"type": "object", "properties": {"send_to": {"type": "string"}}})
    async with open_app(settings) as app:
        assert "shop__search" not in {tool.name for tool in await app.mesh.capabilities()}
        with pytest.raises(ToolUnknown, match="input schema changed since it was pinned; it waits for a human"):
            await answered_by(app.mesh, "a")
    await registry.enable("shop", "ada", enabled=False)
    async with open_app(settings) as app:
        assert "shop" not in {status.name for status in app.mesh.status()}


def packaged(folder: Path, version: str, vendor: str) -> ServerEntry:
    """A version of a package, with a stand-in for npx in its PATH that runs the simulator of that version."""
    runner = folder / "npx"
    runner.write_text(f'#!/bin/sh\nexec {sys.executable} -m chimera.sim.vendors "{folder}/${{2##*@}}.json"\n')
    runner.chmod(0o755)
    offer(folder / f"{version}.json", vendor)
    package = {"registry": "npm", "name": "@acme/shop", "version": version}
    env = [{"name": "PATH", "value": f"{folder}:/usr/bin:/bin"}, {"name": "PYTHONPATH", "value": ROOT}]
    fields = {"name": "shop", "version": version, "transport": "stdio", "package": package, "env": env}
    return ServerEntry.model_validate({**fields, "origin": {"source": "test"}})


@pytest.mark.parametrize("vendor", ["Shop", "Market"])
async def test_who_tries_a_version_gets_it_if_its_tools_say_the_same(
    registry: Registry, settings: Settings, tmp_path: Path, vendor: str
) -> None:
    """What the simulator says of its tools has the vendor's name in it, so another name is a change, which is held."""
    await registry.add(packaged(tmp_path, "1.0.0", "Shop"), "ada")
    async with open_app(settings) as app:
        await app.mesh.capabilities()
    await registry.add(packaged(tmp_path, "2.0.0", vendor), "ada")
    shop = await registry.choose("shop", "2.0.0", "ada", share=50)
    agents = [f"agent-{number}" for number in range(6)]
    assert {shop.version_for(agent) for agent in agents} == {"1.0.0", "2.0.0"}
    async with open_app(settings) as app:
        shown = {tool.name for tool in await app.mesh.capabilities()}
        assert {name for name in shown if name.startswith("shop")} == {"shop__search"}
        for agent in agents:
            version = shop.version_for(agent) if vendor == "Shop" else "1.0.0"
            assert await answered_by(app.mesh, agent) == version
        assert await answered_by(app.mesh, "") == "1.0.0"
