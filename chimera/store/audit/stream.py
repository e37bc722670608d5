"""Reading a chain from its first event to its last, in bounded memory."""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chimera.store.audit.checkpoint import Checkpoint
from chimera.store.audit.checkpoints import checkpoints_of
from chimera.store.postgres import Pool, take_time

_WITHIN_S = 3_600.0
_PAGE = 2_000


@dataclass(frozen=True)
class Part:
    """Which events of a tenant: ``since`` is the first moment of a period, ``until`` the first after it."""

    tenant: str = "default"
    since: datetime | None = None
    until: datetime | None = None
    mission_id: str | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all that the tenant has."""
        return (self.since, self.until, self.mission_id) == (None, None, None)

    def has(self, at: datetime) -> bool:
        """Whether a moment is in the period."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


async def read_part(pool: Pool, part: Part) -> AsyncGenerator[dict[str, Any] | Checkpoint]:
    """The events of a part, oldest first, each with its hashes; then all checkpoints of the tenant.

    It is one snapshot. An event that is no JSON any more, because somebody changed it, comes as it is in ``body``.
    """
    async with pool.connection(within_s=_WITHIN_S) as connection, connection.transaction():
        await take_time(connection)
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        async with connection.cursor(name="audit_part") as rows:
            rows.itersize = _PAGE
            await rows.execute(
                "SELECT seq, body, prev_hash, hash FROM audit_events "
                "WHERE tenant = %(tenant)s AND (%(mission)s::uuid IS NULL OR mission_id = %(mission)s) ORDER BY seq",
                {"tenant": part.tenant, "mission": part.mission_id},
            )
            async for row in rows:
                event = _event(row)
                if part.has(moment_of(event)):
                    yield event
        for checkpoint in await checkpoints_of(connection, part.tenant):
            yield checkpoint


def moment_of(event: Mapping[str, Any]) -> datetime:
    """When an event happened; the beginning of time for one that does not say."""
    try:
        at = datetime.fromisoformat(str(event.get("at")))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _event(row: dict[str, Any]) -> dict[str, Any]:
    hashes = {"prev_hash": row["prev_hash"], "hash": row["hash"]}
    try:
        body = json.loads(row["body"])
    except ValueError:
        body = None
    return {**body, **hashes} if isinstance(body, dict) else {"seq": row["seq"], "body": row["body"], **hashes}
