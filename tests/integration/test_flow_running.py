"""Who runs a mission, how it is watched, and how it is stopped: in one process, by another swarm, and as a stream."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from chimera import ChimeraSwarm, Mission, MissionResult, sync
from chimera.core.contracts import Event
from chimera.core.errors import (
    ConflictError,
    GoalInvalid,
    InputError,
    MissionBusy,
    MissionNotFound,
    StoreUnavailable,
)
from chimera.core.settings import Settings

if TYPE_CHECKING:
    from conftest import Stage, Turn

PATIENCE_S = 20


class Desk:
    """Where task 2 of a mission of three stops until the test lets it go on."""

    def __init__(self, stage: "Stage") -> None:
        self.at_work, self.go_on = asyncio.Event(), asyncio.Event()
        self.play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1), stage.task(3, 2))]}, self.work)

    async def work(self, turn: "Turn") -> str:
        """Do a task."""
        if turn.task == "task 2":
            self.at_work.set()
            await self.go_on.wait()
        return f"{turn.task}: done"

    async def start(self, swarm: ChimeraSwarm) -> tuple[str, "asyncio.Task[MissionResult]"]:
        """The mission, at work in task 2."""
        mission_id = swarm.app.context.new_id()
        running = asyncio.create_task(swarm.run("go", mission_id=mission_id))
        async with asyncio.timeout(PATIENCE_S):
            await self.at_work.wait()
        return mission_id, running


# --- one at a time ---------------------------------------------------------------------------------------------------


async def test_a_mission_is_run_by_one_at_a_time(stage: "Stage") -> None:
    """A second one is refused with CH703 and changes nothing: not the deadline, not a request to cancel.

    Proves FR-28.
    """
    desk = Desk(stage)
    async with stage.swarm(desk.play) as swarm, stage.swarm(desk.play) as other:
        mission_id, running = await desk.start(swarm)
        before = await other.app.context.missions.get(mission_id)
        checkpoint = (await other.history(mission_id))[0]
        with pytest.raises(MissionBusy):
            await other.resume(mission_id, deadline_s=50_000)
        with pytest.raises(MissionBusy):
            await other.replay(mission_id, checkpoint.id)
        with pytest.raises(ConflictError):
            await other.run("go", mission_id=mission_id)
        assert await other.app.context.missions.get(mission_id) == before
        desk.go_on.set()
        assert (await running).status == "done"
        assert await other.resume(mission_id) == await running
    assert desk.play.worked() == ["task 1", "task 2", "task 3"]


async def test_who_loses_the_hold_stops(stage: "Stage") -> None:
    """The connection that holds the mission is cut. Its process stops, and another one does the rest. Proves FR-28."""
    desk = Desk(stage)
    async with stage.swarm(desk.play) as swarm, stage.swarm(desk.play) as other:
        mission_id, running = await desk.start(swarm)
        assert stage.settings.database_url is not None
        url = stage.settings.database_url.get_secret_value()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON oid = database "
                "WHERE locktype = 'advisory' AND datname = current_database()"
            )
        with pytest.raises(StoreUnavailable):
            await running
        desk.go_on.set()
        result = await other.resume(mission_id)
    assert result.status == "done"
    assert desk.play.worked() == ["task 1", "task 2", "task 2", "task 3"]


async def test_an_id_is_the_same_however_it_is_written(stage: "Stage") -> None:
    """Proves FR-27: in capitals it is the same mission and the same checkpoints, and what is no id is CH103."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide())
        result = await swarm.resume(waiting.mission_id.upper())
        assert (result.status, result.mission_id) == ("done", waiting.mission_id)
        for unknown in ("nonsense", swarm.app.context.new_id()):
            for call in (swarm.resume, swarm.cancel):
                with pytest.raises(MissionNotFound):
                    await call(unknown)
            with pytest.raises(MissionNotFound):
                await swarm.amend(unknown, Mission(goal="go"))
    assert len(play.requests("planner")) == 1


