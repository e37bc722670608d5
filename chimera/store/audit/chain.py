"""Verifying a chain: row by row, against its head, and against what was signed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chimera.core.errors import AuditBroken
from chimera.core.ids import digest
from chimera.store.audit.checkpoint import Checkpoint, Trusted, check_signature
from chimera.store.audit.checkpoints import checkpoints_of
from chimera.store.audit.event import GENESIS
from chimera.store.postgres import Pool, take_time

_VERIFY_S = 3_600.0
_PAGE = 5_000


@dataclass(frozen=True)
class Verified:
    """What was found intact.

    ``first`` and ``last`` are numbers of events, 0 when there are none. The events from ``signed_from`` to
    ``signed_to`` cannot have been changed by anybody without the private key; 0 when none is signed. ``trusted``:
    whether signatures were checked at all. ``gaps``: how often numbers are left out, which only a part may do.
    """

    tenant: str
    events: int = 0
    first: int = 0
    last: int = 0
    head: str = ""
    checkpoints: int = 0
    signed_from: int = 0
    signed_to: int = 0
    trusted: bool = False
    gaps: int = 0


@dataclass
class Walk:
    """Takes the rows of one tenant in order. ``whole``: the chain has to begin with its first event and have no gap."""

    tenant: str
    checkpoints: Sequence[Checkpoint]
    trusted: Sequence[Trusted]
    whole: bool = True
    events: int = 0
    first: int = 0
    seq: int = 0
    last: str = GENESIS
    gaps: int = 0
    _run: int = 0  # where the present run without a gap begins
    _signed: tuple[int, int] = (0, 0)
    _ends: dict[int, list[Checkpoint]] = field(default_factory=dict[int, list[Checkpoint]])

    def __post_init__(self) -> None:
        for checkpoint in self.checkpoints:
            if self.trusted:
                check_signature(checkpoint, self.trusted)
            self._ends.setdefault(checkpoint.seq, []).append(checkpoint)

    def take(self, row: Mapping[str, Any]) -> None:
        """Check the next row: columns seq, mission_id, kind, body, prev_hash, hash.

        Raises:
            AuditBroken: it is not what it has to be.
        """
        seq = int(row["seq"])
        follows = seq == self.seq + 1
        if not follows and (self.whole or seq <= self.seq):
            raise AuditBroken(
                f"tenant {self.tenant}: event {self.seq + 1} is missing"
                if seq > self.seq
                else f"tenant {self.tenant}: event {seq} is there more than once"
            )
        if not follows and self.events:
            self.gaps += 1
        if not follows or not self.events:
            self._run = seq
        _check_row(row, self.last if follows else str(row["prev_hash"]), self.tenant)
        self.first = self.first or seq
        self.seq, self.last, self.events = seq, str(row["hash"]), self.events + 1
        for checkpoint in self._ends.pop(seq, ()):
            self._compare(checkpoint)

    def _compare(self, checkpoint: Checkpoint) -> None:
        if checkpoint.hash != self.last:
            since = max(self._run, self._signed[1] + 1)
            place = f"event {self.seq} was" if since == self.seq else f"one of the events {since} to {self.seq} was"
            raise AuditBroken(
                f"tenant {self.tenant}: {place} changed after event {self.seq} was signed ({checkpoint.at})"
            )
        # What is signed is the end, and with it all that leads to it without a gap.
        joined = self._signed[1] >= self._run and self._signed[1]
        self._signed = (self._signed[0] if joined else self._run, self.seq)

    def end(self) -> Verified:
        """What was found, when there are no more rows.

        Raises:
            AuditBroken: a checkpoint was signed for an event that is not there.
        """
        if self.whole and self._ends:
            last = max(self._ends)
            what = f"event {last} is" if last == self.seq + 1 else f"the events {self.seq + 1} to {last} are"
            raise AuditBroken(
                f"tenant {self.tenant}: {what} missing: the chain ends at {self.seq}, and event {last} was signed "
                f"({self._ends[last][0].at})"
            )
        return Verified(
            tenant=self.tenant,
            events=self.events,
            first=self.first,
            last=self.seq,
            head=self.last if self.events else "",
            checkpoints=len(self.checkpoints) - sum(map(len, self._ends.values())),
            signed_from=self._signed[0],
            signed_to=self._signed[1],
            trusted=bool(self.trusted),
            gaps=self.gaps,
        )


async def verify_chain(
    pool: Pool, tenant: str, trusted: Sequence[Trusted], elsewhere: Sequence[Checkpoint] = ()
) -> Verified:
    """Walk a tenant's chain in the database; see :meth:`chimera.store.audit.AuditLog.examine`.

    Raises:
        AuditBroken: a row or a checkpoint was changed, removed, added or moved; the message names the place.
    """
    async with pool.connection(within_s=_VERIFY_S) as connection, connection.transaction():
        await take_time(connection)
        # One snapshot: what others append meanwhile must not look like tampering.
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor = await connection.execute("SELECT seq, hash FROM audit_heads WHERE tenant = %s", (tenant,))
        head = await cursor.fetchone()
        kept = [*await checkpoints_of(connection, tenant), *(one for one in elsewhere if one.tenant == tenant)]
        walk = Walk(tenant, kept, trusted)
        async with connection.cursor(name="audit_chain") as rows:
            rows.itersize = _PAGE
            await rows.execute(
                "SELECT seq, mission_id, kind, body, prev_hash, hash FROM audit_events WHERE tenant = %s ORDER BY seq",
                (tenant,),
            )
            async for row in rows:
                walk.take(row)
    found = walk.end()
    if head and (head["seq"], head["hash"]) != (walk.seq, walk.last):
        raise AuditBroken(
            f"tenant {tenant}: the chain ends at {walk.seq}, which is not the end that its head has ({head['seq']})"
        )
    if not head and walk.events:
        raise AuditBroken(f"tenant {tenant}: the chain has {walk.events} events and no head")
    return found


def _check_row(row: Mapping[str, Any], last: str, tenant: str) -> None:
    seq = row["seq"]
    if row["prev_hash"] != last:
        raise AuditBroken(f"tenant {tenant}: event {seq} does not follow event {seq - 1}")
    if digest(last + row["body"]) != row["hash"]:
        raise AuditBroken(f"tenant {tenant}: event {seq} was changed")
    shown = {
        "tenant": tenant,
        "mission_id": str(row["mission_id"]) if row["mission_id"] else None,
        "kind": row["kind"],
        "seq": seq,
    }
    if not shown.items() <= json.loads(row["body"]).items():
        raise AuditBroken(f"tenant {tenant}: event {seq}: its columns do not match what was hashed")
