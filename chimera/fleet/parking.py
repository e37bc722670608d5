"""How a mission that the fleet carries out waits for its agents: its run is parked, and no worker holds it meanwhile.

Its agent steps ask for their runs and interrupt; the worker lets go of the mission's run. When all those runs are over,
or it is time to look, the run is queued again: whichever worker claims it goes on from the mission's checkpoint, where
each of these steps begins again, asks for the same run, and finds what came of it.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any, cast

from langgraph.types import interrupt

from chimera.core.errors import MissionExpired
from chimera.fleet.dispatch import AgentOutcome, AgentRun
from chimera.fleet.engine import Ended, Engine
from chimera.fleet.remote import LEAST_S, LOOSE_END_S, RemoteDispatch, hedge_of, only_reads, outcome_of
from chimera.store.postgres import Pool
from chimera.store.runs import NewRun
from chimera.store.together import Together, Turns

PARKED = "chimera_parked"
"""Key of what an agent step interrupts with: the runs that it waits for."""
_WAKE_S = "wake_s"


class Parked(Exception):
    """A run has nothing to do until ``runs`` are over, or ``wake_s`` seconds have passed."""

    def __init__(self, runs: Sequence[str], wake_s: float) -> None:
        super().__init__(f"waits for {len(runs)} runs")
        self.runs = list(runs)
        self.wake_s = wake_s


def parked_for(values: Sequence[Any]) -> Parked | None:
    """What the interrupts of a mission wait for, if that is runs."""
    waits = [cast("Mapping[str, Any]", value) for value in values if is_parked(value)]
    if not waits:
        return None
    return Parked([str(run) for value in waits for run in value[PARKED]], min(float(value[_WAKE_S]) for value in waits))


def is_parked(value: Any) -> bool:
    """Whether an interrupt waits for runs, and not for a human."""
    return isinstance(value, Mapping) and PARKED in value


class ParkingDispatch(RemoteDispatch):
    """Runs the agents of one mission. ``since``: when the mission was handed to the fleet, this time."""

    def __init__(self, engine: Engine, pool: Pool, *, since: datetime, hedge_after_s: float | None = None) -> None:
        super().__init__(engine, pool, hedge_after_s=hedge_after_s)
        self._since = since
        self._asking: Together[None, NewRun, Ended | None] = Together(Turns(nullcontext), self._ask)

    async def run(self, run: AgentRun, context: Any, answers: Mapping[str, Any] | None = None) -> AgentOutcome:
        """What came of it; before it is over, an interrupt.

        Raises:
            GraphInterrupt: it is not over. MissionExpired: it was not done in time. ChimeraError: what it failed with.
        """
        left_s = await self._left_s(run, context)
        new = await self._new(run, answers, left_s)
        ended = await self._asking.submit(new)
        if ended is not None and _is_broken_off(ended):
            ended = await self._after_all(new, ended, left_s)
        waits, wake_s = [new.id], left_s + LOOSE_END_S
        if ended is None and self._hedge_after_s is not None and await only_reads(new, context):
            wake_s = min(wake_s, self._hedge_after_s)
            if -await self._runs.seconds_until((await self._runs.get(new.id))["created_at"]) >= self._hedge_after_s:
                second = hedge_of(new, left_s)
                waits.append(second.id)
                ended = await self._hedged(new, second)
        if ended is not None:
            return outcome_of(ended)
        if left_s > LEAST_S:
            interrupt({PARKED: waits, _WAKE_S: wake_s})
        await self._engine.cancel(new.id)  # too late; or somebody answered what no human is asked
        raise MissionExpired("the agent was not done in time")

    async def _after_all(self, new: NewRun, ended: Ended, left_s: float) -> Ended | None:
        """What became of a run that was broken off: another was faster, or its mission was resumed and it goes on."""
        if self._hedge_after_s is not None:
            second = hedge_of(new, left_s).id
            for row in await self._runs.over([second]):
                if row["state"] == "done" and (row["outcome"] or {}).get("result"):
                    return Ended(row["state"], row["outcome"], row["error"])
        ended_at = (await self._runs.get(new.id))["ended_at"]
        if ended_at is None or ended_at >= self._since:
            return ended
        await self._engine.replay(new.id, left_s)
        return None

    async def _ask(self, _: None, runs: Sequence[NewRun]) -> list[Ended | None]:
        """Record what is new; what is known and over has ended."""
        unique = list({run.id: run for run in runs}.values())
        new = set(await self._engine.enqueue(unique))
        rows = await self._runs.over([run.id for run in unique if run.id not in new])
        over = {row["id"]: Ended(row["state"], row["outcome"], row["error"]) for row in rows}
        return [over.get(run.id) for run in runs]

    async def _hedged(self, new: NewRun, second: NewRun) -> Ended | None:
        ended = await self._asking.submit(second)
        if ended is None or ended.state != "done" or not (ended.outcome or {}).get("result"):
            return None
        await self._stop(new.id)
        return ended


def _is_broken_off(ended: Ended) -> bool:
    """Whether a run ended because its mission did."""
    late = ended.state == "failed" and (ended.error or {}).get("code") == MissionExpired.code
    return late or ended.state == "cancelled"
