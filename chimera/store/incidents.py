"""Security incidents and what they hold back, in Postgres."""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from chimera.core.errors import InputError
from chimera.core.ids import derived_id
from chimera.store.held import free_agents, hold_agents, hold_pool
from chimera.store.postgres import Connection, Pool, fetch, fetch_one
from chimera.store.values import as_json, as_stored, is_uuid

AGENT, POOL = "agent", "pool"
Held = frozenset[tuple[str, str, str]]
"""What is held back: tenant, kind (agent or pool) and name."""


@dataclass(frozen=True)
class Incident:
    """Something critical that an agent tried. ``quarantined``: what it holds back, such as ``agent NAME``."""

    id: str
    tenant: str
    mission_id: str | None
    agent: str
    pool: str
    edge: str
    rule: str
    threat: str
    reasons: list[str]
    opened_at: datetime
    state: str = "open"
    trail: str | None = None
    review_id: str | None = None
    released_at: datetime | None = None
    released_by: str | None = None
    reason: str | None = None
    quarantined: list[str] = field(default_factory=list[str])

    def plain(self) -> dict[str, Any]:
        """The incident as JSON data."""
        times = {name: at.isoformat() if (at := getattr(self, name)) else None for name in ("opened_at", "released_at")}
        return {**asdict(self), **times}


@dataclass(frozen=True)
class Report:
    """What is to become an incident. ``basis`` tells one deed from another; ``subject`` is who is held back, if any."""

    tenant: str
    mission_id: str | None
    agent: str
    pool: str
    edge: str
    rule: str
    threat: str
    reasons: list[str]
    basis: str
    subject: str | None


_ALL = (
    "SELECT i.*, coalesce(array_agg(q.kind || ' ' || q.subject ORDER BY q.kind) FILTER (WHERE q.kind IS NOT NULL), "
    "'{}') AS quarantined FROM incidents i LEFT JOIN quarantines q ON q.incident_id = i.id "
)


