"""Whether the books agree with themselves: every hash, every hold, every budget and every seal, computed anew.

The database refuses to change a row of the journal, and its owner alone could take that refusal away. This finds what
was done then: rows are chained by hashes within each payment, and all of them are sealed on the audit record.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from chimera.commerce.intents import digest_of
from chimera.commerce.rows import intent_of
from chimera.core.errors import LedgerBroken
from chimera.store.postgres import Connection, Pool, take_time

_NOTHING = b"\0" * 32
_PAGE = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WITHIN_S = 900.0
_SHOWN = 20
_OF_HOLDS = """
    SELECT h.intent, h.leg, h.amount, h.captured, h.refunded, h.state, i.state AS stands,
        coalesce(sum(j.amount) FILTER (WHERE j.kind = 'hold'), 0) AS held_of,
        coalesce(sum(j.amount) FILTER (WHERE j.kind = 'capture'), 0) AS captured_of,
        coalesce(sum(j.amount) FILTER (WHERE j.kind = 'release'), 0) AS released_of,
        coalesce(sum(j.amount) FILTER (WHERE j.kind = 'refund'), 0) AS refunded_of
    FROM holds AS h JOIN intents AS i ON i.id = h.intent LEFT JOIN journal AS j ON j.intent = h.intent AND j.leg = h.leg
    WHERE i.tenant = %s GROUP BY h.intent, h.leg, i.state
"""
_OF_BUDGETS = """
    SELECT b.id, b.held, b.posted, b.cap, b.ceiling,
        coalesce(sum(h.amount) FILTER (WHERE h.state = 'held'), 0) AS held_of,
        CASE WHEN b.period = 'rolling'
            THEN coalesce((SELECT sum(s.amount) FROM budget_spends AS s WHERE s.budget_id = b.id), 0)
            ELSE coalesce(sum(h.captured - h.refunded)
                FILTER (WHERE h.state = 'captured' AND h.settled_at >= b.since), 0)
        END AS posted_of
    FROM budgets AS b LEFT JOIN (SELECT o.*, n AS budget FROM holds AS o CROSS JOIN unnest(o.budgets) AS n) AS h
        ON h.budget = b.id WHERE b.tenant = %s GROUP BY b.id
