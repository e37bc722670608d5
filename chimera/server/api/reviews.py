"""Questions to humans: list by priority, see, decide, and what reviewers do besides."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from chimera.core.contracts import ReviewDecision
from chimera.core.errors import InputError, NotThere
from chimera.guards.bulk import Alike
from chimera.review.answers import editable
from chimera.review.work import Which
from chimera.server.api.forms import (
    BulkAsked,
    BulkDecided,
    Claimed,
    Decided,
    DecisionAsked,
    DecisionTold,
    Handed,
    HandingOn,
    HandingUp,
    KindName,
    NoteTold,
    Point,
    QuestionAsked,
    QuestionTold,
    Released,
    ReviewDetail,
    ReviewPage,
    ReviewTold,
    Undone,
)
from chimera.server.api.office import Here, Who
from chimera.server.api.problems import responses

router = APIRouter(tags=["reviews"])


@router.get("/reviews", responses=responses())
async def list_reviews(
    office: Here,
    caller: Who,
    point: Point | None = None,
    kind: KindName | None = None,
    mission_id: UUID | None = None,
    mine: Annotated[bool, Query(description="only what was handed to the caller by name")] = False,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200, pattern=r"^[\x20-\x7e]+$")] = None,
) -> ReviewPage:
    """The open questions that the caller may see, the most urgent first. A page can hold fewer than ``limit``."""
    which = Which(point, kind, str(mission_id) if mission_id else None, [caller.name] if mine else None)
    cards, more = await office.queue(caller, which, limit, cursor)
    told = await office.all_told(caller, cards)
    return ReviewPage(items=[ReviewTold.model_validate(one) for one in told], next=more)


@router.get("/reviews/{review_id}", responses=responses())
async def show_review(review_id: UUID, office: Here, caller: Who) -> ReviewDetail:
    """A question, whatever became of it. What was asked back and the form of an edit are shown to people."""
    card = await office.seen(caller, str(review_id))
    told, person = await office.told(caller, card), caller.kind == "human"
    notes = await office.desk_of_reviewers.notes(card.item.id) if person else []
    return ReviewDetail.model_validate(
        {
            **told,
            "notes": [NoteTold(**vars(note)) for note in notes],
            "editable": editable(card.item) if person else None,
        }
    )


@router.post("/reviews/{review_id}/decision", responses=responses(409))
async def decide_review(review_id: UUID, asked: DecisionAsked, office: Here, caller: Who) -> Decided:
    """Answer a question, on the version that was seen: 409 when it says something else by now, or somebody has it.

    The first answer counts; the same one again is harmless. It can be taken back for ``review_grace_s``.
    """
    card = await office.seen(caller, str(review_id))
    if asked.action == "reject" and not asked.reason.strip():
        raise InputError("a rejection needs a reason", remedy="It goes back to whoever did the work.")
    if asked.action != "edit" and asked.payload is not None:
        raise InputError("only an edit has a payload")
    said = ReviewDecision(action=asked.action, reviewer=caller.name, reason=asked.reason.strip(), payload=asked.payload)
    grace_s = office.app.context.reviews.rules.grace_s
    found = await office.decisions.answer(card.item.id, said, version=asked.version, grace_s=grace_s)
    return Decided(
        id=card.item.id,
        state=found.state,
        first=found.first,
        version=found.version or card.version,
        missing=found.missing,
        decision=DecisionTold.model_validate(found.decision.plain()),
        undo_until=found.acts_at.isoformat() if found.acts_at else None,
    )


@router.put("/reviews/{review_id}/claim", responses=responses(409))
async def claim_review(review_id: UUID, office: Here, caller: Who) -> Claimed:
    """Have a question for some minutes, or for some more."""
    card = await office.seen(caller, str(review_id))
    until = await office.desk_of_reviewers.claim(card.item.id, caller.name)
    return Claimed(id=card.item.id, claimed_until=until.isoformat())


@router.delete("/reviews/{review_id}/claim", responses=responses())
async def release_review(review_id: UUID, office: Here, caller: Who) -> Released:
    """Let go of a question."""
    card = await office.seen(caller, str(review_id))
    return Released(id=card.item.id, released=await office.desk_of_reviewers.release(card.item.id, caller.name))


@router.post("/reviews/{review_id}/questions", responses=responses(409))
async def ask_back(review_id: UUID, asked: QuestionAsked, office: Here, caller: Who) -> QuestionTold:
    """Ask whoever did the work; the question waits for the answer."""
    card = await office.seen(caller, str(review_id))
    number = await office.desk_of_reviewers.ask(card.item.id, caller.name, asked.question)
    return QuestionTold(id=card.item.id, number=number)


@router.post("/reviews/{review_id}/reassign", responses=responses(409))
async def reassign_review(review_id: UUID, asked: HandingOn, office: Here, caller: Who) -> Handed:
    """Hand a question to a person or a role. Who may answer it stays as it is."""
    card = await office.seen(caller, str(review_id))
    found = await office.desk_of_reviewers.reassign(
        card.item.id, caller.name, asked.to, asked.reason, version=asked.version
    )
    return Handed(id=card.item.id, to=found.to, version=found.version)


@router.post("/reviews/{review_id}/escalate", responses=responses(409))
async def escalate_review(review_id: UUID, asked: HandingUp, office: Here, caller: Who) -> Handed:
    """Hand a question to the next of its chain."""
    card = await office.seen(caller, str(review_id))
    found = await office.desk_of_reviewers.escalate(card.item.id, caller.name, asked.reason, version=asked.version)
    return Handed(id=card.item.id, to=found.to, version=found.version)


@router.post("/reviews/{review_id}/undo", responses=responses(409))
async def undo_review(review_id: UUID, office: Here, caller: Who) -> Undone:
    """Take an answer back that nobody has acted upon."""
    card = await office.seen(caller, str(review_id))
    return Undone(open=await office.desk_of_reviewers.undo(caller.name, item_id=card.item.id))


@router.post("/bulk-decisions", responses=responses(409))
async def decide_many(asked: BulkAsked, office: Here, caller: Who) -> BulkDecided:
    """One answer to all questions of a point and a kind, as far as they may be answered so."""
    alike = Alike(caller.tenant, asked.point, asked.kind, asked.amount, asked.mission_id)
    done = await office.decisions.bulk.decide(alike, asked.action, caller.name, asked.reason)
    return BulkDecided(batch=done.batch, decided=done.items, left=done.left)


@router.post("/bulk-decisions/{batch}/undo", responses=responses(409))
async def undo_many(batch: UUID, office: Here, caller: Who) -> Undone:
    """Take a bulk decision back, as far as nobody has acted upon it."""
    found = await office.app.context.reviews.of_batch(str(batch))
    if not found or any(one.tenant != caller.tenant for one in found):
        raise NotThere(f"no bulk decision {batch}")
    return Undone(open=await office.desk_of_reviewers.undo(caller.name, batch=str(batch)))
