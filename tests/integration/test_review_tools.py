"""Tools that may destroy: each call is put to a human, an approved one happens once, a rejected one never."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.errors import UnknownInterruptError
from langgraph.types import Command

from chimera import ChimeraSwarm, Mission, ReviewDecision, ReviewItem
from chimera.core.contracts import Threat
from chimera.core.errors import InputError
from chimera.guards.request import Edge, GuardRequest, reject

if TYPE_CHECKING:
    from conftest import Play, Stage, Turn


def wiping(stage: "Stage", *texts: str) -> "Play":
    """A mission of one task that wipes each of ``texts``, one call a turn, and then says what it was told."""

    def work(turn: "Turn") -> Any:
        done = len(turn.results)
        return stage.use("ledger__wipe", texts[done]) if done < len(texts) else str(turn.results)

    task = stage.task(1, tools=["ledger__wipe"], limits={"ledger__wipe": len(texts)})
    return stage.play({"go": [stage.plan(task)]}, work)


async def asked(swarm: ChimeraSwarm, mission_id: str) -> list[tuple[str, ReviewItem]]:
    """The open interrupts of a mission by id, in the order in which they are shown."""
    snapshot = await swarm.app.mission.aget_state(_place(mission_id))
    return [(found.id, ReviewItem.model_validate(found.value)) for found in snapshot.interrupts]


async def resume_with(swarm: ChimeraSwarm, mission_id: str, answers: dict[str, Any]) -> None:
    """Answer interrupts as any client of LangGraph does."""
    await swarm.app.mission.ainvoke(Command(resume=answers), _place(mission_id), context=swarm.app.context)


def _place(mission_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": mission_id}, "recursion_limit": 200}


async def test_nothing_is_destroyed_before_a_human_agreed(stage: "Stage") -> None:
    """The question shows the very call; after a restart and an approval it happens, once.

    Proves FR-78, FR-39, TR-16 and LAW-9.
    """
    play = wiping(stage, "all")
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        assert (waiting.status, stage.effects()) == ("waiting", [])
        assert (await swarm.resume(waiting.mission_id)).status == "waiting"
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
    assert item.payload["capability"] == "ledger__wipe"
    assert item.payload["arguments"] == {"text": "all"}
    async with stage.swarm(play, ledger=True) as swarm:
        await swarm.answer(item.id, stage.decide())
        result = await swarm.resume(waiting.mission_id)
        assert (await swarm.resume(waiting.mission_id)) == result
        trail = await swarm.app.context.audit.of_mission(result.mission_id)
    assert result.status == "done"
    assert [effect["text"] for effect in stage.effects()] == ["all"]
    assert len(play.worked()) == 2  # one turn before the question, one after the answer
    kinds = [(event["kind"], event["actor"]) for event in trail if event["kind"].startswith("review")]
    assert kinds == [("review.asked", "review"), ("review.answered", "ada")]


async def test_a_rejected_call_never_happens(stage: "Stage") -> None:
    """The agent is told why, as data, and goes on. Proves FR-78 and FR-40."""
    play = wiping(stage, "all")
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide("reject", reason="still needed"))
        result = await swarm.resume(waiting.mission_id)
    assert result.status == "done"
    assert stage.effects() == []
    assert "reject by ada: still needed" in result.answer


@pytest.mark.parametrize("of_pool", [False, True])
async def test_an_approved_call_of_an_agent_that_is_quarantined_by_now_does_not_happen(
    stage: "Stage", of_pool: bool, database_url: str, enrol: Callable[..., None]
) -> None:
    """Between the question and the approval it was caught, or its pool was. Proves FR-191 and FR-119."""
    enrol(database_url, "ada")
    play = wiping(stage, "all")
    caught = reject("flow.exfiltration", "caught", Threat.CRITICAL)
    async with stage.swarm(play, ledger=True, database_url=database_url, incident_pool_limit=1) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        before = await swarm.app.context.audit.of_mission(waiting.mission_id)
        (asking,) = [event["actor"] for event in before if event["data"].get("edge") == "tool_call"]
        for agent in ("agent:x", "agent:y") if of_pool else (asking,):
            request = GuardRequest(Edge.TOOL_CALL, {}, waiting.mission_id, Mission(goal="go"), agent_id=agent)
            await swarm.app.context.oversight.incidents.opened(caught, request, agent)
        await swarm.answer(item.id, stage.decide())
        await swarm.resume(waiting.mission_id)
        trail = await swarm.app.context.audit.of_mission(waiting.mission_id)
    assert stage.effects() == []
    guarded = [event["data"] for event in trail if event["kind"] == "guard.decision"]
    decided = [decision for decision in guarded if decision["edge"] == "tool_call"]
    # The agent may not even ask its model any more; another one that takes the task over begins with the same question.
    assert [decision["action"] for decision in decided] == ["escalate", "reject", *([] if of_pool else ["escalate"])]
    assert "incident.quarantine" in decided[1]["rules"]


async def test_what_a_policy_forbids_by_now_an_approval_does_not_allow(stage: "Stage") -> None:
    """The budget was used up while the human thought. Proves FR-191."""
    play = wiping(stage, "all")
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide())
    async with stage.swarm(play, ledger=True, max_tokens=1) as swarm:
        await swarm.resume(waiting.mission_id)
        trail = await swarm.app.context.audit.of_mission(waiting.mission_id)
    assert stage.effects() == []
    guarded = [event["data"] for event in trail if event["kind"] == "guard.decision"]
    decided = [decision for decision in guarded if decision["edge"] == "tool_call"]
    assert [decision["action"] for decision in decided] == ["escalate", "reject"]
    assert "budget.used-up" in " ".join(decided[1]["reasons"])


async def test_an_edited_call_happens_as_the_human_wrote_it(stage: "Stage") -> None:
    """It passes the guards again, is not asked again, and the record and the agent know who changed it.

    Proves FR-40, FR-78 and FR-35.
    """
    play = wiping(stage, "all")
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        edit = stage.decide("edit", reason="only that", payload={"arguments": {"text": "a little"}})
        await swarm.answer(item.id, edit)
        result = await swarm.resume(waiting.mission_id)
        trail = await swarm.app.context.audit.of_mission(waiting.mission_id)
        (row,) = await swarm.app.context.reviews.of_mission(waiting.mission_id)
    assert result.status == "done"
    assert [effect["text"] for effect in stage.effects()] == ["a little"]
    (told,) = play.requests("worker")[-1].results
    assert (told["called_with"], told["because"]) == ({"text": "a little"}, "edit by ada: only that")
    steps = [
        (event["kind"], event["actor"] if event["kind"] == "review.answered" else "", event["data"].get("action"))
        for event in trail
        if event["kind"].startswith("review") or event["data"].get("edge") == "tool_call"
    ]
    assert steps == [
        ("guard.decision", "", "escalate"),
        ("review.asked", "", None),
        ("review.answered", "ada", "edit"),
        ("guard.decision", "", "escalate"),
    ]
    guarded = [event["data"]["payload"] for event in trail if event["data"].get("edge") == "tool_call"]
    answered = next(event["data"] for event in trail if event["kind"] == "review.answered")
    assert guarded[0] != guarded[1] == answered["payload"]
    assert row["decision"]["payload"] == {"arguments": {"text": "a little"}}


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"arguments": {}}, "do not fit ledger__wipe: the whole violates required: 'text' is a required property"),
    ({"arguments": {"text": 5}}, 'text violates type "string"'),
    ({"arguments": {"text": "a", "force": True}}, "unknown argument 'force'"),
    ({"arguments": "all"}, "needs its arguments"),
    ({"text": "a"}, "needs its arguments"),
    ({"capability": "ledger__note", "arguments": {"text": "a"}}, "calls no other tool"),
]


async def test_an_edit_that_does_not_fit_the_tool_is_told_what_is_wrong(stage: "Stage") -> None:
    """Whoever gives it, and the question stays as it was. Proves FR-40, TR-17 and FR-78."""
    async with stage.swarm(wiping(stage, "all"), ledger=True) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        for payload, why in UNFIT:
            edit = stage.decide("edit", payload=payload)
            with pytest.raises(InputError, match=re.escape(why)):
                await swarm.answer(item.id, edit)
            ((name, _),) = await asked(swarm, waiting.mission_id)
            await resume_with(swarm, waiting.mission_id, {name: edit.plain()})

            async def reviewer(_: ReviewItem, answer: ReviewDecision = edit) -> ReviewDecision:
                return answer

            with pytest.raises(InputError, match=re.escape(why)):
                await swarm.resume(waiting.mission_id, reviewer=reviewer)
        assert (await swarm.resume(waiting.mission_id)).status == "waiting"
        assert await swarm.app.context.reviews.pending(waiting.mission_id) == [item]
    assert stage.effects() == []


async def test_an_edit_goes_no_way_around_the_guards(stage: "Stage") -> None:
    """A location that the user did not name is rejected, whoever wrote it. Proves FR-79 and FR-40."""
    play = wiping(stage, "all")
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide("edit", payload={"arguments": {"text": "/etc/passwd"}}))
        result = await swarm.resume(waiting.mission_id)
    assert result.status == "done"
    assert stage.effects() == []
    assert "edit by ada" in result.answer
    assert "the user named no such file or URL" in result.answer


async def test_what_the_guards_change_in_an_edit_is_asked_again(stage: "Stage") -> None:
    """What happens is what a human saw. Proves FR-40, FR-78 and FR-80."""
    async with stage.swarm(wiping(stage, "all"), ledger=True) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide("edit", payload={"arguments": {"text": "a\u200b little"}}))
        assert (await swarm.resume(waiting.mission_id)).status == "waiting"
        (again,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        assert again.payload["arguments"] == {"text": "a little"}
        assert again.id != item.id
        assert stage.effects() == []
        await swarm.answer(again.id, stage.decide())
        assert (await swarm.resume(waiting.mission_id)).status == "done"
    assert [effect["text"] for effect in stage.effects()] == ["a little"]


async def test_an_approval_is_for_one_call_only(stage: "Stage") -> None:
    """Two calls of one agent, one after the other; the first is approved and the second rejected.

    Proves FR-78 and TR-16: answers come as any client of LangGraph sends them, without the name of the item.
    """
    play = wiping(stage, "one", "two", "three")
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        for text, action in (("one", "approve"), ("two", "reject"), ("three", "approve")):
            ((name, item),) = await asked(swarm, waiting.mission_id)
            assert item.payload["arguments"] == {"text": text}
            await resume_with(swarm, waiting.mission_id, {name: stage.decide(action).plain()})
        result = await swarm.resume(waiting.mission_id)
    assert result.status == "done"
    assert [effect["text"] for effect in stage.effects()] == ["one", "three"]


async def test_an_answer_that_is_sent_twice_opens_nothing_else(stage: "Stage") -> None:
    """A client repeats its approval of the first call while the second one is asked. Proves FR-41, FR-78 and TR-16."""
    async with stage.swarm(wiping(stage, "one", "two"), ledger=True) as swarm:
        waiting = await swarm.run("go")
        ((first, _),) = await asked(swarm, waiting.mission_id)
        answer = {first: stage.decide().plain()}
        await resume_with(swarm, waiting.mission_id, answer)
        ((second, item),) = await asked(swarm, waiting.mission_id)
        with suppress(UnknownInterruptError):  # LangGraph may say that nobody asks this any more
            await resume_with(swarm, waiting.mission_id, answer)
        assert await asked(swarm, waiting.mission_id) == [(second, item)]
    assert [effect["text"] for effect in stage.effects()] == ["one"]


async def test_garbage_calls_nothing(stage: "Stage") -> None:
    """Proves TR-17 and FR-78: what is no decision leaves the question, and the next real answer counts."""
    async with stage.swarm(wiping(stage, "all"), ledger=True) as swarm:
        waiting = await swarm.run("go")
        answers: list[Any] = ["approve", {"action": "approve"}, {**stage.decide().plain(), "item_id": "another"}]
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        for answer in answers:
            ((name, _),) = await asked(swarm, waiting.mission_id)
            await resume_with(swarm, waiting.mission_id, {name: answer})
            assert stage.effects() == []
        ((name, still),) = await asked(swarm, waiting.mission_id)
        assert still == item
        await resume_with(swarm, waiting.mission_id, {name: stage.decide().plain()})
    assert [effect["text"] for effect in stage.effects()] == ["all"]


async def test_one_of_two_agents_is_answered(stage: "Stage") -> None:
    """The answered agent ends its task; the other one waits, also when it is resumed. Proves FR-39, TR-16 and TR-17."""

    def work(turn: "Turn") -> Any:
        return f"{turn.task}: done" if turn.results else stage.use("ledger__wipe", turn.task)

    plan = stage.plan(*(stage.task(number, tools=["ledger__wipe"]) for number in (1, 2)), stage.task(3, tools=[]))
    play = stage.play({"go": [plan]}, lambda turn: turn.task if turn.task == "task 3" else work(turn))
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        items = {item.payload["arguments"]["text"]: item for _, item in await asked(swarm, waiting.mission_id)}
        assert sorted(items) == ["task 1", "task 2"]
        await swarm.answer(items["task 2"].id, stage.decide())
        assert (await swarm.resume(waiting.mission_id)).status == "waiting"
        assert [effect["text"] for effect in stage.effects()] == ["task 2"]
        assert play.worked().count("task 2") == 2
        assert (await swarm.resume(waiting.mission_id)).status == "waiting"
        await swarm.answer(items["task 1"].id, stage.decide("reject"))
        result = await swarm.resume(waiting.mission_id)
    assert result.status == "done"
    assert [effect["text"] for effect in stage.effects()] == ["task 2"]
    assert sorted(play.worked()) == ["task 1", "task 1", "task 2", "task 2", "task 3"]


async def test_two_calls_of_one_turn_are_two_questions(stage: "Stage") -> None:
    """Also under the same id: one is let through, one is not. The very same call again is no question. Proves FR-78."""

    def work(turn: "Turn") -> Any:
        if turn.results:
            return "ok"
        message = stage.use("ledger__wipe", "all", ("ledger__wipe", "more"), ("ledger__wipe", "all"))
        for call in message.tool_calls:
            call["id"] = "0"
        return message

    answers = iter(["approve", "reject"])

    async def reviewer(_: ReviewItem) -> ReviewDecision:
        return stage.decide(next(answers))

    task = stage.task(1, tools=["ledger__wipe"], limits={"ledger__wipe": 3})
    async with stage.swarm(stage.play({"go": [stage.plan(task)]}, work), ledger=True, reviewer=reviewer) as swarm:
        result = await swarm.run("go")
    assert result.status == "done"
    assert [effect["text"] for effect in stage.effects()] == ["all"]
    assert next(answers, None) is None


async def test_a_model_that_counts_its_calls_from_nought_each_turn_keeps_its_conversation(stage: "Stage") -> None:
    """Every turn sees the results of all turns before it. Proves FR-9: nothing is lost within a task."""
    play = stage.play({"go": [stage.plan(stage.task(1, tools=["ledger__look", "ledger__note"]))]})
    play.work = stage.steps("ledger__look", "ledger__note", "ledger__look")
    async with stage.swarm(play, ledger=True) as swarm:
        result = await swarm.run("go")
    assert result.status == "done"
    assert [len(turn.results) for turn in play.requests("worker")] == [0, 1, 2, 3]
    assert [effect["tool"] for effect in stage.effects()] == ["note"]


async def test_an_effect_is_on_record_before_it_is_sent(stage: "Stage", monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves LAW-4: when the call leaves, its key is in the journal, and no question follows it in its step."""
    seen: list[tuple[str, str]] = []
    play = wiping(stage, "all")
    async with stage.swarm(play, ledger=True) as swarm:
        mesh, pool = swarm.app.mesh, swarm.app.pool
        real = mesh.call

        async def watched(name: str, arguments: dict[str, Any], **options: Any) -> Any:
            async with pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT capability, state FROM effects WHERE key = %s", (options["idempotency_key"],)
                )
                row = await cursor.fetchone()
            seen.append((row["capability"], row["state"]) if row else ("", ""))
            return await real(name, arguments, **options)

        monkeypatch.setattr(mesh, "call", watched)
        waiting = await swarm.run("go")
        assert seen == []
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide())
        assert (await swarm.resume(waiting.mission_id)).status == "done"
    assert seen == [("ledger__wipe", "begun")]
    (effect,) = stage.effects()
    assert effect["scope"] == waiting.mission_id
