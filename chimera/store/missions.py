"""Missions and their tasks in Postgres: what is running, how far it is, and what came out."""

import hashlib
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from chimera.core.contracts import Mission, MissionResult, MissionStatus, Observation, Plan, TaskResult, Verdict
from chimera.core.errors import InputError, MissionBusy, MissionNotFound, StoreError
from chimera.store.postgres import Connection, Pool, connect, fetch, fetch_one, store_errors
from chimera.store.values import as_json, as_stored, is_uuid

_LET_GO_S = 2.0
_CARRIED = (
    "SELECT EXISTS (SELECT FROM runs AS r WHERE r.kind = 'mission' AND r.thread_id = missions.id::text "
    "AND r.state IN ('delayed', 'queued', 'running', 'waiting'))"
)
_LEFT = """
    SELECT id FROM missions WHERE asked_by IS NOT NULL AND status = %s AND NOT cancel_requested AND (
        missions.status <> 'waiting'
        OR EXISTS (SELECT FROM reviews AS q WHERE q.mission_id = missions.id AND NOT q.late
            AND coalesce(q.payload ->> 'blocking', 'true') <> 'false' AND (q.state = 'asked'
            OR q.state = 'decided' AND q.taken_at IS NULL AND q.acts_at <= clock_timestamp()))
        OR NOT EXISTS (SELECT FROM reviews AS q WHERE q.mission_id = missions.id AND NOT q.late
            AND coalesce(q.payload ->> 'blocking', 'true') <> 'false' AND (q.state <> 'decided' OR q.taken_at IS NULL)))
"""