async def test_an_id_of_ones_own_is_the_same_however_it_is_written(stage: "Stage") -> None:
    """Run and streamed in capitals or without hyphens: what is stored, told and cancelled has one id. Proves FR-59."""
    play = stage.play({"go": [stage.plan(stage.task(1))], "new": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        name, other = swarm.app.context.new_id(), swarm.app.context.new_id()
        result = await swarm.run("go", mission_id=name.upper())
        assert (result.status, result.mission_id) == ("done", name)
        assert (await swarm.resume(name)) == result
        with pytest.raises(ConflictError):
            await swarm.run("go", mission_id=name.replace("-", ""))
        events = [event async for event in swarm.stream("go", mission_id=other.upper(), approve_plan=True)]
        assert {event.mission_id for event in events} == {other}
        assert {"mission.started", "plan", "result"} <= {event.kind for event in events}
        await swarm.amend(other.upper(), Mission(goal="new"))
        assert await swarm.cancel(other.upper())
        trail = await swarm.app.context.audit.of_mission(other)
        assert [event["kind"] for event in trail][-2:] == ["mission.amended", "mission.finished"]
        for unusable in ("mine", "0", "../x"):
            with pytest.raises(InputError, match="is no UUID"):
                await swarm.run("go", mission_id=unusable)


async def test_two_swarms_in_one_process_do_not_see_each_other(stage: "Stage") -> None:
    """Two settings, two models, two judges' bands, at the same time. Proves TR-26."""
    both = asyncio.Barrier(2)

    def play(name: str) -> Any:
        async def work(turn: "Turn") -> str:
            async with asyncio.timeout(PATIENCE_S):
                await both.wait()
            return f"{turn.task} by {name}"

        return stage.play(
            {"go": [stage.plan(stage.task(1, criteria=[{"kind": "text", "value": "good"}]))]}, work, confidence=0.6
        )

    first, second = play("first"), play("second")
    async with stage.swarm(first, auto_review=0.5) as one, stage.swarm(second, auto_review=0.9) as two:
        done, waiting = await asyncio.gather(one.run("go"), two.run("go"))
        rows = await two.app.context.missions.tasks(waiting.mission_id)
    assert (done.status, done.answer) == ("done", "task 1 by first")
    assert waiting.status == "waiting"
    assert rows[0]["result"]["answer"] == "task 1 by second"
    assert len(first.asked) == len(second.asked) == 4


# --- stopping --------------------------------------------------------------------------------------------------------


async def test_another_swarm_cancels(stage: "Stage") -> None:
    """The work stops, what was finished stays, and a resume does the rest. Proves FR-22 and FR-27."""
    desk = Desk(stage)
    async with stage.swarm(desk.play) as swarm, stage.swarm(desk.play) as other:
        mission_id, running = await desk.start(swarm)
        assert await other.cancel(mission_id)
        result = await running
        row = await other.app.context.missions.get(mission_id)
        assert (result.status, row["status"], result.answer) == ("cancelled", "cancelled", "task 1: done")
        assert not await other.cancel(mission_id)
        desk.go_on.set()
        assert (await other.resume(mission_id)).status == "done"
        assert not await other.cancel(mission_id)
    assert desk.play.worked() == ["task 1", "task 2", "task 2", "task 3"]


async def test_a_waiting_mission_is_cancelled_where_it_lies(stage: "Stage") -> None:
    """Nobody runs it, so it ends at once; its question can still be answered, and then it goes on. Proves FR-22."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        assert await swarm.cancel(waiting.mission_id)
        row = await swarm.app.context.missions.get(waiting.mission_id)
        assert (row["status"], play.worked()) == ("cancelled", [])
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide())
        assert (await swarm.resume(waiting.mission_id)).status == "done"


async def test_a_cancel_that_comes_too_late_takes_no_result_away(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mission ends between the request and the look whether anybody runs it: it stays done. Proves FR-22."""
    desk = Desk(stage)
    async with stage.swarm(desk.play) as swarm, stage.swarm(desk.play) as other:
        mission_id, running = await desk.start(swarm)
        missions = other.app.context.missions
        real = missions.request_cancel

        async def late(mission_id: str) -> bool:
            asked = await real(mission_id)
            await missions.reopen(mission_id)  # the runner has not seen the request
            desk.go_on.set()
            await running
            return asked

        monkeypatch.setattr(missions, "request_cancel", late)
        assert not await other.cancel(mission_id)
        row = await missions.get(mission_id)
    assert (row["status"], row["result"]["answer"]) == ("done", "task 3: done")


async def test_a_cancelled_run_leaves_a_mission_that_goes_on(stage: "Stage") -> None:
    """Ctrl-C cancels the task that runs the mission: no task of ours stays, what was committed stays.

    Proves FR-29, FR-27 and LAW-7.
    """
    desk = Desk(stage)
    async with stage.swarm(desk.play) as swarm:
        before = asyncio.all_tasks()
        mission_id, running = await desk.start(swarm)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert asyncio.all_tasks() == before
        row = await swarm.app.context.missions.get(mission_id)
        assert (row["status"], row["result"]) == ("running", None)
        desk.go_on.set()
    async with stage.swarm(desk.play) as swarm:
        assert (await swarm.resume(mission_id)).status == "done"
    assert desk.play.worked() == ["task 1", "task 2", "task 2", "task 3"]
    assert len(desk.play.requests("planner")) == 1


CHECKPOINTS = 24
"""Of a mission with one team, one task and one call: first and last its own, then its team's, its agent's within."""
SOME = {8, 12, 16, 19}


@pytest.mark.parametrize(
    "stopped_at",
    [
        number if number in SOME else pytest.param(number, marks=pytest.mark.long)
        for number in range(1, CHECKPOINTS + 1)
    ],
)
async def test_a_run_that_ends_between_a_step_and_its_checkpoint_goes_on_with_the_next_step(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    """What the step did is saved, the state is not.

    Proves LAW-7, FR-27 and TR-28: at most the step in flight is taken again, and the effect happens once.
    """
    play = stage.play({"go": [stage.plan(stage.task(1, tools=["ledger__note"]))]}, stage.steps("ledger__note"))
    async with stage.swarm(play, ledger=True) as swarm:
        there = _stop_at_checkpoint(swarm, monkeypatch, stopped_at)
        mission_id = swarm.app.context.new_id()
        running = asyncio.create_task(swarm.run("go", mission_id=mission_id))
        async with asyncio.timeout(PATIENCE_S):
            await there.wait()
        running.cancel()
        await asyncio.wait({running})
    async with stage.swarm(play, ledger=True) as swarm:
        result = await swarm.resume(mission_id)
    assert result.status == "done"
    again = [role for role, _ in play.asked]
    for role in ("orchestrator", "planner", "worker", "worker"):
        again.remove(role)
    assert len(again) <= 1, again
    assert len([effect for effect in stage.effects() if effect["scope"] == mission_id]) == 1


def _stop_at_checkpoint(swarm: ChimeraSwarm, monkeypatch: pytest.MonkeyPatch, number: int) -> asyncio.Event:
    """An event that is set when a checkpoint is about to be written, which then never is."""
    saver, there, count = swarm.app.saver, asyncio.Event(), iter(range(1, 1_000))
    real = saver.aput

    async def put(*args: Any, **options: Any) -> Any:
        if next(count) == number:
            there.set()
            await asyncio.Event().wait()
        return await real(*args, **options)

    monkeypatch.setattr(saver, "aput", put)
    return there


# --- streams ---------------------------------------------------------------------------------------------------------


async def test_a_stream_tells_what_happens_and_ends_with_the_result(stage: "Stage") -> None:
    """Proves FR-59: the events of the mission in their order, and the result as the data of the last one."""
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1))]})
    async with stage.swarm(play) as swarm:
        events = [event async for event in swarm.stream(Mission(goal="go"))]
        row = await swarm.app.context.missions.get(events[-1].mission_id)
    kinds = [event.kind for event in events]
    assert kinds[-1] == "result"
    assert kinds.count("result") == 1
    wanted = ["mission.started", "teams", "plan", "agent", "verdict", "agent", "verdict", "mission.finished", "result"]
    assert [kind for kind in kinds if kind in wanted] == wanted
    assert {event.mission_id for event in events} == {events[0].mission_id}
    assert MissionResult.model_validate(events[-1].data).plain() == row["result"]
    assert [event.at for event in events] == sorted(event.at for event in events)


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_a_stream_that_is_left_stops_its_mission(stage: "Stage", how: str) -> None:
    """By leaving the loop, or by being cancelled in it: nothing runs on, no task stays, and a resume goes on.

    Proves FR-59 and FR-29.
    """
    desk = Desk(stage)
    async with stage.swarm(desk.play) as swarm:
        before = asyncio.all_tasks()
        mission_id = swarm.app.context.new_id()

        async def watch() -> None:
            async with aclosing(swarm.stream("go", mission_id=mission_id)) as events:
                async for event in events:
                    if how == "close" and (event.kind, event.data.get("task")) == ("agent", "t2"):
                        return

        watching = asyncio.create_task(watch())
        async with asyncio.timeout(PATIENCE_S):
            if how == "cancel":
                await desk.at_work.wait()
                watching.cancel()
            await asyncio.wait({watching})
        assert asyncio.all_tasks() == before
        row = await swarm.app.context.missions.get(mission_id)
        assert row["status"] == "running"
        desk.go_on.set()
        assert (await swarm.resume(mission_id)).status == "done"
    assert desk.play.worked().count("task 1") == desk.play.worked().count("task 3") == 1
    assert len(desk.play.requests("planner")) == 1


