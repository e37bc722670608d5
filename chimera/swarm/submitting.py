"""Missions that the fleet's workers carry out: handed over, handed over again, carried, and known to be carried."""

from collections.abc import Mapping
from typing import Any

from chimera.core.contracts import Mission, MissionResult
from chimera.core.errors import ConflictError, MissionBusy
from chimera.core.ids import canonical_id, derived_id
from chimera.nodes.ending import FINAL
from chimera.nodes.intake import read_mission
from chimera.store.runs import OPEN, NewRun, RunStore
from chimera.swarm.driving import Driver


class Submitter(Driver):
    """Hands missions to the fleet; a mission is put on record before anybody has it."""

    async def submit(
        self,
        mission: Mission | str,
        *,
        approve_plan: bool = False,
        dry_run: bool = False,
        mission_id: str | None = None,
        pool: str = "default",
    ) -> str:
        """Hand a mission to the fleet and return its id. Its workers carry it out, whatever becomes of this process.

        It waits for its agents without holding a worker. One that waits for a human is over for the fleet: answer it,
        and hand it over again with :meth:`resubmit`.

        Raises:
            InputError: the mission, its id or the pool cannot be used. ConflictError: there is a mission with that id.
        """
        mission_id, start = await self._recorded(mission, mission_id, approve_plan=approve_plan, dry_run=dry_run)
        await self._hand_over(mission_id, start["mission"]["tenant"], start, pool)
        return mission_id

    async def resubmit(self, mission_id: str, *, deadline_s: float | None = None, pool: str = "default") -> str:
        """Hand a mission to the fleet that was left, or whose question was answered; return its id.

        Raises:
            MissionNotFound: there is none. MissionBusy: a process runs it, or the fleet has it.
        """
        missions = self.app.context.missions
        row = await missions.get(mission_id)
        mission_id = str(row["id"])
        async with missions.running_alone(mission_id):
            await self._refuse_carried(mission_id)
            await missions.reopen(mission_id, deadline_s)
            await self._hand_over(mission_id, row["tenant"], {"mission": row["mission"], **row["options"]}, pool)
        return mission_id

    async def carry(self, mission_id: str, start: Mapping[str, Any]) -> MissionResult:
        """Go on with a mission of the fleet, as its workers do.

        Raises:
            Parked: it waits for its agents. MissionBusy: another process runs it.
        """
        missions = self.app.context.missions
        async with missions.running_alone(mission_id):
            row = await missions.get(mission_id)
            begun, over = await self._place(mission_id)
            if row["result"] and (over or row["status"] in FINAL):
                return MissionResult.model_validate(row["result"])
            return await self._watch(mission_id, None if begun else dict(start), None)

    async def _hand_over(self, mission_id: str, tenant: str, start: dict[str, Any], pool: str) -> None:
        runs = RunStore(self.app.pool)
        number = len(await runs.of_mission(mission_id))
        payload = {"mission_id": mission_id, "start": start}
        run_id = derived_id("mission-run", mission_id, number)
        await runs.enqueue([NewRun(run_id, mission_id, payload, pool=pool, tenant=tenant, kind="mission")])

    async def _carrying(self, mission_id: str) -> list[str]:
        """The runs by which the fleet has a mission now; there is one at most."""
        runs = await RunStore(self.app.pool).of_mission(mission_id)
        return [run["id"] for run in runs if run["state"] in OPEN]

    async def _refuse_carried(self, mission_id: str) -> None:
        if await self._carrying(mission_id):
            raise MissionBusy(f"the fleet has mission {mission_id}")

    async def _recorded(
        self, mission: Mission | str, mission_id: str | None, **options: bool
    ) -> tuple[str, dict[str, Any]]:
        """Put a new mission on the record; gives its id, and what its graph is begun with."""
        asked = read_mission(mission.plain() if isinstance(mission, Mission) else {"goal": mission})
        mission_id = canonical_id(mission_id) if mission_id else self.app.context.new_id()
        if not await self.app.context.missions.create(mission_id, asked, options):
            raise ConflictError(f"mission {mission_id} exists", remedy="Resume it, or leave the id to us.")
        return mission_id, {"mission": asked.plain(), **options}
