"""The runs of agents in Postgres: what waits, what is claimed by whom, what came of it.

A claim raises a run's fence, and whoever ends the run has to hold that fence, so a worker that was taken for dead and
wakes up later is not heard. Which run is next, and what becomes of the runs of lost workers, is decided by functions of
the migration ``fleet``: each is one statement here, so a client that stalls in the middle holds nobody up.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from chimera.core.errors import InputError
from chimera.store.checkpoints.group import Lease
from chimera.store.postgres import Pool, fetch, fetch_one
from chimera.store.values import as_json, as_stored

PAYLOAD_MAX_BYTES = 8_000_000
"""The largest payload, and the largest outcome; what is larger belongs into an artifact."""
MAX_FAILURES = 5
ARRIVED, ENDED, STOPPED = "chimera_runs", "chimera_ended", "chimera_stops"
"""The channels of NOTIFY: something can be claimed; a run ended (its id); a worker has to look (its id)."""
OVER = ("done", "failed", "dead", "cancelled")
_CLAIM = (
    "SELECT id, epoch, thread_id, pool, tenant, attempts, losses, agent, kind, payload, "
    "extract(epoch FROM deadline_at - clock_timestamp())::float8 AS left_s, "
    "greatest(0, extract(epoch FROM started_at - greatest(created_at, not_before)))::float8 AS waited_s"
)
OPEN = ("delayed", "queued", "running", "waiting")
Kind = Literal["agent", "mission"]
How = Literal["done", "failed", "retry", "release", "cancel", "wait"]


@dataclass(frozen=True)
class NewRun:
    """Something to be run, once, whoever asks and however often. Times are seconds from when it is recorded."""

    id: str
    thread_id: str
    payload: Mapping[str, Any]
    pool: str = "default"
    tenant: str = "default"
    priority: int = 0
    delay_s: float = 0.0
    deadline_s: float | None = None
    max_failures: int = MAX_FAILURES
    kind: Kind = "agent"


@dataclass(frozen=True)
class Claim:
    """A run that a worker has to carry out, and the fence with which it may end it.

    ``losses``: how many workers were lost under it in a row without a new step.
    """

    id: str
    fence: int
    thread_id: str
    pool: str
    tenant: str
    attempts: int
    losses: int
    agent: str | None
    left_s: float | None
    waited_s: float
    kind: Kind
    payload: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Ending:
    """What became of a claimed run. ``retry`` counts as a failure, ``release`` is unfinished and nobody's fault.

    ``wait``: it goes on when the runs ``others`` are over, at the latest after ``wake_s``; no worker has it meanwhile.
    """

    claim: Claim
    how: How
    outcome: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    others: Sequence[str] = ()
    wake_s: float = 0.0


class RunStore:
    """Reads and writes the table ``runs``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def enqueue(self, runs: Sequence[NewRun], *, tell: bool = True) -> list[str]:
        """Record runs; return the ids of those that were not there yet. ``tell``: wake the workers that listen.

        Raises:
            InputError: a payload is too large, or a pool does not exist.
        """
        payloads = [_payload(run) for run in runs]
        await self._need_pools({run.pool for run in runs})
        rows = await fetch(
            self._pool,
            """
            WITH made AS (
                INSERT INTO runs (id, thread_id, pool, tenant, priority, state, not_before, deadline_at, max_failures,
                    kind, payload)
                SELECT n.id, n.thread_id, n.pool, n.tenant, n.priority,
                    CASE WHEN n.delay > 0 THEN 'delayed' ELSE 'queued' END,
                    now() + make_interval(secs => n.delay), now() + make_interval(secs => n.deadline), n.failures,
                    n.kind, n.payload
                FROM unnest(%(id)s::text[], %(thread)s::text[], %(pool)s::text[], %(tenant)s::text[],
                    %(priority)s::int[], %(delay)s::float8[], %(deadline)s::float8[], %(failures)s::int[],
                    %(kind)s::text[], %(payload)s::jsonb[])
                    AS n (id, thread_id, pool, tenant, priority, delay, deadline, failures, kind, payload)
                ON CONFLICT (id) DO NOTHING RETURNING id, state
            )
            SELECT id, CASE WHEN %(tell)s AND state = 'queued' THEN pg_notify(%(channel)s, '') END FROM made
            """,
            {
                "id": [run.id for run in runs],
                "thread": [run.thread_id for run in runs],
                "pool": [run.pool for run in runs],
                "tenant": [run.tenant for run in runs],
                "priority": [run.priority for run in runs],
                "delay": [float(run.delay_s) for run in runs],
                "deadline": [None if run.deadline_s is None else float(run.deadline_s) for run in runs],
                "failures": [run.max_failures for run in runs],
                "kind": [run.kind for run in runs],
                "payload": payloads,
                "tell": tell,
                "channel": ARRIVED,
            },
        )
        return [row["id"] for row in rows]

    async def _need_pools(self, names: set[str]) -> None:
        rows = await fetch(self._pool, "SELECT name FROM pools WHERE name = ANY (%s)", (sorted(names),))
        missing = names - {row["name"] for row in rows}
        if missing:
            raise InputError(
                f"there is no pool {sorted(missing)[0][:60]!r}",
                remedy="`chimera pools ls` lists them; `add` makes one.",
            )

    async def claim(self, lease: Lease, room: int, pools: Sequence[str] | None = None) -> list[Claim]:
        """Claim up to ``room`` runs, the fairest first; nothing for a worker whose lease is not its own any more."""
        rows = await fetch(
            self._pool,
            f"{_CLAIM} FROM claim_runs(%s, %s, %s, %s::text[])",
            (lease.worker, lease.epoch, room, list(pools) if pools is not None else None),
        )
        return [_claim(row) for row in rows]

    async def begin(self, claim: Claim) -> None:
        """Put on record that a claimed run begins: until then it has no part in the loss of its worker."""
        query = "UPDATE runs SET begun = true WHERE id = %s AND epoch = %s AND state = 'running'"
        await fetch(self._pool, query, (claim.id, claim.fence))

    async def excuse(self, lease: Lease) -> None:
        """Put on record that a worker which lost its lease is well: none of the runs that it had is to blame."""
        await fetch(self._pool, "SELECT excuse_runs(%s, %s)", (lease.worker, lease.epoch))

    async def strays(self, lease: Lease, known: Sequence[str]) -> list[Claim]:
        """What a worker has claimed without knowing it, as when the connection was lost over the answer."""
        rows = await fetch(
            self._pool,
            f"{_CLAIM} FROM runs WHERE worker = %s AND worker_epoch = %s AND state = 'running' AND NOT id = ANY (%s)",
            (lease.worker, lease.epoch, list(known)),
        )
        return [_claim(row) for row in rows]

    async def end(self, endings: Sequence[Ending]) -> dict[str, str]:
        """End claimed runs; return the states of those whose fence still held, by id. Whoever waits is told.

        Runs that wait for these are among them, if they are queued now.
        """
        found: dict[str, str] = {}
        for ending in endings:
            if ending.how == "wait":
                found |= await self._park(ending)
        endings = [ending for ending in endings if ending.how != "wait"]
        return found | await self._end(endings) if endings else found

    async def _park(self, ending: Ending) -> dict[str, str]:
        rows = await fetch(
            self._pool,
            "SELECT id, state, CASE WHEN state = 'queued' THEN pg_notify(%s, '') WHEN state = 'cancelled' "
            "THEN pg_notify(%s, id) END FROM park_run(%s, %s, %s::text[], %s)",
            (ARRIVED, ENDED, ending.claim.id, ending.claim.fence, list(ending.others), float(ending.wake_s)),
        )
        return {row["id"]: row["state"] for row in rows}

    async def _end(self, endings: Sequence[Ending]) -> dict[str, str]:
        ids = [ending.claim.id for ending in endings]
        rows = await fetch(
            self._pool,
            "SELECT id, state, CASE WHEN state = ANY (%s) THEN pg_notify(%s, id) "
            "WHEN state = 'queued' THEN pg_notify(%s, '') END "
            "FROM (SELECT * FROM end_runs(%s::text[], %s::bigint[], %s::text[], %s::jsonb[], %s::jsonb[]) "
            "UNION ALL SELECT * FROM wake_runs(%s::text[])) AS changed",
            (
                list(OVER),
                ENDED,
                ARRIVED,
                ids,
                [ending.claim.fence for ending in endings],
                [ending.how for ending in endings],
                [_json(ending.outcome) for ending in endings],
                [_json(ending.error) for ending in endings],
                ids,
            ),
        )
        return {row["id"]: row["state"] for row in rows}

    async def cancel(self, run_id: str, stop: Literal["cancel", "release"] = "cancel") -> str:
        """Cancel a run and all that it waits for, or ask its worker to let go of it; return its state now.

        Raises:
            InputError: there is no such run.
        """
        row = await fetch_one(
            self._pool,
            """
            WITH asked AS (
                UPDATE runs SET stop = CASE WHEN state = 'running' THEN coalesce(nullif(stop, 'release'), %(stop)s) END,
                    state = CASE WHEN state = 'running' OR %(stop)s = 'release' THEN state ELSE 'cancelled' END,
                    ended_at = CASE WHEN state = 'running' OR %(stop)s = 'release' THEN ended_at ELSE now() END
                WHERE id = %(id)s AND state IN ('delayed', 'queued', 'running', 'waiting') RETURNING id, state, worker
            )
            SELECT state, CASE state WHEN 'running' THEN pg_notify(%(stops)s, worker)
                WHEN 'cancelled' THEN pg_notify(%(ended)s, id) END FROM asked
            """,
            {"id": run_id, "stop": stop, "stops": STOPPED, "ended": ENDED},
        )
        if stop == "cancel":
            for child in await self.waited_for(run_id):
                await self.cancel(child)
            await self.wake([run_id])
        return str(row["state"]) if row is not None else str((await self.get(run_id))["state"])

    async def waited_for(self, run_id: str) -> list[str]:
        """The runs that a run waits for, and that are not over."""
        query = "SELECT id FROM runs WHERE parent = %s AND state = ANY (%s)"
        return [row["id"] for row in await fetch(self._pool, query, (run_id, list(OPEN)))]

    async def wake(self, ended: Sequence[str]) -> None:
        """Queue whatever waited for these runs alone."""
        query = "SELECT pg_notify(%s, '') FROM wake_runs(%s::text[])"
        await fetch(self._pool, query, (ARRIVED, list(ended)))

    async def of_mission(self, mission_id: str) -> list[dict[str, Any]]:
        """Id and state of the runs by which the fleet carried out a mission, newest first."""
        query = "SELECT id, state FROM runs WHERE kind = 'mission' AND thread_id = %s ORDER BY seq DESC"
        return await fetch(self._pool, query, (mission_id,))

    async def stops(self, worker: str) -> list[tuple[str, int, str]]:
        """What a worker is asked to do with runs of its own: id, fence, and cancel or release."""
        rows = await fetch(
            self._pool,
            "SELECT id, epoch, stop FROM runs WHERE worker = %s AND state = 'running' AND stop IS NOT NULL",
            (worker,),
        )
        return [(row["id"], row["epoch"], row["stop"]) for row in rows]

    async def sweep(self) -> dict[str, str]:
        """Take runs from workers that are lost, and end what is too late; return what they are now, by id."""
        rows = await fetch(
            self._pool,
            "SELECT id, state, CASE WHEN state = ANY (%s) THEN pg_notify(%s, id) "
            "WHEN state = 'queued' THEN pg_notify(%s, '') END "
            "FROM (SELECT * FROM sweep_runs() UNION ALL SELECT * FROM wake_runs(NULL)) AS changed",
            (list(OVER), ENDED, ARRIVED),
        )
        return {row["id"]: row["state"] for row in rows}

    async def replay(self, run_id: str, deadline_s: float | None = None) -> None:
        """Let a run that is dead, failed or cancelled run again, from its last checkpoint.

        Raises:
            InputError: there is no such run, or it is not over, or it is done.
        """
        rows = await fetch(
            self._pool,
            "UPDATE runs SET state = 'queued', failures = 0, losses = 0, error = NULL, ended_at = NULL, "
            "not_before = now(), deadline_at = now() + make_interval(secs => %s) "
            "WHERE id = %s AND state IN ('dead', 'failed', 'cancelled') RETURNING id, pg_notify(%s, '')",
            (deadline_s, run_id, ARRIVED),
        )
        if not rows:
            state = (await self.get(run_id))["state"]
            raise InputError(f"run {run_id} is {state}: only what is dead, failed or cancelled is run again")

    async def get(self, run_id: str) -> dict[str, Any]:
        """A run's row, without its payload.

        Raises:
            InputError: there is none.
        """
        found = await self.listed(ids=[run_id])
        if not found:
            raise InputError(f"there is no run {as_stored(run_id[:80])!r}", remedy="`chimera runs ls` lists them.")
        return found[0]

    async def over(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Those of the runs that are over: id, state, outcome, error."""
        return await fetch(
            self._pool,
            "SELECT id, state, outcome, error FROM runs WHERE id = ANY (%s) AND state = ANY (%s)",
            (list(ids), list(OVER)),
        )

    async def listed(
        self, *, ids: Sequence[str] | None = None, state: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Runs without their payloads, newest first."""
        return await fetch(
            self._pool,
            "SELECT id, kind, parent, thread_id, pool, tenant, priority, state, attempts, failures, losses, "
            "max_failures, not_before, deadline_at, worker, agent, stop, error, created_at, started_at, ended_at "
            "FROM runs "
            "WHERE (%(ids)s::text[] IS NULL OR id = ANY (%(ids)s)) AND (%(state)s::text IS NULL OR state = %(state)s) "
            "ORDER BY seq DESC LIMIT %(limit)s",
            {"ids": list(ids) if ids is not None else None, "state": state, "limit": limit},
        )

    async def unclaimed(self, older_than_s: float, limit: int = 1_000) -> list[tuple[str, str]]:
        """Id and pool of runs that could have been claimed for that long, oldest first."""
        rows = await fetch(
            self._pool,
            "SELECT id, pool FROM runs WHERE state = 'queued' AND not_before < now() - make_interval(secs => %s) "
            "ORDER BY seq LIMIT %s",
            (older_than_s, limit),
        )
        return [(row["id"], row["pool"]) for row in rows]

    async def seconds_until(self, moment: datetime) -> float:
        """How far away a moment is by the database's clock, which is the one that counts."""
        row = await fetch_one(
            self._pool, "SELECT extract(epoch FROM %s::timestamptz - clock_timestamp())::float8 AS left", (moment,)
        )
        return float(row["left"]) if row else 0.0


def _claim(row: Mapping[str, Any]) -> Claim:
    return Claim(**{"fence" if name == "epoch" else name: value for name, value in row.items()})


def _payload(run: NewRun) -> Jsonb:
    _refuse_large(run.id, run.payload)
    return as_json(run.payload)


def _json(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else as_json(dict(value))


def _refuse_large(run_id: str, payload: Mapping[str, Any]) -> None:
    size = _size(payload)
    if size > PAYLOAD_MAX_BYTES:
        raise InputError(
            f"run {run_id[:80]} carries {size:,} bytes, and at most {PAYLOAD_MAX_BYTES:,} are taken",
            remedy="Put large material into an artifact or a feed, and name it in the task.",
        )


def fits(outcome: Mapping[str, Any]) -> bool:
    """Whether an outcome may be recorded."""
    return _size(outcome) <= PAYLOAD_MAX_BYTES


def _size(value: Mapping[str, Any]) -> int:
    return len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))
