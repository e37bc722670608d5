"""What people do with questions besides answering them one by one: asked of the permissions, and on the record.

Claims are no decisions: they are not on the record, and end by themselves. Whoever may answer a question may claim it,
ask about it, hand it on and up, and take an answer back while nobody has acted upon it.
"""

from dataclasses import dataclass
from datetime import datetime

from chimera.core.errors import ConflictError, InputError
from chimera.core.ids import digest
from chimera.guards.permissions.directory import Kind
from chimera.guards.permissions.people import People
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.settling import Settling, one_of_each
from chimera.review.guidance import Guidance, forget_within
from chimera.review.moves import Moves, Note
from chimera.review.queue import Asked, ReviewQueue
from chimera.review.work import Card, Work
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Connection, Pool
from chimera.store.values import as_stored

_QUESTION_MAX, _WHY_MAX = 2_000, 4_000
ROLE = "role:"


@dataclass(frozen=True)
class Handed:
    """Where a question went: to whom, and its version."""

    to: str
    version: int


class Reviewing:
    """The desk of the reviewers."""

    def __init__(self, pool: Pool, people: People, settling: Settling, reviews: ReviewQueue, audit: AuditLog) -> None:
        self._pool = pool
        self._people = people
        self._settling = settling
        self._reviews = reviews
        self._audit = audit
        self._moves = Moves(pool)
        self.work = Work(pool)
        self.guidance = Guidance(pool)

    async def card(self, item_id: str) -> Card:
        """A question as it stands, by its id or a unique prefix of it.

        Raises:
            InputError: there is none, or there are several.
        """
        return await self.work.card((await self._reviews.asked(item_id)).item.id)

    async def notes(self, item_id: str) -> list[Note]:
        """What was asked back about a question, and the answers."""
        return await self._moves.notes(item_id)

    # --- having it -----------------------------------------------------------------------------------------------

    async def claim(self, item_id: str, by: str) -> datetime:
        """Have a question for some minutes, or for some more; return until when.

        Raises:
            GuardRejected: ``by`` may not answer it. Claimed: somebody else has it. ConflictError: it is decided.
        """
        asked = await self._open(item_id)
        await self._settling.may_work(asked, by, "claim")
        return await self._moves.claim(asked.item.id, by, self._reviews.rules.claim_s)

    async def release(self, item_id: str, by: str) -> bool:
        """Let go of a question; False when ``by`` did not have it."""
        return await self._moves.release((await self._reviews.asked(item_id)).item.id, by)

    # --- asking back ---------------------------------------------------------------------------------------------

    async def ask(self, item_id: str, by: str, question: str) -> int:
        """Ask whoever did the work. The question waits for the answer, and its mission goes on once to give it.

        Raises:
            InputError: nothing is asked, or nobody waits who could answer. GuardRejected: ``by`` may not.
            ConflictError: it is decided, asked about already, or somebody else works on it.
        """
        asked, text = await self._open(item_id), as_stored(question.strip())[:_QUESTION_MAX]
        if not text:
            raise InputError("there is nothing to ask", remedy="Say what you want to know.")
        if asked.item.mission_id is None or asked.item.payload.get("blocking", True) is False:
            raise InputError("nobody waits who could answer", remedy="Answer it, or hand it on.")
        await self._settling.may_work(asked, by, "ask")
        async with self._pool.connection() as connection, connection.transaction():
            number = await self._moves.ask_within(connection, asked.item.id, by, text)
            data = {"item": asked.item.id, "number": number, "question": text}
            await self._told(connection, AuditEvent("review.asked-back", by, asked.item.mission_id, asked.tenant, data))
        return number

    async def open_note(self, item_id: str) -> Note | None:
        """What was asked back and has no answer yet."""
        return await self._moves.open_note(item_id)

    async def reply(self, item_id: str, number: int, by: str, text: str) -> bool:
        """Keep what whoever did the work answers; the question is open again. False when there is an answer already."""
        asked, reply = await self._reviews.asked(item_id), as_stored(text)
        async with self._pool.connection() as connection, connection.transaction():
            if not await self._moves.reply_within(connection, asked.item.id, number, by, reply):
                return False
            data = {"item": asked.item.id, "number": number, "reply": digest(reply)[:16]}
            await self._told(connection, AuditEvent("review.replied", by, asked.item.mission_id, asked.tenant, data))
        return True

    # --- handing on ----------------------------------------------------------------------------------------------

    async def reassign(self, item_id: str, by: str, to: str, why: str = "", *, version: int | None = None) -> Handed:
        """Hand a question to a person, or to a role as ``role:operator``. Who may answer it stays as it is.

        Raises:
            InputError: nobody is called so. GuardRejected: ``by``, or the one it goes to, may not answer it.
            StaleDecision: it was changed in the meantime. ConflictError: it is decided.
        """
        asked = await self._open(item_id)
        await self._settling.may_work(asked, by, "reassign")
        to = to.strip()
        if to.startswith(ROLE):
            if to.removeprefix(ROLE) not in self._people.directory.roles(Kind.HUMAN):
                raise InputError(f"there is no role {to.removeprefix(ROLE)[:40]!r}", remedy="See `chimera principal`.")
        else:
            await self._settling.may_work(asked, to, "approve")
        card = await self.work.card(asked.item.id)
        return await self._hand(card, by, to, card.step, why, version)

    async def escalate(self, item_id: str, by: str, why: str = "", *, version: int | None = None) -> Handed:
        """Hand a question to the next of its chain.

        Raises:
            GuardRejected: ``by`` may not answer it. StaleDecision: it was changed in the meantime.
            ConflictError: it is decided, or nobody is above.
        """
        asked = await self._open(item_id)
        await self._settling.may_work(asked, by, "escalate")
        card = await self.work.card(asked.item.id)
        chain = self._reviews.rules.chain(str(asked.item.point))
        if card.step + 1 >= len(chain):
            raise ConflictError(f"nobody is above {card.assigned_to or 'whoever is asked'}", remedy="Reassign it.")
        return await self._hand(card, by, f"{ROLE}{chain[card.step + 1]}", card.step + 1, why, version)

    async def _hand(self, card: Card, by: str, to: str, step: int, why: str, version: int | None) -> Handed:
        item, due_s = card.item, self._reviews.rules.due_s
        async with self._pool.connection() as connection, connection.transaction():
            seen = card.version if version is None else version
            new = await self._moves.hand_within(connection, item.id, seen, to=to, step=step, due_s=due_s)
            data = {"item": item.id, "from": card.assigned_to, "to": to, "step": step, "reason": why[:_WHY_MAX]}
            await self._told(connection, AuditEvent("review.handed-on", by, item.mission_id, card.tenant, data))
        return Handed(to, new)

    # --- taking back ---------------------------------------------------------------------------------------------

    async def undo(self, by: str, *, item_id: str | None = None, batch: str | None = None) -> list[str]:
        """Take a decision back, or all of a bulk decision that can still be; return the questions that are open again.

        Raises:
            GuardRejected: ``by`` may not answer them. ActedUpon: somebody has acted upon them.
            InputError: there is no such question or batch.
        """
        of_batch = await self._reviews.of_batch(batch) if batch is not None else []
        asked = [await self._reviews.asked(item_id)] if item_id is not None else of_batch
        if not asked:
            raise InputError("there is no such bulk decision", remedy="`chimera review bulk` prints its id.")
        for one in one_of_each(asked):
            await self._settling.may_work(one, by, "undo")
        ids = [one.item.id for one in asked]
        async with self._pool.connection() as connection, connection.transaction():
            rows = await self._moves.undo_within(connection, ids)
            undone = [row["id"] for row in rows]
            await forget_within(connection, undone, by)
            tenant = asked[0].tenant
            events = [
                AuditEvent("review.undone", by, row["mission_id"], tenant, {"item": row["id"], "batch": batch})
                for row in rows
            ]
            await self._told(connection, *events)
        return undone

    # --- guidance ------------------------------------------------------------------------------------------------

    async def remove_guidance(self, tenant: str, line: str, by: str) -> str:
        """Remove a line that planners and workers are told; return its text.

        Raises:
            InputError: there is none, or there are several. GuardRejected: ``by`` may not.
        """
        found = await self.guidance.find(tenant, line)
        await self._people.require(by, "guidance.change", Entity(Uid("Tenant", tenant), {"tenant": tenant}), tenant)
        async with self._pool.connection() as connection, connection.transaction():
            if not await self.guidance.remove_within(connection, found["id"], by):
                raise ConflictError("somebody else removed it")
            data = {"line": found["id"], "persona": found["persona"], "text": found["text"]}
            await self._told(connection, AuditEvent("review.guidance-removed", by, None, tenant, data))
        return str(found["text"])

    # --- what they share -----------------------------------------------------------------------------------------

    async def _open(self, item_id: str) -> Asked:
        asked = await self._reviews.asked(item_id)
        if asked.decision is not None:
            raise ConflictError(f"review item {asked.item.id} was decided before")
        return asked

    async def _told(self, connection: Connection, *events: AuditEvent) -> None:
        await self._audit.append_within(connection, *events)
