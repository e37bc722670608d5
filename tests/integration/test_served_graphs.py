"""The served graphs in this process, as the LangGraph server calls them: copied for each request, with its own options.

Proves FR-58: the server's own repeats go on with a mission instead of starting it again, and a graph that is served
without its services says what langgraph.json lacks.
"""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from chimera.core.settings import Settings
from chimera.review.reviewers import SCRIPTED
from chimera.server.langgraph import agent, checkpointer, mission, review, team
from chimera.server.served import RunFailed
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of this test, where a server process reads its own."""
    assert settings.database_url
    assert settings.redis_url
    monkeypatch.setenv("CHIMERA_HOME", str(settings.home))
    monkeypatch.setenv("CHIMERA_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("CHIMERA_REDIS_URL", settings.redis_url.get_secret_value())
    return settings


async def test_a_repeated_run_goes_on_and_a_second_one_is_refused(served: Settings, feed: Path, pool: Pool) -> None:
    assert served.database_url
    place = str(uuid.uuid4())
    given: dict[str, Any] = {
        "mission": {"goal": "Find what is rising", "inputs": {"feed": str(feed)}},
        "approve_plan": True,
    }
    async with checkpointer() as saver:
        graph = mission.copy({"checkpointer": saver, "store": None})

        async def run(attempt: int) -> Any:
            config: RunnableConfig = {"configurable": {"thread_id": place}, "metadata": {"run_attempt": attempt}}
            return await graph.ainvoke(given, config, context={"settings": None}, durability="exit")

        asked = await run(1)
        with pytest.raises(RunFailed, match="CH702"):
            await run(1)
        again = await run(2)
    assert again["__interrupt__"] == asked["__interrupt__"]
    missions = MissionStore(pool, served.database_url.get_secret_value())
    assert (await missions.get(place))["status"] == "waiting"
    assert {row["plan_round"] for row in await missions.tasks(place)} == {1}


async def test_a_client_is_told_that_an_answer_is_not_its_authors_to_give(
    served: Settings, feed: Path, pool: Pool
) -> None:
    """With the code and the remedy; the question stays, and who may answers it. Proves FR-186 and FR-187."""
    given = {"mission": {"goal": "Find what is rising", "inputs": {"feed": str(feed)}}, "approve_plan": True}
    config: RunnableConfig = {"configurable": {"thread_id": str(uuid.uuid4())}}
    async with checkpointer() as saver:
        graph = mission.copy({"checkpointer": saver, "store": None})
        (asked,) = (await graph.ainvoke(given, config))["__interrupt__"]
        answer = {"action": "approve", "reviewer": "mallory"}
        for resume in (answer, {asked.id: answer}):
            with pytest.raises(RunFailed, match=r"CH500 'mallory' is not enrolled .* \| `chimera principal add"):
                await graph.ainvoke(Command(resume=resume), config)
        (still,) = (await graph.aget_state(config)).interrupts
        assert still.value == asked.value
        scripted = {"action": "reject", "reviewer": SCRIPTED, "reason": "no human is here"}
        ended = await graph.ainvoke(Command(resume={asked.id: scripted}), config)
    assert ended["result"]["status"] == "failed"
    assert SCRIPTED in ended["result"]["reasons"][0]


async def test_a_client_asks_no_question_of_chimeras_own(served: Settings) -> None:
    """Proves TR-107: a policy or an incident that a client makes up is no question."""
    item = {"id": str(uuid.uuid4()), "point": "policy", "question": "?", "confidence": 0.0}
    mission_id: Any
    for kind, mission_id in (("policy", str(uuid.uuid4())), ("incident", str(uuid.uuid4())), ("plan", None)):
        asked = {**item, "mission_id": mission_id, "payload": {"kind": kind}}
        async with checkpointer() as saver:
            graph = review.copy({"checkpointer": saver, "store": None})
            with pytest.raises(RunFailed, match="CH100"):
                await graph.ainvoke({"review_item": asked}, {"configurable": {"thread_id": str(uuid.uuid4())}})


async def test_a_planner_that_does_not_answer_is_told_as_what_it_is(
    served: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the code and the remedy of its own failure. Proves FR-46: its mission can go on."""

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await left.wait()
        writer.close()

    left = asyncio.Event()
    place = str(uuid.uuid4())
    config: RunnableConfig = {"configurable": {"thread_id": place}}
    async with await asyncio.start_server(hang, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        for name, value in {
            "MODELS": json.dumps({"planner": "openai:mute"}),
            "MODEL_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "MODEL_API_KEY": "sk-loopback",
            "MODEL_TIMEOUT_S": "0.3",
            "MODEL_RETRIES": "0",
        }.items():
            monkeypatch.setenv(f"CHIMERA_{name}", value)
        async with checkpointer() as saver:
            graph = mission.copy({"checkpointer": saver, "store": None})
            with pytest.raises(
                RunFailed, match=r"CH403 team [\w-]+: openai:mute did not answer within 0\.3 s \| Raise "
            ):
                await graph.ainvoke({"mission": {"goal": "Say hello"}}, config)
        left.set()
    missions = MissionStore(pool, str(served.database_url))
    assert (await missions.get(place))["status"] == "running"


@pytest.mark.parametrize("graph", [mission, team, agent, review])
async def test_without_services_a_run_says_what_is_missing(graph: Any) -> None:
    with pytest.raises(RunFailed, match=r"CH200 .*chimera\.server\.langgraph\.checkpointer"):
        await graph.copy({"store": None}).ainvoke(None, {"configurable": {"thread_id": str(uuid.uuid4())}})


def test_a_copy_is_served_as_well() -> None:
    copied = mission.copy({"name": "other"})
    assert (type(copied), copied.name, copied.accepts) == (type(mission), "other", mission.accepts)
    assert copied.services is mission.services
