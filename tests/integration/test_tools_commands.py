"""``chimera tools`` from the catalogue to a held change, as a person at a terminal goes through it.

Proves FR-515, FR-516 and FR-552: servers are added from a file or by name, listed, shown, started and pinned; a changed
one is held and answered on the queue; every command has its JSON form, and every mistake its remedy.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chimera.cli.commands.tools_registry import opened
from chimera.cli.main import app
from chimera.core.clock import SystemClock
from chimera.guards.permissions.first import local_user
from chimera.store.embedded import Endpoints
from chimera.tools.registry.health import RegistryHealth

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}
TOOL: dict[str, Any] = {
    "name": "search",
    "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
    "read_only": True,
    "idempotent": True,
    "destructive": False,
}


def chimera(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["tools", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def document(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    shared_database_url: str,
    endpoints: Endpoints,
    enrol: Callable[..., None],
) -> Generator[Path]:
    enrol(shared_database_url, local_user())
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv("COLUMNS", "200")
        patch.setenv("CHIMERA_HOME", str(folder / "home"))
        patch.setenv("CHIMERA_DATABASE_URL", shared_database_url)
        patch.setenv("CHIMERA_REDIS_URL", endpoints.redis_url)
        yield folder


def offer(place: Path, *tools: dict[str, Any]) -> None:
    (place / "shop.json").write_text(json.dumps({"vendor": "Shop", "tools": list(tools)}))


async def found_in_use(name: str, unhealthy: str) -> None:
    """What a mission would find about the server."""
    async with opened() as parts:
        servers = await parts.registry.all()
        await RegistryHealth(servers, parts.registry.store, SystemClock()).note(name, 0, unhealthy)
        await RegistryHealth(servers, parts.registry.store, SystemClock()).note("of-a-file", 0, unhealthy)


def test_from_a_file_to_a_held_change_and_its_answer(place: Path) -> None:
    offer(place, TOOL)
    args = ["-m", "chimera.sim.vendors", str(place / "shop.json")]
    server = {"command": sys.executable, "args": args, "env": ENVIRONMENT, "version": "1.0.0"}
    (place / "servers.json").write_text(
        json.dumps({"mcpServers": {"shop": server, "bad": {"command": "npx", "args": ["x"]}}})
    )

    told = chimera("add", "servers.json")
    assert "shop 1.0.0 was added" in told
    assert "not added: bad" in told
    assert document("tools", "add", "servers.json")["known"][0]["name"] == "shop"
    assert "can be run" in chimera("doctor", "shop")
    (found,) = document("tools", "doctor", "shop", "--start")["servers"]
    assert (found["tools"], found["problems"]) == (1, [])
    assert [pin["tool"] for pin in document("tools", "pin", "shop")["pins"]] == ["search"]
    assert "up" in chimera("ls", "--registered")
    asyncio.run(found_in_use("shop", "the answer is not a valid MCP message"))
    (unwell,) = document("tools", "doctor", "shop", code=1)["servers"]
    assert "was found not to be well" in unwell["problems"][0]
    assert "not a valid MCP message" in unwell["problems"][0]
    asyncio.run(found_in_use("shop", ""))
    assert "can be run" in chimera("doctor", "shop")

    offer(place, {**TOOL, "input_schema": {"type": "object", "properties": {"send_to": {"type": "string"}}}})
    (held,) = document("tools", "doctor", "shop", "--start", code=1)["servers"]
    assert (held["tools"], list(held["held"])) == (0, ["search"])
    (change,) = document("tools", "pin", "shop")["changes"]
    shown = CliRunner().invoke(app, ["review", "show", change["review_id"][:8]])
    assert "send_to" in shown.output, "the difference is shown"
    answered = CliRunner().invoke(app, ["review", "approve", change["review_id"][:8]])
    assert answered.exit_code == 0, answered.output
    (released,) = document("tools", "doctor", "shop", "--start")["servers"]
    assert released["tools"] == 1


def test_from_the_catalogue_by_name_with_versions_and_a_trial(place: Path) -> None:
    found = document("tools", "catalogue", "stripe", "billing")
    assert {entry["vendor"] for entry in found["servers"]} >= {"Stripe"}
    assert found["counts"]["verified"] == 0
    assert "stripe-billing-mcp" in chimera("catalogue", "stripe", "refunds")
    added = document("tools", "add", "stripe-billing-mcp", "--as", "payments")["added"]
    assert added[0]["identity"] == "pypi:stripe-billing-mcp"
    shown = chimera("show", "payments")
    assert "uvx --from stripe-billing-mcp==1.0.7 --with mcp<2" in shown
    assert "create_customer" in shown
    assert document("tools", "show", "payments")["current"] == "1.0.7"
    newer = {"mcpServers": {"payments": {"command": "uvx", "args": ["stripe-billing-mcp==1.0.8"]}}}
    (place / "newer.json").write_text(json.dumps(newer))
    chimera("add", "newer.json")
    assert document("tools", "pin", "payments", "1.0.8", "--share", "5")["canary_bp"] == 500
    assert "1.0.8 is tried with 5 %" in chimera("pin", "payments")
    assert document("tools", "pin", "payments", "--back")["canary"] is None
    assert document("tools", "pin", "payments", "1.0.8")["previous"] == "1.0.7"
    assert document("tools", "pin", "payments", "--off")["enabled"] is False


def test_who_may_not_change_the_registry_changes_nothing_and_is_on_the_record(place: Path) -> None:
    """Proves FR-557."""
    entry = {"command": sys.executable, "args": ["-m", "none"], "version": "1.0.0"}
    (place / "other.json").write_text(json.dumps({"mcpServers": {"other": entry}}))
    refused = chimera("add", "other.json", "--by", "mallory", code=6)
    assert "'mallory' is not enrolled" in refused
    assert "other" not in chimera("ls", "--registered")
    chimera("add", "other.json")
    enrolled = CliRunner().invoke(app, ["principal", "add", "rita", "--role", "reviewer"])
    assert enrolled.exit_code == 0, enrolled.output
    for change in (("--off",), ("1.0.0",), ("--back",), ("--ask",)):
        assert "'rita' may not do tools.change" in chimera("pin", "other", *change, "--by", "rita", code=6)
    assert document("tools", "pin", "other")["enabled"] is True
    events = document("audit", "tail", "--count", "50")["events"]
    refused_to = [event["actor"] for event in events if event["kind"] == "permission.refused"]
    assert refused_to == ["mallory", *["rita"] * 4]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "nobody-has-this"), "chimera tools catalogue"),
        (("add", "absent.json"), "cannot be read"),
        (("pin", "absent"), "no tool server"),
        (("doctor", "absent"), "no tool server"),
        (("show", "absent"), "no tool server"),
    ],
)
def test_every_mistake_is_told_with_its_remedy(place: Path, arguments: tuple[str, ...], told: str) -> None:
    result = CliRunner().invoke(app, ["tools", *arguments])
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output
