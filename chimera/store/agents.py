"""Agents: durable identities, each in a pool, each doing one thing at a time."""

from collections.abc import Sequence
from typing import Any

from chimera.core.errors import ConflictError, InputError
from chimera.store.postgres import Pool, fetch, fetch_one
from chimera.store.runs import STOPPED

CHANGES = {
    "waiting": {"planning", "working", "judging", "sleeping", "quarantined"},
    "planning": {"working", "judging", "waiting", "quarantined"},
    "working": {"planning", "judging", "waiting", "quarantined"},
    "judging": {"planning", "working", "waiting", "quarantined"},
    "sleeping": {"waiting", "quarantined"},
    "quarantined": {"waiting"},
}
"""What may follow each state. Waiting: for work or an answer; only then a run is given to it. Sleeping: set aside."""


class AgentStore:
    """Reads and writes the table ``agents``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        ids: Sequence[str],
        *,
        pool: str = "default",
        tenant: str = "default",
        role: str = "worker",
        persona: str = "",
    ) -> int:
        """Create agents; those that exist stay as they are. Return how many are new.

        Raises:
            InputError: there is no such pool.
        """
        if await fetch_one(self._pool, "SELECT 1 FROM pools WHERE name = %s", (pool,)) is None:
            raise InputError(f"there is no pool {pool[:60]!r}", remedy="`chimera pools ls` lists them.")
        rows = await fetch(
            self._pool,
            "WITH made AS (INSERT INTO agents (id, tenant, pool, role, persona) "
            "SELECT n.id, %s, %s, %s, %s FROM unnest(%s::text[]) AS n (id) ON CONFLICT DO NOTHING RETURNING 1) "
            "SELECT count(*) AS n FROM made",
            (tenant, pool, role, persona, list(ids)),
        )
        return int(rows[0]["n"])

    async def get(self, agent: str) -> dict[str, Any]:
        """An agent's row.

        Raises:
            InputError: there is none.
        """
        row = await fetch_one(self._pool, "SELECT * FROM agents WHERE id = %s", (agent,))
        if row is None:
            raise InputError(f"there is no agent {agent[:80]!r}", remedy="`chimera agents ls` lists them.")
        return row

    async def listed(
        self, *, pool: str | None = None, state: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Agents by id."""
        return await fetch(
            self._pool,
            "SELECT * FROM agents WHERE (%(pool)s::text IS NULL OR pool = %(pool)s) "
            "AND (%(state)s::text IS NULL OR state = %(state)s) ORDER BY id LIMIT %(limit)s",
            {"pool": pool, "state": state, "limit": limit},
        )

    async def change(self, agent: str, state: str) -> None:
        """Move an agent to another state.

        Raises:
            InputError: there is no such agent or state. ConflictError: that state may not follow the present one, or an
                incident holds the agent back.
        """
        if state not in CHANGES:
            raise InputError(f"{state[:40]!r} is no state of an agent; there are {', '.join(CHANGES)}")
        before = [name for name, after in CHANGES.items() if state in after or state == name]
        rows = await fetch(
            self._pool,
            "UPDATE agents SET state = %s, updated_at = now() WHERE id = %s AND state = ANY (%s) "
            "AND state_before IS NULL RETURNING id",
            (state, agent, before),
        )
        if not rows:
            found = await self.get(agent)
            now = found["state"]
            if found["state_before"] is not None:
                raise ConflictError(
                    f"agent {agent} is held back by an incident", remedy="`chimera incident ls` and `release` end it."
                )
            raise ConflictError(f"agent {agent} is {now}, and {state} cannot follow that")

    async def remove(self, agent: str) -> None:
        """Delete an agent. What it works on goes on from its last checkpoint, with another agent.

        Raises:
            InputError: there is no such agent.
        """
        row = await fetch_one(
            self._pool,
            "WITH gone AS (DELETE FROM agents WHERE id = %(id)s RETURNING id), "
            "left_over AS (UPDATE runs SET stop = coalesce(stop, 'release') WHERE agent = %(id)s AND state = 'running' "
            "AND EXISTS (SELECT 1 FROM gone) RETURNING worker) "
            "SELECT id, (SELECT count(pg_notify(%(stops)s, worker)) FROM left_over) FROM gone",
            {"id": agent, "stops": STOPPED},
        )
        if row is None:
            raise InputError(f"there is no agent {agent[:80]!r}", remedy="`chimera agents ls` lists them.")