async def test_a_stream_of_what_cannot_run_raises(stage: "Stage") -> None:
    """Proves FR-59: an error is raised to who reads, and leaves nothing behind."""
    async with stage.swarm(stage.play({})) as swarm:
        before = asyncio.all_tasks()
        with pytest.raises(GoalInvalid):
            async for _ in swarm.stream(""):
                pass
        assert asyncio.all_tasks() == before


def test_the_forms_without_async(settings: Settings, feed: Path) -> None:
    """A whole mission, a stream to its end, and a stream that is left early; on the servers of Chimera itself.

    Proves FR-59.
    """
    mission = Mission(goal="Show me the newest posts in this feed", inputs={"feed": str(feed)})
    result = sync.run(mission, settings)
    assert result.status == "done", result
    events: list[Event] = []
    for event in sync.stream(mission, settings):
        events.append(event)
        if event.kind == "mission.started":
            break
    left = events[-1].mission_id
    *_, last = sync.stream(mission, settings)
    assert (last.kind, last.data["status"], last.data["answer"]) == ("result", "done", result.answer)

    async def look() -> str:
        async with ChimeraSwarm(settings) as swarm:
            before = (await swarm.app.context.missions.get(left))["status"]
            after = (await swarm.resume(left)).status
            return f"{before}, then {after}"

    assert asyncio.run(look()) == "running, then done"
