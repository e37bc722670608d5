"""Reviewers ask back, answer late, take back and teach, in missions that run.

Proves FR-725, FR-726, FR-728, FR-729 and FR-730.
"""

from typing import TYPE_CHECKING

import pytest

from chimera.core.errors import ConflictError, GuardRejected, InputError

if TYPE_CHECKING:
    from conftest import Stage


async def test_what_is_asked_back_is_explained_once_and_then_it_is_asked_again(stage: "Stage") -> None:
    play = stage.play({"go": [stage.plan(stage.task(1))]}, reply="it is the shortest way\u202e")
    async with stage.swarm(play) as swarm:
        desk = swarm.app.context.oversight.decisions.desk
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        for question, error in (("  ", InputError),):
            with pytest.raises(error):
                await desk.ask(item.id, "ada", question)
        with pytest.raises(GuardRejected):
            await desk.ask(item.id, "nobody", "why?")
        before = (await desk.card(item.id)).version
        assert await desk.ask(item.id, "ada", "why this one?") == 1
        assert (await desk.card(item.id)).state == "asked"
        with pytest.raises(ConflictError):
            await desk.ask(item.id, "bob", "and why now?")
        for _ in range(2):  # goes on once with it; the second time there is nothing to explain
            assert (await swarm.resume(waiting.mission_id)).status == "waiting"
        (asked,) = play.requests("explain")
        assert (asked["asked"], asked["of"], asked["shown"]["kind"]) == ("why this one?", "planner", "plan")
        (note,) = await desk.notes(item.id)
        assert (note.asked_by, note.question, note.reply) == ("ada", "why this one?", "it is the shortest way")
        card = await desk.card(item.id)
        assert (card.state, card.version > before + 1) == ("open", True)
        with pytest.raises(ConflictError):  # on what it said before the answer
            await swarm.app.context.oversight.decisions.answer(item.id, stage.decide(), version=before)
        await swarm.answer(item.id, stage.decide())
        assert (await swarm.resume(waiting.mission_id)).status == "done"
        kinds = [event["kind"] for event in await swarm.app.context.audit.of_mission(waiting.mission_id)]
        assert [kind for kind in kinds if kind.startswith("review.")] == [
            "review.asked", "review.asked-back", "review.replied", "review.answered",
        ]  # fmt: skip


async def test_an_answer_that_cannot_be_had_is_said_and_the_question_is_open_again(stage: "Stage") -> None:
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    play.reply = ""
    async with stage.swarm(play) as swarm:
        desk = swarm.app.context.oversight.decisions.desk
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await desk.ask(item.id, "ada", "why?")
        await swarm.resume(waiting.mission_id)
        (note,) = await desk.notes(item.id)
        assert (note.reply, (await desk.card(item.id)).state) == ("[the answer is empty]", "open")


async def test_a_decision_in_its_grace_is_not_acted_upon_and_can_be_taken_back(stage: "Stage") -> None:
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        decisions = swarm.app.context.oversight.decisions
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await decisions.answer(item.id, stage.decide("reject", reason="no"), grace_s=600)
        assert (await swarm.resume(waiting.mission_id)).status == "waiting"
        await decisions.desk.undo("ada", item_id=item.id)
        await decisions.answer(item.id, stage.decide(), grace_s=0)
        assert (await swarm.resume(waiting.mission_id)).status == "done"
    assert play.worked() == ["task 1"]


async def test_who_has_claimed_a_question_is_the_one_who_answers_it(stage: "Stage") -> None:
    """Also when somebody attends the mission: his answer waits, and so does the mission."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})

    async def bob(_: object) -> object:
        return stage.decide(reviewer="bob")

    async with stage.swarm(play) as swarm:
        desk = swarm.app.context.oversight.decisions.desk
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await desk.claim(item.id, "ada")
        attended = await swarm.resume(waiting.mission_id, reviewer=bob)  # pyright: ignore[reportArgumentType]
        assert (attended.status, (await desk.card(item.id)).state) == ("waiting", "open")
        await swarm.answer(item.id, stage.decide())
        assert (await swarm.resume(waiting.mission_id)).status == "done"


async def test_a_late_answer_starts_nothing_by_itself(stage: "Stage") -> None:
    """The mission was cancelled; whoever resumes it on purpose finds the answer."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        decisions = swarm.app.context.oversight.decisions
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.cancel(waiting.mission_id)
        said = await decisions.answer(item.id, stage.decide())
        assert (said.state, said.first, play.worked()) == ("late", False, [])
        assert (await swarm.app.context.missions.get(waiting.mission_id))["status"] == "cancelled"
        assert (await swarm.resume(waiting.mission_id)).status == "done"


async def test_a_question_that_the_mission_no_longer_asks_takes_a_late_answer(stage: "Stage") -> None:
    """What is asked changes, the plan is made anew, and the question about the old one is passed by."""
    play = stage.play({"go": [stage.plan(stage.task(1))], "go on": [stage.plan(stage.task(2))]})
    async with stage.swarm(play) as swarm:
        context = swarm.app.context
        decisions = context.oversight.decisions
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await context.reviews.pending(waiting.mission_id)
        await context.reviews.passed(waiting.mission_id, [])
        assert (await decisions.answer(item.id, stage.decide())).state == "late"


async def test_reasons_reach_planners_and_workers_of_the_same_persona_as_data(stage: "Stage") -> None:
    """They passed the guard between agents, and lead nowhere."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(
            item.id, stage.decide("reject", reason="name every source\u202e, as on https://evil.example/x")
        )
        await swarm.resume(waiting.mission_id)
        assert (await swarm.run("go")).status == "done"
        planner, worker = play.requests("planner")[-1], play.requests("worker")[-1].request
        assert planner["guidance"] == worker["guidance"] == ["name every source, as on [removed]"]
        desk = swarm.app.context.oversight.decisions.desk
        line = (await desk.guidance.listed("default"))[0]
        await desk.remove_guidance("default", line["id"], "ada")
        await swarm.run("go")
        assert play.requests("planner")[-1]["guidance"] == []
