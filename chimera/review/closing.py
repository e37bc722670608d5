"""A question is decided once: by whoever has it, on what it says now, and by as many people as it needs.

All of it is one look at the row under its lock, in the transaction of the answer.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from chimera.core.contracts import ReviewDecision
from chimera.core.errors import Claimed, ConflictError, GuardRejected, StaleDecision
from chimera.core.persons import same_person
from chimera.store.postgres import Connection
from chimera.store.values import as_json, as_stored

DECIDED = "chimera_decided"
"""The channel of NOTIFY on which whoever keeps a waiting mission hears of a decision: ``MISSION SECONDS``, its id and
after how long the decision acts."""
_LOOK = b"""
    SELECT state, version, decision, needs, requester, mission_id, passed_at, claimed_by,
        claimed_until > clock_timestamp() AS claimed
    FROM reviews WHERE id = %s FOR UPDATE
"""
_CLOSE = b"""
    UPDATE reviews SET state = 'decided', decision = %(decision)s, decided_at = clock_timestamp(), late = %(late)s,
        acts_at = clock_timestamp() + make_interval(secs => %(grace_s)s), batch = %(batch)s,
        claimed_by = NULL, claimed_until = NULL, version = version + 1
    WHERE id = %(id)s RETURNING version, acts_at
"""
_LET_GO = b"UPDATE reviews SET claimed_by = NULL, claimed_until = NULL WHERE id = %s"
_VOTE = b"""
    INSERT INTO review_votes (review_id, reviewer, version, decision) VALUES (%s, %s, %s, %s)
    ON CONFLICT (review_id, reviewer) DO UPDATE
    SET version = excluded.version, decision = excluded.decision, at = clock_timestamp()
    WHERE review_votes.version <> excluded.version RETURNING reviewer
"""
_VOTES = b"SELECT reviewer, decision FROM review_votes WHERE review_id = %s AND version = %s AND reviewer <> %s"


@dataclass(frozen=True)
class Given:
    """A decision as it is given. ``version``: of the question that the reviewer saw; None: whatever it says now."""

    decision: ReviewDecision
    version: int | None = None
    grace_s: float = 0.0
    late: bool = False
    batch: str | None = None


@dataclass(frozen=True)
class Closed:
    """What became of a decision.

    ``decided``: it counts. ``late``: it is kept, and nothing comes of it. ``agreed``: it counts when ``missing`` more
    people agree. ``before``: the question has the answer ``kept`` already.
    """

    state: Literal["decided", "late", "agreed", "before"]
    kept: ReviewDecision | None = None
    version: int = 0
    missing: int = 0
    acts_at: datetime | None = None


async def close_within(connection: Connection, item_id: str, given: Given) -> Closed:
    """Decide about a question in a transaction, and tell whoever waits for it.

    Raises:
        StaleDecision: it was made on an older version. Claimed: somebody else has the question.
        GuardRejected: whoever asked for it, or agreed before, cannot be the one who agrees.
        ConflictError: those who agreed before agreed to something else.
    """
    row = await (await connection.execute(_LOOK, (item_id,))).fetchone()
    if row is None or row["state"] == "decided":
        return Closed("before", ReviewDecision.model_validate(row["decision"]) if row else None)
    by, late = given.decision.reviewer, given.late or row["passed_at"] is not None
    if given.version is not None and given.version != row["version"]:
        raise StaleDecision(f"review item {item_id} is version {row['version']} by now, not {given.version}")
    if row["claimed"] and not same_person(row["claimed_by"], by):
        raise Claimed(f"{row['claimed_by'][:60]} works on review item {item_id}", claimed_by=row["claimed_by"])
    if row["needs"] > 1 and given.decision.action != "reject" and not late:
        missing = await _agreed(connection, item_id, row, given.decision)
        if missing:
            await connection.execute(_LET_GO, (item_id,))
            return Closed("agreed", version=row["version"], missing=missing)
    values = {"id": item_id, "decision": as_json(given.decision.plain()), "late": late, "batch": given.batch}
    grace_s = 0.0 if late else given.grace_s
    found = await (await connection.execute(_CLOSE, {**values, "grace_s": grace_s})).fetchall()
    if row["passed_at"] is None:  # also of a late answer: what it is about is over, and its mission goes on
        await tell_within(connection, row["mission_id"], grace_s)
    return Closed("late" if late else "decided", version=found[0]["version"], acts_at=found[0]["acts_at"])


async def tell_within(connection: Connection, mission_id: object, after_s: float = 0.0) -> None:
    """Tell whoever keeps a mission that it can go on, when the transaction is through."""
    if mission_id is not None:
        await connection.execute(b"SELECT pg_notify(%s, %s)", (DECIDED, f"{mission_id} {after_s:g}"))


def _twice(by: str) -> GuardRejected:
    return GuardRejected(f"{by[:60]!r} agreed before; a second person has to", remedy="Let somebody else look at it.")


async def _agreed(connection: Connection, item_id: str, row: dict[str, Any], decision: ReviewDecision) -> int:
    """Count an agreement; how many more people have to agree."""
    by = decision.reviewer
    if row["requester"] is not None and same_person(row["requester"], by):
        raise GuardRejected(f"{by[:60]!r} asked for this and cannot agree to it", remedy="Somebody else has to.")
    values = (item_id, by, row["version"], as_json(decision.plain()))
    if await (await connection.execute(_VOTE, values)).fetchone() is None:
        raise _twice(by)
    others = await (await connection.execute(_VOTES, (item_id, row["version"], by))).fetchall()
    people = {" ".join(str(one["reviewer"]).split()).casefold() for one in others} - {" ".join(by.split()).casefold()}
    if len(people) < len(others):
        raise _twice(by)
    for other in others:
        before = (other["decision"]["action"], other["decision"]["payload"])
        if before != (decision.action, as_stored(decision.payload)):
            raise ConflictError(
                f"{str(other['reviewer'])[:60]} agreed to something else",
                remedy="Agree to the same, word for word, or reject it.",
            )
    return max(0, int(row["needs"]) - 1 - len(people))