class IncidentStore:
    """Reads and writes the tables ``incidents`` and ``quarantines``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def open(self, report: Report, at: datetime, pool_limit: int, window: timedelta) -> tuple[Incident, bool]:
        """Open an incident, unless it is open; and whether it was opened by this call.

        The agent is held back at once, and with more than ``pool_limit`` incidents of its pool within ``window`` the
        pool too.
        """
        async with self._pool.connection() as connection, connection.transaction():
            # One at a time in a pool, or two would each not see the other when they count.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext(%s))", (f"incidents/{report.tenant}/{report.pool}",)
            )
            incident_id, is_new = await _place(connection, report)
            if is_new:
                await _insert(connection, incident_id, report, at)
                await _hold(connection, incident_id, report, at - window, pool_limit)
        return await self.find(incident_id), is_new

    async def untold(self, connection: Connection, incident_id: str) -> bool:
        """Hold an incident in a transaction; whether nobody has told of it yet."""
        cursor = await connection.execute("SELECT trail FROM incidents WHERE id = %s FOR UPDATE", (incident_id,))
        row = await cursor.fetchone()
        return row is not None and row["trail"] is None

    async def told(self, connection: Connection, incident_id: str, *, trail: str, review_id: str) -> None:
        """Note in a transaction that an incident is on the record, and which question was put to a human."""
        await connection.execute(
            "UPDATE incidents SET trail = %s, review_id = %s WHERE id = %s", (trail, review_id, incident_id)
        )

    async def release(
        self, connection: Connection, incident_id: str, by: str, reason: str, at: datetime, review_id: str
    ) -> bool:
        """End an incident in a transaction, by the answer to a question; False when it had ended before."""
        cursor = await connection.execute(
            "UPDATE incidents SET state = 'released', released_at = %s, released_by = %s, reason = %s, review_id = %s "
            "WHERE id = %s AND state = 'open' RETURNING id",
            (at, as_stored(by), as_stored(reason), review_id, incident_id),
        )
        if await cursor.fetchone() is None:
            return False
        await free_agents(connection, incident_id)
        return True

    async def asked_by(self, review_id: str) -> Incident | None:
        """The incident that a question is about, if it is about one."""
        row = await fetch_one(self._pool, f"{_ALL} WHERE i.review_id = %s GROUP BY i.id", (review_id,))
        return _incident(row) if row else None

    async def held(self) -> Held:
        """All that open incidents hold back."""
        rows = await fetch(
            self._pool,
            "SELECT DISTINCT q.tenant, q.kind, q.subject FROM quarantines q JOIN incidents i ON i.id = q.incident_id "
            "WHERE i.state = 'open'",
        )
        return frozenset((row["tenant"], row["kind"], row["subject"]) for row in rows)

    async def find(self, id_or_prefix: str) -> Incident:
        """The incident for an id or a unique prefix of one.

        Raises:
            InputError: none matches, or several do.
        """
        prefix = id_or_prefix.strip().lower()
        rows: list[Any] = []
        if prefix and not set(prefix) - set("0123456789abcdef-"):
            rows = await fetch(self._pool, f"{_ALL} WHERE starts_with(i.id::text, %s) GROUP BY i.id LIMIT 2", (prefix,))
        if len(rows) != 1:
            raise InputError(
                f"{'several incidents' if rows else 'no incident'} with the id {id_or_prefix[:40]!r}",
                remedy="`chimera incident ls --all` lists them.",
            )
        return _incident(rows[0])

    async def listed(
        self,
        *,
        tenant: str | None = None,
        released: bool = False,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 200,
    ) -> list[Incident]:
        """Incidents, newest first; with ``released`` the ended ones too."""
        rows = await fetch(
            self._pool,
            f"{_ALL} WHERE (%(tenant)s::text IS NULL OR i.tenant = %(tenant)s) "
            "AND (%(released)s OR i.state = 'open') "
            "AND (%(since)s::timestamptz IS NULL OR i.opened_at >= %(since)s) "
            "AND (%(until)s::timestamptz IS NULL OR i.opened_at < %(until)s) "
            "GROUP BY i.id ORDER BY i.opened_at DESC, i.id LIMIT %(limit)s",
            {"tenant": tenant, "released": released, "since": since, "until": until, "limit": limit},
        )
        return [_incident(row) for row in rows]

    async def mission_exists(self, mission_id: str | None) -> bool:
        """Whether a question about it can be put on the queue."""
        if mission_id is None or not is_uuid(mission_id):
            return False
        row = await fetch_one(self._pool, "SELECT 1 AS found FROM missions WHERE id = %s", (mission_id,))
        return row is not None


async def _place(connection: Connection, report: Report) -> tuple[str, bool]:
    """The id for a report, and whether it is free: the same deed again, after a release, is another incident."""
    number = 0
    while True:
        incident_id = derived_id("incident", report.tenant, report.basis, number)
        cursor = await connection.execute("SELECT state FROM incidents WHERE id = %s", (incident_id,))
        row = await cursor.fetchone()
        if row is None or row["state"] == "open":
            return incident_id, row is None
        number += 1


async def _insert(connection: Connection, incident_id: str, report: Report, at: datetime) -> None:
    mission_id = report.mission_id if report.mission_id and is_uuid(report.mission_id) else None
    await connection.execute(
        "INSERT INTO incidents (id, tenant, mission_id, agent, pool, edge, rule, threat, reasons, opened_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            incident_id,
            report.tenant,
            mission_id,
            as_stored(report.agent),
            as_stored(report.pool),
            report.edge,
            report.rule,
            report.threat,
            as_json(report.reasons),
            at,
        ),
    )


async def _hold(connection: Connection, incident_id: str, report: Report, since: datetime, pool_limit: int) -> None:
    cursor = await connection.execute(
        "SELECT count(*) AS n FROM incidents WHERE tenant = %s AND pool = %s AND opened_at > %s",
        (report.tenant, as_stored(report.pool), since),
    )
    row = await cursor.fetchone()
    subjects: list[tuple[str, str | None]] = [(AGENT, report.subject)]
    if row is not None and row["n"] > pool_limit:
        subjects = [*subjects, (POOL, report.pool)]
    for kind, subject in subjects:
        if subject is not None:
            await connection.execute(
                "INSERT INTO quarantines (incident_id, kind, subject, tenant) VALUES (%s, %s, %s, %s)",
                (incident_id, kind, as_stored(subject), report.tenant),
            )
    if report.subject is not None:
        place = report.mission_id
        await hold_agents(connection, incident_id, tenant=report.tenant, mission_id=place, agent=report.agent)
    if len(subjects) > 1:
        await hold_pool(connection, tenant=report.tenant, pool=report.pool)


def _incident(row: dict[str, Any]) -> Incident:
    texts = {name: str(row[name]) if row[name] else None for name in ("mission_id", "review_id")}
    return Incident(**cast("dict[str, Any]", {**row, **texts, "id": str(row["id"])}))
