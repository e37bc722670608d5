"""The agents that incidents hold back: quarantined in the table of agents too, and given back at a release."""

from chimera.store.postgres import Connection
from chimera.store.values import as_stored

_AT_WORK = """
SELECT r.agent FROM runs AS r WHERE r.state = 'running' AND r.agent IS NOT NULL AND starts_with(r.thread_id, %(thread)s)
UNION SELECT a.id FROM agents AS a WHERE a.tenant = %(tenant)s AND a.id = ANY (%(names)s)
"""


async def hold_agents(
    connection: Connection, incident_id: str, *, tenant: str, mission_id: str | None, agent: str
) -> None:
    """Hold back the fleet's agent behind ``agent``: whoever works at that place of the mission, or has that name."""
    name = agent.removeprefix("agent:")
    about = {"tenant": tenant, "names": [as_stored(agent), as_stored(name)], "thread": f"{mission_id}/{name}/"}
    cursor = await connection.execute(_AT_WORK.encode(), about)
    ids = sorted(row["agent"] for row in await cursor.fetchall())
    for each in ids:
        await connection.execute(
            "INSERT INTO quarantines (incident_id, kind, subject, tenant) VALUES (%s, 'agent', %s, %s) "
            "ON CONFLICT DO NOTHING",
            (incident_id, each, tenant),
        )
    await _quarantine(connection, "id = ANY (%s)", ids)


async def hold_pool(connection: Connection, *, tenant: str, pool: str) -> None:
    """Hold back a tenant's agents of a pool."""
    await _quarantine(connection, "tenant = %s AND pool = %s", tenant, as_stored(pool))


async def _quarantine(connection: Connection, which: str, *values: object) -> None:
    query = (
        "UPDATE agents SET state_before = state, state = 'quarantined', updated_at = clock_timestamp() "  # noqa: S608 - of the two above
        f"WHERE state <> 'quarantined' AND {which}"
    )
    await connection.execute(query.encode(), values)


async def free_agents(connection: Connection, incident_id: str) -> None:
    """Give back what an incident held that has just been released, but for what another open one holds.

    Whoever was quarantined by hand stays so.
    """
    await connection.execute(
        """
        UPDATE agents AS a SET state = CASE WHEN a.run_id IS NOT NULL THEN 'working'
            WHEN a.state_before = 'sleeping' THEN 'sleeping' ELSE 'waiting' END,
            state_before = NULL, updated_at = clock_timestamp()
        WHERE a.state = 'quarantined' AND a.state_before IS NOT NULL AND EXISTS (
            SELECT FROM quarantines AS q WHERE q.incident_id = %s AND q.tenant = a.tenant
            AND (q.kind, q.subject) IN (('agent', a.id), ('pool', a.pool))
        ) AND NOT EXISTS (
            SELECT FROM quarantines AS q JOIN incidents AS i ON i.id = q.incident_id WHERE i.state = 'open'
            AND q.tenant = a.tenant AND (q.kind, q.subject) IN (('agent', a.id), ('pool', a.pool))
        )
        """,
        (incident_id,),
    )