class MissionStore:
    """Reads and writes the tables ``missions`` and ``tasks``. Every write is idempotent."""

    def __init__(self, pool: Pool, url: str) -> None:
        self._pool = pool
        self._url = url
        self._held: dict[str, Connection] = {}

    async def create(
        self,
        mission_id: str,
        mission: Mission,
        options: Mapping[str, bool] | None = None,
        *,
        asked_by: str | None = None,
        asked: str = "",
    ) -> bool:
        """Record a mission; False when it is recorded already, which stays as it is.

        ``options``: what its graph is begun with besides it (``approve_plan``, ``dry_run``). ``asked_by``: who asked
        for it at the server, with ``asked``, the digest of that request.
        """
        stored = _as_stored(mission)
        rows = await fetch(
            self._pool,
            "INSERT INTO missions (id, tenant, goal, mission, context_version, status, deadline_at, options, asked_by, "
            "asked) VALUES (%s, %s, %s, %s, %s, %s, now() + make_interval(secs => %s), %s, %s, %s) "
            "ON CONFLICT (id) DO NOTHING RETURNING id",
            (
                mission_id,
                stored.tenant,
                stored.goal,
                as_json(stored.plain()),
                stored.context_version,
                MissionStatus.RUNNING,
                stored.deadline_s,
                as_json(dict(options or {})),
                asked_by,
                asked if asked_by is not None else None,
            ),
        )
        return bool(rows)

    async def left(self, status: MissionStatus, limit: int = 100) -> list[str]:
        """Missions that were asked for at a server, that nobody runs, and that could go on; oldest first.

        Of status ``running``: whoever ran them is gone. Of status ``waiting``: an answer waits to be handed
        over, a reviewer has asked something back, or there is nothing that they wait for.
        """
        held = await self._held_anywhere()
        rows = await fetch(
            self._pool,
            f"{_LEFT} AND NOT ({_CARRIED}) ORDER BY created_at LIMIT %s",
            (status, limit),
        )
        return [found for row in rows if _lock_key(found := str(row["id"])) not in held]

    async def find(self, id_or_prefix: str) -> str:
        """The full id for an id or a unique prefix of one.

        Raises:
            MissionNotFound: none matches, or several do.
        """
        prefix = id_or_prefix.strip().lower()
        if not prefix or set(prefix) - set("0123456789abcdef-"):
            raise MissionNotFound(f"{id_or_prefix[:40]!r} is not a mission id")
        rows = await fetch(self._pool, "SELECT id FROM missions WHERE id::text LIKE %s LIMIT 2", (prefix + "%",))
        if len(rows) != 1:
            raise MissionNotFound(f"{'several missions start' if rows else 'no mission starts'} with {prefix}")
        return str(rows[0]["id"])

    async def get(self, mission_id: str) -> dict[str, Any]:
        """The row of a mission.

        Raises:
            MissionNotFound: there is none.
        """
        row = await self._row(mission_id) if is_uuid(mission_id) else None
        if row is None:
            raise MissionNotFound(f"no mission {as_stored(mission_id[:40])}")
        return row

    async def find_asked(self, mission_id: str) -> dict[str, Any] | None:
        """Who asked for a mission, and with what request: ``asked_by`` and ``asked``; None where there is none."""
        return await fetch_one(self._pool, "SELECT asked_by, asked FROM missions WHERE id = %s", (mission_id,))

    async def _row(self, mission_id: str) -> dict[str, Any] | None:
        query, held = "SELECT * FROM missions WHERE id = %s", self._held.get(mission_id)
        if held is None:
            return await fetch_one(self._pool, query, (mission_id,))
        # Over the connection that holds the mission: whoever has lost it finds out, and stops, as another may run it.
        async with store_errors():
            return await (await held.execute(query, (mission_id,))).fetchone()

    async def newest(
        self, tenant: str, limit: int = 50, *, statuses: list[str] | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """The newest missions of a tenant, newest first; ``attended`` says whether a process runs it now.

        ``statuses``: of those alone.
        """
        held = await self._held_anywhere()  # first: a mission that ends in between must not look as if it was left
        rows = await fetch(
            self._pool,
            f"SELECT id, goal, status, result, created_at, updated_at, ({_CARRIED}) AS carried FROM missions "  # noqa: S608
            "WHERE tenant = %(tenant)s AND (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s)) "
            "ORDER BY created_at DESC, id LIMIT %(limit)s OFFSET %(offset)s",
            {"tenant": tenant, "statuses": statuses, "limit": limit, "offset": offset},
        )
        return [{**row, "attended": row.pop("carried") or _lock_key(str(row["id"])) in held} for row in rows]

    async def listed(
        self,
        tenant: str,
        *,
        status: str | None = None,
        asked_by: str | None = None,
        before: tuple[datetime, str] | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """The missions of a tenant, newest first. ``before``: when the last one before began, and its id."""
        at, last = before or (None, None)
        return await fetch(
            self._pool,
            "SELECT id::text, goal, status, asked_by, created_at, updated_at, deadline_at FROM missions "
            "WHERE tenant = %(tenant)s AND (%(status)s::text IS NULL OR status = %(status)s) "
            "AND (%(by)s::text IS NULL OR asked_by = %(by)s) "
            "AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(last)s::uuid)) "
            "ORDER BY created_at DESC, id DESC LIMIT %(limit)s",
            {"tenant": tenant, "status": status, "by": asked_by, "at": at, "last": last, "limit": limit},
        )

    async def attended(self, mission_id: str) -> bool:
        """Whether a process, this one or another, runs the mission now, or the fleet has it."""
        held = await self._held_anywhere()
        query = f"{_CARRIED} AS carried FROM missions WHERE id = %s"
        row = await fetch_one(self._pool, query, (mission_id,))
        return (row is not None and bool(row["carried"])) or _lock_key(mission_id) in held

    async def _held_anywhere(self) -> set[int]:
        """The keys of all advisory locks that are held in this database."""
        rows = await fetch(
            self._pool,
            "SELECT (classid::int8 << 32) | objid::int8 AS key FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        return {int(row["key"]) for row in rows}

    async def amend(self, mission_id: str, mission: Mission) -> None:
        """Change what is asked while it runs. Results made from the old context become void.

        Raises:
            InputError: the mission has ended, or the tenant would change.
        """
        stored = _as_stored(mission)
        rows = await fetch(
            self._pool,
            "UPDATE missions SET goal = %s, mission = %s, context_version = %s, updated_at = now() "
            "WHERE id = %s AND tenant = %s AND status IN ('running', 'waiting') RETURNING id",
            (stored.goal, as_json(stored.plain()), stored.context_version, mission_id, stored.tenant),
        )
        if not rows:
            raise InputError(f"mission {mission_id} cannot be amended: it has ended, or belongs to another tenant")

    async def context(self, mission_id: str) -> Mission:
        """The mission as it is asked now."""
        return Mission.model_validate((await self.get(mission_id))["mission"])

    async def set_status(self, mission_id: str, status: MissionStatus) -> None:
        """Move a mission that has not ended to another status."""
        await fetch(
            self._pool,
            "UPDATE missions SET status = %s, updated_at = now() WHERE id = %s AND status IN ('running', 'waiting')",
            (status, mission_id),
        )

    async def reopen(self, mission_id: str, deadline_s: float | None = None) -> None:
        """Let a mission run again: clear a request to cancel, and give it time from now."""
        await fetch(
            self._pool,
            "UPDATE missions SET status = 'running', cancel_requested = false, updated_at = now(), "
            "deadline_at = now() + make_interval(secs => coalesce(%s, (mission->>'deadline_s')::float8)) "
            "WHERE id = %s",
            (deadline_s, mission_id),
        )

    async def finish(self, result: MissionResult, made_from: str | None = None) -> bool:
        """Record the result of a mission; False, and nothing is recorded, when it no longer asks ``made_from``."""
        rows = await fetch(
            self._pool,
            "UPDATE missions SET status = %s, result = %s, updated_at = now() "
            "WHERE id = %s AND context_version = coalesce(%s, context_version) RETURNING id",
            (result.status, as_json(result.plain()), result.mission_id, made_from),
        )
        return bool(rows)

    async def request_cancel(self, mission_id: str) -> bool:
        """Ask whoever runs the mission to stop; False when it has ended already."""
        rows = await fetch(
            self._pool,
            "UPDATE missions SET cancel_requested = true WHERE id = %s AND status IN ('running', 'waiting') "
            "RETURNING id",
            (mission_id,),
        )
        return bool(rows)

    @asynccontextmanager
    async def running_alone(self, mission_id: str) -> AsyncGenerator[None]:
        """Hold the mission for this process; the hold ends with the connection, so a killed process holds nothing.

        A hold that is lost shows when the mission is read: from then on :meth:`get` raises StoreUnavailable here.

        Raises:
            MissionBusy: another process holds it. MissionNotFound: that is no id.
        """
        if not is_uuid(mission_id):
            raise MissionNotFound(f"no mission {as_stored(mission_id[:40])}")
        connection = await connect(self._url)
        try:
            async with store_errors():
                cursor = await connection.execute("SELECT pg_try_advisory_lock(%s) AS got", (_lock_key(mission_id),))
                row = await cursor.fetchone()
            if row is None or not row["got"]:
                raise MissionBusy(f"mission {mission_id} is being run by another process")
            self._held[mission_id] = connection
            try:
                yield
            finally:
                del self._held[mission_id]
                # A connection that is closed here ends there a moment later, and whoever is next would find it held.
                with suppress(StoreError):
                    async with store_errors(_LET_GO_S):
                        await connection.execute("SELECT pg_advisory_unlock_all()")
        finally:
            await connection.close()

    # --- tasks ---------------------------------------------------------------------------------------------------

    async def plan_tasks(self, mission_id: str, team: str, plan_round: int, plan: Plan, context_version: str) -> None:
        """Record the tasks of a plan, in place of another plan of the same round; earlier rounds stay as they ended."""
        tasks = as_stored(plan.plain())["tasks"]
        place = (mission_id, team, plan_round)
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(
                "DELETE FROM tasks WHERE (mission_id, team, plan_round) = (%s, %s, %s) AND (context_version <> %s OR "
                "NOT EXISTS (SELECT FROM unnest(%s::jsonb[]) AS planned WHERE planned = plan))",
                (*place, context_version, [as_json(task) for task in tasks]),
            )
            await connection.cursor().executemany(
                "INSERT INTO tasks (mission_id, team, plan_round, id, title, state, context_version, plan) "
                "VALUES (%s, %s, %s, %s, %s, 'planned', %s, %s) ON CONFLICT DO NOTHING",
                [(*place, task["id"], task["title"], context_version, as_json(task)) for task in tasks],
            )

    async def start_task(self, mission_id: str, team: str, plan_round: int, task_id: str, attempt: int) -> None:
        """Note that an agent works on a task; a task that is done stays done."""
        await fetch(
            self._pool,
            "UPDATE tasks SET state = 'running', attempt = %s, updated_at = now() "
            "WHERE (mission_id, team, plan_round, id) = (%s, %s, %s, %s) AND state <> 'done'",
            (attempt, mission_id, team, plan_round, task_id),
        )

    async def commit_task(
        self, mission_id: str, team: str, plan_round: int, state: str, result: TaskResult, verdict: Verdict
    ) -> bool:
        """Record a judged result, if the mission still asks what it was made from (optimistic concurrency).

        Returns False, and records the task as void, when the mission's context has moved. A task that is done keeps
        the result that it is done with, also when a process that was given up wakes up and brings another one.
        """
        row = await fetch_one(
            self._pool,
            "UPDATE tasks AS t SET "
            "state = CASE WHEN m.context_version <> %(version)s THEN 'void' WHEN t.state = 'done' THEN 'done' "
            "ELSE %(state)s END, "
            "result = CASE WHEN t.state = 'done' THEN t.result ELSE %(result)s END, "
            "verdict = CASE WHEN t.state = 'done' THEN t.verdict ELSE %(verdict)s END, "
            "updated_at = CASE WHEN t.state = 'done' THEN t.updated_at ELSE now() END FROM missions AS m "
            "WHERE m.id = t.mission_id AND (t.mission_id, t.team, t.plan_round, t.id) = "
            "(%(mission)s, %(team)s, %(round)s, %(task)s) RETURNING t.state",
            {
                "version": result.context_version,
                "state": state,
                "result": as_json(result.plain()),
                "verdict": as_json(verdict.plain()),
                "mission": mission_id,
                "team": team,
                "round": plan_round,
                "task": result.task_id,
            },
        )
        return row is not None and row["state"] != "void"

    async def tasks(self, mission_id: str) -> list[dict[str, Any]]:
        """All tasks of a mission: by team, plan round and id."""
        return await fetch(
            self._pool,
            "SELECT * FROM tasks WHERE mission_id = %s ORDER BY team, plan_round, length(id), id",
            (mission_id,),
        )

    async def instructions(self, mission_id: str, team: str) -> dict[int, set[str]]:
        """The instructions of all tasks that a team has had, by plan round."""
        rows = await fetch(
            self._pool,
            "SELECT plan_round, plan->>'instruction' AS instruction FROM tasks WHERE (mission_id, team) = (%s, %s)",
            (mission_id, team),
        )
        found: dict[int, set[str]] = {}
        for row in rows:
            found.setdefault(int(row["plan_round"]), set()).add(str(row["instruction"]))
        return found

    async def observations(
        self, mission_id: str, team: str, plan_round: int, task_ids: list[str]
    ) -> dict[str, list[Observation]]:
        """What the tools gave to finished tasks of a plan, by task id."""
        rows = await fetch(
            self._pool,
            "SELECT id, result->'observations' AS found FROM tasks WHERE (mission_id, team, plan_round) = (%s, %s, %s) "
            "AND id = ANY(%s) AND state = 'done' ORDER BY length(id), id",
            (mission_id, team, plan_round, task_ids),
        )
        return {str(row["id"]): [Observation.model_validate(one) for one in row["found"] or []] for row in rows}


def _as_stored(mission: Mission) -> Mission:
    """The mission as it comes back, so that its context version is that of what is kept."""
    return Mission.model_validate(as_stored(mission.plain()))


def _lock_key(mission_id: str) -> int:
    """The advisory lock of a mission: a signed 64-bit number, the same however its id is written."""
    return int.from_bytes(hashlib.sha256(b"mission" + uuid.UUID(mission_id).bytes).digest()[:8], signed=True)
