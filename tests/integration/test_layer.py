"""MCPIntegrationLayer: tools are found and called from Python, through the guards of agents' calls.

Proves FR-518 and FR-519, on real servers and a real database, and that the agents of missions go through the same door.
"""

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

import chimera
from chimera import ChimeraError, MCPIntegrationLayer, Mission, ReviewDecision, ReviewItem
from chimera.app import open_app
from chimera.core.errors import (
    CallWaits,
    ConflictError,
    GuardRejected,
    InputError,
    ToolRefused,
    ToolServerDown,
    ToolUnknown,
)
from chimera.core.settings import Settings
from chimera.swarm import ChimeraSwarm
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.toolbox import Toolbox

LEDGER = Path(__file__).parent.parent / "servers" / "ledger.py"


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    return tmp_path / "effects.jsonl"


@pytest.fixture
def with_ledger(settings: Settings, tmp_path: Path, effects: Path, database_url: str, enrol: Any) -> Settings:
    enrol(database_url, "ada")
    servers = tmp_path / "servers.json"
    ledger = {"command": sys.executable, "args": ["-I", "-S", str(LEDGER), str(effects)]}
    dead = {"command": sys.executable, "args": ["-c", "raise SystemExit(3)"]}
    servers.write_text(json.dumps({"mcpServers": {"ledger": ledger, "dead": dead}}), "utf-8")
    return settings.model_copy(update={"servers": servers})


