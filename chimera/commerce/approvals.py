"""Agreements of people to payments: each bound to the exact payment, of one person, counted until it expires.

They are written in the transaction in which the answer to the question is recorded (``guards/decisions.py``), and read
from the database wherever it matters. What a graph's state says about an answer counts for nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chimera.commerce.intents import Intent
from chimera.commerce.payment_policy import Level
from chimera.core.errors import ApprovalMissing, GuardRejected
from chimera.core.persons import same_person
from chimera.store.postgres import Connection, Pool, fetch, fetch_one

_ADD = b"""
    INSERT INTO payment_approvals (intent, approver, digest, review_id, expires_at)
    SELECT n.id, %s, n.digest, %s, least(n.expires_at, ledger_now() + make_interval(secs => %s))
    FROM intents AS n WHERE n.id = %s AND n.digest = %s AND n.state = 'escalated' AND n.expires_at > ledger_now()
    ON CONFLICT DO NOTHING RETURNING approver
"""
_USE = """
    UPDATE payment_signatures SET used_by = %s, used_at = ledger_now()
    WHERE intent = %s AND digest = %s AND used_at IS NULL AND expires_at > ledger_now() RETURNING intent
"""


@dataclass(frozen=True)
class Agreed:
    """One agreement. ``good``: it is to this very payment, and has not expired."""

    approver: str
    at: datetime
    expires_at: datetime
    good: bool


@dataclass(frozen=True)
class Signed:
    """The CFO's signature over a payment. ``signer``: the address of the key."""

    intent: str
    digest: bytes
    signer: str
    signature: bytes
    expires_at: datetime
    used_by: str | None = None


class ApprovalStore:
    """Reads and writes ``payment_approvals`` and ``payment_signatures``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def agree_within(
        self, connection: Connection, intent_id: str, digest: bytes, approver: str, review_id: str, counts_s: int
    ) -> None:
        """Write down that somebody agrees, in the transaction of the answer.

        Raises:
            GuardRejected: he agreed before, it is his own payment, or the payment is another one or waits no more.
        """
        row = await (
            await connection.execute(b"SELECT agent, digest, state FROM intents WHERE id = %s", (intent_id,))
        ).fetchone()
        if row is None or bytes(row["digest"]) != digest:
            raise GuardRejected("this is not the payment that was asked about", remedy="Look at the newest question.")
        if same_person(str(row["agent"]), approver):
            raise GuardRejected(
                f"{approver[:60]!r} asked for this payment and cannot agree to it", remedy="Somebody else has to."
            )
        values = (approver, review_id, counts_s, intent_id, digest)
        if await (await connection.execute(_ADD, values)).fetchone() is None:
            if row["state"] != "escalated":
                raise GuardRejected(f"the payment is {row['state']} and waits for nobody's agreement")
            before = await connection.execute(
                b"SELECT 1 AS one FROM payment_approvals WHERE intent = %s AND approver = %s", (intent_id, approver)
            )
            twice = await before.fetchone() is not None
            raise GuardRejected(
                f"{approver[:60]!r} agreed before; a second person has to" if twice else "the payment has expired",
                remedy="Let somebody else look at it." if twice else "Propose it anew.",
            )

    async def of(self, intent: Intent) -> list[Agreed]:
        """The agreements to a payment, oldest first."""
        rows = await fetch(
            self._pool,
            "SELECT approver, at, expires_at, digest = %s AND expires_at > ledger_now() AS good "
            "FROM payment_approvals WHERE intent = %s ORDER BY at, approver",
            (intent.digest, intent.id),
        )
        return [Agreed(**row) for row in rows]

    async def quorum(self, intent: Intent, level: Level) -> int:
        """How many more people have to agree; each of them is another one, and none is who asked.

        Raises:
            ApprovalMissing: nobody can agree to it, or an agreement has expired, and the payment is proposed anew.
        """
        if level is Level.NEVER:
            raise ApprovalMissing(f"nobody can agree to payment {intent.id}", intent=intent.id)
        found = await self.of(intent)
        if late := [one.approver for one in found if not one.good]:
            raise ApprovalMissing(
                f"the agreement of {late[0][:60]} to payment {intent.id} has expired", intent=intent.id
            )
        people = {one.approver.casefold() for one in found if not same_person(one.approver, intent.asked.agent)}
        return max(0, int(level) - len(people))

    async def waits(self, intent_id: str) -> bool:
        """Whether a payment waits for people; one that there is none of is left to whoever agrees to it."""
        row = await fetch_one(
            self._pool,
            "SELECT state = 'escalated' AND expires_at > ledger_now() AS waits FROM intents WHERE id = %s",
            (intent_id,),
        )
        return row is None or bool(row["waits"])

    async def too_late(self, intent: Intent) -> bool:
        """Whether a payment has expired, by the database's clock."""
        row = await fetch_one(self._pool, "SELECT ledger_now() >= %s AS late", (intent.expires_at,))
        return row is None or bool(row["late"])

    # --- the CFO's signature -------------------------------------------------------------------------------------

    async def keep(self, signed: Signed) -> Signed:
        """Write a signature down; the one that was written first counts."""
        await fetch(
            self._pool,
            "INSERT INTO payment_signatures (intent, digest, signer, signature, expires_at) "
            "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (intent) DO NOTHING RETURNING intent",
            (signed.intent, signed.digest, signed.signer, signed.signature, signed.expires_at),
        )
        return await self.signed(signed.intent) or signed

    async def signed(self, intent_id: str) -> Signed | None:
        """The signature over a payment; None if there is none."""
        row = await fetch_one(
            self._pool,
            "SELECT intent, digest, signer, signature, expires_at, used_by FROM payment_signatures WHERE intent = %s",
            (intent_id,),
        )
        if row is None:
            return None
        known: dict[str, Any] = {**row, "intent": str(row["intent"])}
        known |= {"digest": bytes(row["digest"]), "signature": bytes(row["signature"])}
        return Signed(**known)

    async def use(self, intent: Intent, by: str) -> bool:
        """Use the signature over a payment, for one thing only; False when it was used for the same before.

        ``by``: what it is used for, such as the hash of the transaction.

        Raises:
            ApprovalMissing: there is none, it is of another payment, expired, or was used for something else.
        """
        if await fetch(self._pool, _USE, (by[:200], intent.id, intent.digest)):
            return True
        kept = await self.signed(intent.id)
        if kept is not None and kept.used_by == by[:200] and kept.digest == intent.digest:
            return False
        why = (
            "is not signed"
            if kept is None
            else "was signed for one use, and has been"
            if kept.used_by
            else "has expired"
        )
        raise ApprovalMissing(f"payment {intent.id} {why}", intent=intent.id)
