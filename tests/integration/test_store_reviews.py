"""Questions to humans as Postgres keeps them: asked once, answered once, found by the start of their id.

Proves LAW-9 for the queue: an item stays open until somebody answers it, and of many answers one counts.
"""

import asyncio
import uuid
from collections.abc import Callable

import pytest

from chimera.core.clock import SystemClock
from chimera.core.contracts import Mission, ReviewDecision, ReviewItem, ReviewPoint
from chimera.core.errors import ConflictError, InputError
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.decisions import Decisions
from chimera.guards.oversight import oversee
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch

ID = "f3b1c9de-2f0e-5a8f-9a53-5d0a3c0a6f10"
ALIKE = "f3b1c9de-2f0e-5a8f-9a53-ffffffffffff"
MISSION = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"
NO_IDS = ["", " ", "%", "_", "f3b1c9d_", "f3%b1", "f3b%", "\\", "'", "zz", "f3\x00", "\ud83d"]


def item(item_id: str, question: str = "Is it good?") -> ReviewItem:
    payload = {"kind": "result", "answer": "a\x00b\ud83d"}
    return ReviewItem(
        id=item_id,
        mission_id=MISSION,
        point=ReviewPoint.QUALITY,
        question=question,
        payload=payload,
        confidence=0.4,
        reasons=["\x00"],
    )


def answer(action: str = "approve", reviewer: str = "a person", **fields: object) -> ReviewDecision:
    return ReviewDecision.model_validate({"action": action, "reviewer": reviewer, **fields})


@pytest.fixture(scope="module")
def people(shared_database_url: str, enrol: Callable[..., None]) -> None:
    """Who answers in this file."""
    enrol(shared_database_url, "a person", *(f"person {number}" for number in range(20)))


@pytest.fixture
def database_url(shared_database_url: str, people: None) -> str:
    """One database for this file."""
    return shared_database_url


@pytest.fixture
def decisions(pool: Pool, queue: ReviewQueue, settings: Settings) -> Decisions:
    """What takes the answers."""
    clock = SystemClock()
    return oversee(settings, pool, queue, AuditLog(pool, clock), clock, random_ids()).decisions


@pytest.fixture
async def queue(pool: Pool, database_url: str) -> ReviewQueue:
    """Two open items of one mission, and no others."""
    await fetch(pool, "TRUNCATE missions CASCADE")
    await MissionStore(pool, database_url).create(MISSION, Mission(goal="first"))
    queue = ReviewQueue(pool)
    await queue.open(item(ID))
    await queue.open(item(ALIKE))
    return queue


async def test_of_many_answers_at_the_same_time_one_counts(
    queue: ReviewQueue, decisions: Decisions, pool: Pool
) -> None:
    """Everybody learns the truth: one that it counts, those who said the same that it is so, all others that not."""
    given = [answer("approve" if number % 2 else "reject", f"person {number}") for number in range(20)]
    told = await asyncio.gather(*(decisions.answer(ID, one) for one in given), return_exceptions=True)
    kept = await queue.decision(ID)
    assert kept in given
    for one, said in zip(given, told, strict=True):
        if one.action == kept.action:
            assert not isinstance(said, BaseException), said
            assert (said.decision, said.first) == (kept, one.reviewer == kept.reviewer)
        else:
            assert isinstance(said, ConflictError)
    (row,) = await fetch(pool, "SELECT state, decided_at FROM reviews WHERE id = %s", (ID,))
    query = "SELECT body FROM audit_events WHERE kind = 'review.answered' AND mission_id = %s"
    assert len(await fetch(pool, query, (MISSION,))) == 1
    assert row["state"] == "decided"
    with pytest.raises(ConflictError):
        await decisions.answer(ID, answer("edit", payload={"answer": "another"}))
    assert await queue.decision(ID) == kept


async def test_a_question_is_asked_once_and_stays_open_until_it_is_answered(
    queue: ReviewQueue, decisions: Decisions
) -> None:
    await queue.open(item(ID, "Something else?"))
    assert [(found.id, found.question) for found in await queue.pending()] == [
        (ID, "Is it good?"),
        (ALIKE, "Is it good?"),
    ]
    assert await queue.decision(ID) is None
    await decisions.answer(ID, answer())
    await queue.open(item(ID))  # a step that runs again does not ask again
    assert [found.id for found in await queue.pending(MISSION)] == [ALIKE]
    assert await queue.pending(str(uuid.uuid4())) == []
    assert [(str(row["id"]), row["state"]) for row in await queue.of_mission(MISSION)] == [
        (ID, "decided"),
        (ALIKE, "open"),
    ]


async def test_an_item_is_found_by_a_unique_prefix_and_nothing_else(queue: ReviewQueue, decisions: Decisions) -> None:
    for given in (ID, ID.upper(), f" {ID} ", ID[:-1]):
        assert (await queue.find(given)).id == ID
    for given in ("f3b1", "0", str(uuid.uuid4()), *NO_IDS):
        with pytest.raises(InputError) as refused:
            await queue.find(given)
        assert str(refused.value).isprintable()
        assert "chimera review ls" in refused.value.hint
    for given in ("f3b1", str(uuid.uuid4()), *NO_IDS):
        with pytest.raises(InputError):
            await queue.decision(given)
        with pytest.raises(InputError):
            await decisions.answer(given, answer())
    assert len(await queue.pending()) == 2


async def test_text_that_postgres_cannot_hold_stops_no_question_and_no_answer(
    queue: ReviewQueue, decisions: Decisions
) -> None:
    found = await queue.find(ID)
    assert (found.payload["answer"], found.reasons) == ("a\ufffdb\ufffd", ["\ufffd"])
    edit = answer("edit", reason="\x00", payload={"answer": "x\x00", "odd": "\ud83d"})
    await decisions.answer(ID, edit)
    await decisions.answer(ID, edit)  # the same answer again is harmless
    kept = await queue.decision(ID)
    assert kept is not None
    assert (kept.reason, kept.payload) == ("\ufffd", {"answer": "x\ufffd", "odd": "\ufffd"})


async def test_an_edit_needs_what_it_edits_to(queue: ReviewQueue, decisions: Decisions) -> None:
    with pytest.raises(InputError):
        await decisions.answer(ID, answer("edit"))
    assert await queue.decision(ID) is None