@pytest.fixture
def ledger_alone(with_ledger: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Without the servers of Chimera itself, which would take a second to start."""

    def none(_settings: Settings) -> list[Any]:
        return []

    monkeypatch.setattr("chimera.app.first_party", none)
    return with_ledger


def written(effects: Path) -> list[str]:
    lines = effects.read_text("utf-8").splitlines() if effects.exists() else []
    return [json.loads(line)["tool"] for line in lines]


async def yes(item: ReviewItem) -> ReviewDecision:
    return ReviewDecision(action="approve", reviewer="ada", reason="fine")


async def test_a_tool_is_found_called_guarded_and_on_the_record(
    with_ledger: Settings, feed: Path, effects: Path
) -> None:
    async with MCPIntegrationLayer(with_ledger) as layer:
        first, *_ = found = await layer.discover_capabilities("What is rising in a feed of posts?", k=3)
        assert first.name == "trends__analyze_trends"
        assert len(found) <= 3
        assert (first.server, first.read_only, first.is_known) == ("trends", True, True)
        result = await layer.execute_capability(first, {"source": str(feed)})
        assert "comet" in json.dumps(result.data)
        assert result.evidence

        result = await layer.execute_capability("ledger__note", {"text": "to be remembered"})
        assert (result.text, written(effects)) == ("note: written", ["note"])
        (row, _) = await layer.app.context.missions.newest("default", 2)
        trail = [event["kind"] for event in await layer.app.context.audit.of_mission(str(row["id"]))]
        assert row["status"] == "done"
        assert trail.count("guard.decision") == 3
        assert {"mission.started", "mission.finished"} <= set(trail)
        journal = await layer.app.context.effects.journaled(str(row["id"]), "ledger__note")
        assert len(journal) == 1


async def test_what_may_destroy_waits_for_a_human_and_is_made_once(ledger_alone: Settings, effects: Path) -> None:
    call = str(uuid.uuid4())
    async with open_app(ledger_alone) as app:
        layer = MCPIntegrationLayer.on(app)
        with pytest.raises(CallWaits):
            await layer.execute_capability("ledger__wipe", {"text": "all"}, call_id=call)
        with pytest.raises(CallWaits) as waits:
            await layer.execute_capability("ledger__wipe", {"text": "all"}, call_id=call)
        assert waits.value.context["call"] == call
        assert written(effects) == []
        (item,) = await app.context.reviews.of_mission(call)
        assert str(item["id"]) == waits.value.context["review"]
        await app.context.oversight.decisions.answer(
            str(item["id"]), ReviewDecision(action="approve", reviewer="ada", reason="")
        )
        result = await layer.execute_capability("ledger__wipe", {"text": "all"}, call_id=call)
        assert result.text == "wipe: written"
        assert (await layer.execute_capability("ledger__wipe", {"text": "all"}, call_id=call)) == result
        assert written(effects) == ["wipe"]
        with pytest.raises(ConflictError):
            await layer.execute_capability("ledger__wipe", {"text": "nothing"}, call_id=call)

        asked = MCPIntegrationLayer.on(app, reviewer=yes)
        assert (await asked.execute_capability("ledger__wipe", {"text": "more"})).text == "wipe: written"


async def test_the_command_to_resume_goes_on_with_a_call(ledger_alone: Settings, effects: Path) -> None:
    call = str(uuid.uuid4())
    async with open_app(ledger_alone) as app:
        with pytest.raises(CallWaits):
            await MCPIntegrationLayer.on(app).execute_capability("ledger__wipe", {"text": "all"}, call_id=call)
        result = await ChimeraSwarm.on(app).resume(call, reviewer=yes)
    assert (result.status, written(effects)) == ("done", ["wipe"])


@pytest.mark.parametrize(
    ("tool", "params", "kind", "said"),
    [
        ("ledger__nothing", {}, ToolUnknown, "no server offers"),
        ("dead__tool", {}, ToolServerDown, "does not run"),
        ("nobody__tool", {}, ToolUnknown, "no server offers"),
        ("no tool at all", {}, InputError, "no tool's name"),
        ("ledger__look", {"text": float("nan")}, InputError, "plain JSON"),
        ("ledger__look", {"text": 3}, GuardRejected, "is not of type 'string'|string"),
        ("ledger__refuse", {"text": "x"}, ToolRefused, "the ledger is closed"),
    ],
)
async def test_what_cannot_be_called_says_why(
    ledger_alone: Settings, tool: str, params: dict[str, Any], kind: type[ChimeraError], said: str
) -> None:
    async with MCPIntegrationLayer(ledger_alone) as layer:
        with pytest.raises(kind, match=said):
            await layer.execute_capability(tool, params)


async def test_a_search_needs_words_and_bounds(ledger_alone: Settings) -> None:
    async with MCPIntegrationLayer(ledger_alone) as layer:
        for query, k, risk in ((" ", 5, "high"), ("post", 0, "high"), ("post", 51, "high"), ("post", 5, "any")):
            with pytest.raises(InputError):
                await layer.discover_capabilities(query, k, max_risk=risk)


async def test_who_may_not_call_a_tool_does_not_find_it(with_ledger: Settings) -> None:
    async with MCPIntegrationLayer(with_ledger) as layer:
        assert await layer.discover_capabilities("look at a text of the ledger", for_agent="a stranger") == []
        found = await layer.discover_capabilities("look at a text of the ledger", for_agent="agent:team-1/1/t1/1")
        assert "ledger__look" in {tool.name for tool in found}
        assert "dead__tool" not in {tool.name for tool in found}


async def test_every_call_of_a_missions_agents_goes_through_the_door_and_its_guards(
    settings: Settings, feed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, list[str]] = {"door": [], "mesh": []}
    for kind, place in ((Toolbox, "door"), (ToolMesh, "mesh")):

        async def call(self: Any, name: str, *args: Any, was: Any = kind.call, at: str = place, **more: Any) -> Any:
            made[at].append(name)
            return await was(self, name, *args, **more)

        monkeypatch.setattr(kind, "call", call)
    async with ChimeraSwarm(settings) as swarm:
        mission = Mission(goal="Find what is rising and write a short briefing", inputs={"feed": str(feed)})
        result = await swarm.run(mission)
        trail = await swarm.app.context.audit.of_mission(result.mission_id)
    assert result.status == "done"
    assert made["door"] == made["mesh"] == ["trends__analyze_trends", "files__write_artifact"]
    judged = [event["data"] for event in trail if event["kind"] == "guard.decision"]
    assert [data["capability"] for data in judged if data.get("edge") == "tool_call"] == made["mesh"]


def test_nothing_else_of_the_product_calls_the_mesh() -> None:
    package = Path(chimera.__file__).parent
    callers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "bench" not in path.parts and "mesh.call(" in path.read_text("utf-8")
    }
    assert callers == {"tools/toolbox.py"}