"""
_RESERVED = ("reserved", "signed", "broadcast", "confirmed", "unknown", "quarantined", "failed")


@dataclass
class Checked:
    """What was looked at, and what is wrong with it."""

    tenant: str
    entries: int = 0
    intents: int = 0
    holds: int = 0
    budgets: int = 0
    sealed_to: int = 0
    unsealed: int = 0
    faults: list[str] = field(default_factory=list[str])

    def plain(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {**vars(self), "intact": not self.faults}

    def require(self) -> None:
        """Raise when something is wrong.

        Raises:
            LedgerBroken: with the first fault, and how many there are.
        """
        if self.faults:
            more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
            raise LedgerBroken(f"{self.faults[0]}{more}", faults=self.faults[:_SHOWN])


async def verify_ledger(pool: Pool, tenant: str) -> Checked:
    """Check everything of a tenant as it is at one moment; what is wrong is in ``faults``."""
    async with pool.connection(within_s=_WITHIN_S) as connection:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            await take_time(connection)
            return await verify_within(connection, tenant)
        finally:
            await connection.execute("ROLLBACK")


async def verify_within(connection: Connection, tenant: str) -> Checked:
    """Check everything of a tenant in a transaction of the caller, which sees one moment."""
    found = Checked(tenant)
    heads = await _intents(connection, found)
    await _journal(connection, found, heads)
    await _holds(connection, found)
    await _budgets(connection, found)
    return found


async def _intents(connection: Connection, found: Checked) -> dict[str, bytes]:
    """The newest hash of each payment, as its row says."""
    heads: dict[str, bytes] = {}
    last = "00000000-0000-0000-0000-000000000000"
    while True:
        cursor = await connection.execute(
            "SELECT * FROM intents WHERE tenant = %s AND id > %s ORDER BY id LIMIT %s", (found.tenant, last, _PAGE)
        )
        rows = await cursor.fetchall()
        for row in rows:
            intent = intent_of(row)
            heads[intent.id] = bytes(row["head"])
            if intent.computed() != intent.digest or intent.asked.request() != bytes(row["request"]):
                found.faults.append(f"payment {intent.id} does not say what its digest was made of")
        found.intents += len(rows)
        if len(rows) < _PAGE:
            return heads
        last = str(rows[-1]["id"])


async def _journal(connection: Connection, found: Checked, heads: Mapping[str, bytes]) -> None:
    """Walk the journal: the chain of each payment, and the seals over all of it."""
    cursor = await connection.execute("SELECT * FROM journal_seals WHERE tenant = %s ORDER BY upto", (found.tenant,))
    seals = await cursor.fetchall()
    await _recorded(connection, found, seals)
    sealing, place, counted = hashlib.sha256(), 0, 0
    last: dict[str, bytes] = {}
    after = 0
    while True:
        cursor = await connection.execute(
            "SELECT * FROM journal WHERE tenant = %s AND seq > %s ORDER BY seq LIMIT %s", (found.tenant, after, _PAGE)
        )
        rows = await cursor.fetchall()
        for row in rows:
            intent = str(row["intent"]) if row["intent"] else ""
            before = last.get(intent, _NOTHING) if intent else _NOTHING
            if bytes(row["prev_hash"]) != before or _hash(row) != bytes(row["hash"]):
                found.faults.append(f"row {row['seq']} of the journal was changed, or one before it removed")
            if intent:
                last[intent] = bytes(row["hash"])
            while place < len(seals) and row["seq"] > seals[place]["upto"]:
                _sealed(found, seals[place], sealing.digest(), counted)
                sealing, counted, place = hashlib.sha256(), 0, place + 1
            sealing.update(bytes(row["hash"]))
            counted += 1
        found.entries += len(rows)
        if len(rows) < _PAGE:
            break
        after = int(rows[-1]["seq"])
    for seal in seals[place:]:
        _sealed(found, seal, sealing.digest(), counted)
        sealing, counted = hashlib.sha256(), 0
    found.unsealed = counted
    for intent, head in heads.items():
        if last.get(intent, _NOTHING) != head:
            found.faults.append(f"the newest row of payment {intent} in the journal is missing")


def _sealed(found: Checked, seal: Mapping[str, Any], sealing: bytes, counted: int) -> None:
    if sealing != bytes(seal["digest"]) or counted != seal["entries"]:
        found.faults.append(f"rows {seal['first']} to {seal['upto']} of the journal are not those that were sealed")
    found.sealed_to = int(seal["upto"])


async def _recorded(connection: Connection, found: Checked, seals: list[dict[str, Any]]) -> None:
    """Compare the seals with those on the audit record."""
    cursor = await connection.execute(
        "SELECT body FROM audit_events WHERE tenant = %s AND kind = 'money.sealed' ORDER BY seq", (found.tenant,)
    )
    told = [json.loads(row["body"])["data"] for row in await cursor.fetchall()]
    mine = [
        {**{name: int(seal[name]) for name in ("first", "upto", "entries")}, "digest": bytes(seal["digest"]).hex()}
        for seal in seals
    ]
    if mine != told:
        found.faults.append("the seals of the journal are not those on the audit record")


def _hash(row: Mapping[str, Any]) -> bytes:
    micros = (row["at"] - _EPOCH) // timedelta(microseconds=1)
    return digest_of(
        "chimera-entry-1",
        bytes(row["prev_hash"]).hex(),
        *(row["tenant"], row["key"], str(row["intent"] or ""), row["leg"], row["kind"], row["debit"], row["credit"]),
        *(row["asset"], str(int(row["amount"])), str(micros)),
    )


async def _holds(connection: Connection, found: Checked) -> None:
    """Each hold beside its rows in the journal, and beside the state of its payment."""
    rows = await (await connection.execute(_OF_HOLDS, (found.tenant,))).fetchall()
    found.holds = len(rows)
    for row in rows:
        open_units = row["held_of"] - row["captured_of"] - row["released_of"]
        expected = row["amount"] if row["state"] == "held" else 0
        told = (row["held_of"], row["captured_of"], row["refunded_of"], open_units)
        if told != (row["amount"], row["captured"], row["refunded"], expected):
            found.faults.append(f"the hold {row['intent']}/{row['leg']} is not what the journal says of it")
        if (row["state"] == "held") != (row["stands"] in _RESERVED):
            found.faults.append(f"payment {row['intent']} is {row['stands']}, and its {row['leg']} is {row['state']}")


async def _budgets(connection: Connection, found: Checked) -> None:
    """Each budget beside the holds that count in it."""
    rows = await (await connection.execute(_OF_BUDGETS, (found.tenant,))).fetchall()
    found.budgets = len(rows)
    for row in rows:
        if (row["held"], row["posted"]) != (row["held_of"], row["posted_of"]):
            found.faults.append(f"budget {row['id']} does not add up: {row['held']} held and {row['posted']} spent")
        if row["held"] + row["posted"] > max(row["cap"], row["ceiling"]):
            found.faults.append(f"budget {row['id']} is overspent")
