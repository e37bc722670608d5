"""Questions as work that people share, on a real database: claimed, handed on, agreed to, decided in bulk, taken back.

Proves FR-720, FR-721, FR-722, FR-723, FR-724, FR-725, FR-726, FR-727 and FR-728.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from itertools import pairwise
from typing import Any

import pytest

from chimera.core.clock import SystemClock
from chimera.core.contracts import Mission, MissionStatus, ReviewDecision, ReviewItem, ReviewPoint
from chimera.core.errors import ActedUpon, Claimed, ConflictError, GuardRejected, InputError, StaleDecision
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.bulk import Alike
from chimera.guards.decisions import Decisions
from chimera.guards.oversight import oversee
from chimera.review.queue import ReviewQueue
from chimera.review.reviewers import SCRIPTED
from chimera.review.rules import WorkRules
from chimera.review.sweeper import Sweeper
from chimera.review.work import Which
from chimera.store.audit import AuditLog
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch, open_pool

MISSION, OTHER = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11", "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c12"
NEW = random_ids()
RULES = WorkRules(quorum={"finance": 2}, quorum_above={"content": 50_000_000}, claim_s=300.0)


class Desk:
    """A queue with people around it."""

    def __init__(self, pool: Pool, url: str, rules: WorkRules = RULES) -> None:
        self.pool, self.rules = pool, rules
        self.queue = ReviewQueue(pool, rules)
        self.audit = AuditLog(pool, SystemClock())
        self.missions = MissionStore(pool, url)
        settings = Settings.model_validate({"database_url": "postgresql://named"})
        self.oversight = oversee(settings, pool, self.queue, self.audit, SystemClock(), NEW)
        self.decisions: Decisions = self.oversight.decisions
        self.desk = self.decisions.desk

    async def ask(self, mission: str = MISSION, point: str = "quality", confidence: float = 0.5, **payload: Any) -> str:
        item = ReviewItem(
            id=NEW(), mission_id=mission, point=ReviewPoint(point), question="?", confidence=confidence,
            payload={"kind": "result", "answer": "a", **payload},
        )  # fmt: skip
        await self.queue.open(item)
        return item.id

    async def say(self, item: str, by: str = "ada", action: str = "approve", reason: str = "", **options: Any) -> Any:
        payload = options.pop("payload", None)
        given = {"action": action, "reviewer": by, "reason": reason, "payload": payload}
        return await self.decisions.answer(item, ReviewDecision.model_validate(given), **options)

    async def kinds(self, tenant: str = "default") -> list[str]:
        return [event["kind"] for event in await self.audit.tail(tenant, 200)]

    async def set(self, item: str, what: str) -> None:
        await fetch(self.pool, f"UPDATE reviews SET {what} WHERE id = %s", (item,))


@pytest.fixture(scope="module")
def people(shared_database_url: str, enrol: Callable[..., None]) -> None:
    enrol(shared_database_url, "ada", "bob", "cy")
    enrol(shared_database_url, "ron", roles=("reviewer",))
    enrol(shared_database_url, "al", roles=("auditor",))


@pytest.fixture
async def desk(shared_database_url: str, people: None) -> AsyncGenerator[Desk]:
    async with open_pool(shared_database_url, 8) as pool:
        for table in ("audit_events", "audit_checkpoints"):
            await fetch(pool, f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        await fetch(pool, "TRUNCATE missions, reviews, review_guidance, audit_events, audit_heads CASCADE")
        desk = Desk(pool, shared_database_url)
        await desk.missions.create(MISSION, Mission(goal="g", persona="a dry analyst"), asked_by="cy")
        await desk.missions.create(OTHER, Mission(goal="g", tenant="acme"))
        yield desk


# --- claims and versions ---------------------------------------------------------------------------------------------


async def test_a_claim_keeps_others_away_until_it_ends(desk: Desk) -> None:
    item = await desk.ask()
    until = await desk.desk.claim(item, "ada")
    assert await desk.desk.claim(item, "ada") >= until  # kept for longer
    card = await desk.desk.card(item)
    assert (card.claimed_by, card.version) == ("ada", 1)
    with pytest.raises(Claimed, match="ada works"):
        await desk.desk.claim(item, "bob")
    with pytest.raises(Claimed):
        await desk.say(item, "bob")
    assert not await desk.desk.release(item, "bob")
    assert await desk.desk.release(item, "ada")
    await desk.desk.claim(item, "bob")
    await desk.set(item, "claimed_until = now() - interval '1 second'")
    assert (await desk.desk.card(item)).claimed_by is None
    assert (await desk.say(item, "ada")).first
    with pytest.raises(ConflictError):
        await desk.desk.claim(item, "bob")
    with pytest.raises(GuardRejected):
        await desk.desk.claim(await desk.ask(), "al")


async def test_of_many_who_claim_at_once_one_has_it(desk: Desk) -> None:
    item = await desk.ask()
    said = await asyncio.gather(
        *(desk.desk.claim(item, who) for who in ("ada", "bob", "cy", "ron")), return_exceptions=True
    )
    assert sorted(isinstance(one, Claimed) for one in said) == [False, True, True, True]


async def test_a_decision_on_an_older_version_changes_nothing(desk: Desk) -> None:
    item = await desk.ask()
    seen = (await desk.desk.card(item)).version
    handed = await desk.desk.reassign(item, "ada", "bob")
    assert handed.version == seen + 1
    with pytest.raises(StaleDecision):
        await desk.say(item, "ron", version=seen)
    with pytest.raises(StaleDecision):
        await desk.desk.reassign(item, "ada", "cy", version=seen)
    assert await desk.queue.decision(item) is None
    assert (await desk.say(item, "ron", version=handed.version)).first
    assert (await desk.kinds())[-2:] == ["review.handed-on", "review.answered"]


# --- order -----------------------------------------------------------------------------------------------------------


async def test_the_list_is_by_priority_and_says_why(desk: Desk) -> None:
    sure, unsure = await desk.ask(confidence=0.9), await desk.ask(confidence=0.1)
    danger = await desk.ask(confidence=0.5, threat="critical")
    old, due = await desk.ask(confidence=0.9), await desk.ask(confidence=0.9)
    await desk.set(old, "created_at = now() - interval '2 days'")
    await desk.set(due, "due_at = now() - interval '1 day'")
    cards = await desk.desk.work.listed("default")
    assert [card.item.id for card in cards] == [due, old, danger, unsure, sure]
    for above, below in pairwise(cards):
        assert above.priority.score > below.priority.score
        assert above.rank > below.rank
    assert "2 d" in cards[1].priority.words()
    assert {one["name"] for one in cards[2].plain()["why"]} == {
        "confidence", "threat", "kind", "value", "age", "deadline",
    }  # fmt: skip


async def test_the_listing_goes_on_where_it_was_and_takes_filters(desk: Desk) -> None:
    made = [await desk.ask(point="quality" if place % 2 else "content") for place in range(7)]
    first = await desk.desk.work.listed("default", limit=3)
    rest = await desk.desk.work.listed("default", limit=10, after=first[-1].cursor)
    assert [card.item.id for card in (*first, *rest)] == [
        card.item.id for card in await desk.desk.work.listed("default")
    ]
    assert len(first) + len(rest) == len(made)
    assert len(await desk.desk.work.listed("default", Which(point="content"))) == 4
    assert len(await desk.desk.work.listed("default", Which(kind="plan"))) == 0
    assert len(await desk.desk.work.listed("default", Which(assigned=["role:reviewer"]))) == 7
    for cursor in ("", "x", "1.0:x", "x:" + made[0]):
        with pytest.raises(InputError):
            await desk.desk.work.listed("default", after=cursor)


async def test_no_flood_of_one_tenant_hides_another_and_thousands_are_listed_at_once(desk: Desk) -> None:
    small = await desk.ask(mission=OTHER, confidence=1.0, blocking=False)
    item = await desk.ask(threat="critical")
    await fetch(
        desk.pool,
        "INSERT INTO reviews (id, mission_id, tenant, point, question, payload, confidence, reasons, weight, "
        "created_at) SELECT gen_random_uuid(), mission_id, tenant, point, question, payload, confidence, reasons, "
        "weight + mod(n, 7), created_at - make_interval(secs => n) FROM reviews, generate_series(1, 5000) AS n "
        "WHERE id = %s",
        (item,),
    )
    assert [card.item.id for card in await desk.desk.work.listed(None, limit=2)][1] == small
    assert {card.tenant for card in await desk.desk.work.listed("default", limit=500)} == {"default"}
    await fetch(desk.pool, "ANALYZE reviews")
    took: list[float] = []
    for tenant in ("default", None) * 5:
        begun = time.perf_counter()
        assert len(await desk.desk.work.listed(tenant, limit=50)) == 50
        took.append(time.perf_counter() - begun)
    assert statistics.median(took) < 0.25  # tens of ms on an idle machine


# --- several people --------------------------------------------------------------------------------------------------


async def test_as_many_different_people_agree_as_the_point_or_the_amount_asks_for(desk: Desk) -> None:
    for item in (
        await desk.ask(point="finance"),
        await desk.ask(point="content", amount={"units": 50_000_001, "asset": "USD"}),
    ):
        one = await desk.say(item, "ada")
        assert (one.first, one.state, one.missing) == (False, "agreed", 1)
        assert await desk.queue.hand_over(item) is None
        for again in ("ada", " ADA "):
            with pytest.raises(GuardRejected):
                await desk.say(item, again)
        with pytest.raises(GuardRejected, match="asked for this"):
            await desk.say(item, "cy")
        with pytest.raises(ConflictError, match="something else"):
            await desk.say(item, "bob", "edit", payload={"answer": "b"})
        assert (await desk.desk.card(item)).agreed == 1
        two = await desk.say(item, "bob")
        assert (two.first, two.state) == (True, "decided")
        assert await desk.queue.hand_over(item) is not None
    assert [kind for kind in await desk.kinds() if kind[:7] == "review."] == ["review.agreed", "review.answered"] * 2


async def test_one_no_is_enough_and_what_changed_needs_everybody_again(desk: Desk) -> None:
    item = await desk.ask(point="finance")
    await desk.say(item, "ada")
    await desk.desk.reassign(item, "bob", "role:operator")
    assert (await desk.desk.card(item)).agreed == 0
    assert (await desk.say(item, "bob")).state == "agreed"
    assert (await desk.say(item, "ron", "reject", "no")).first


# --- handing on, being late ------------------------------------------------------------------------------------------


async def test_a_question_goes_to_who_may_answer_it_or_up_its_chain(desk: Desk) -> None:
    item = await desk.ask()
    assert (await desk.desk.card(item)).assigned_to == "role:reviewer"
    for to, error in (("al", GuardRejected), ("nobody", GuardRejected), ("role:nobody", InputError)):
        with pytest.raises(error):
            await desk.desk.reassign(item, "ada", to)
    with pytest.raises(GuardRejected):
        await desk.desk.reassign(item, "al", "ada")
    assert (await desk.desk.escalate(item, "ron", "too much for me")).to == "role:operator"
    assert (await desk.desk.card(item)).step == 1
    with pytest.raises(ConflictError):
        await desk.desk.escalate(item, "ron")
    handed = [one["data"] for one in await desk.audit.tail("default", 20) if one["kind"] == "review.handed-on"]
    assert [(one["from"], one["to"], one["step"]) for one in handed] == [("role:reviewer", "role:operator", 1)]


async def test_what_nobody_answers_goes_up_and_is_overdue_and_stays_open(desk: Desk) -> None:
    item, calm = await desk.ask(), await desk.ask()
    sweepers = [Sweeper(desk.pool, desk.audit, desk.rules) for _ in range(4)]
    moves: list[tuple[str | None, int, bool]] = []
    for _ in range(3):
        await desk.set(item, "due_at = now() - interval '1 second'")
        assert sum(await asyncio.gather(*(one.sweep() for one in sweepers))) in (0, 1)
        card = await desk.desk.card(item)
        moves.append((card.assigned_to, card.step, card.overdue))
    assert moves == [("role:operator", 1, False), ("role:operator", 1, True), ("role:operator", 1, True)]
    assert [kind for kind in await desk.kinds() if kind in ("review.escalated", "review.overdue")] == [
        "review.escalated", "review.overdue",
    ]  # fmt: skip
    found = await desk.desk.card(item)
    assert (found.state, found.decision) == ("open", None)
    assert (await desk.desk.card(calm)).step == 0


@pytest.mark.parametrize("how", ["ended", "went on"])
async def test_a_late_answer_is_kept_and_nothing_comes_of_it(desk: Desk, how: str) -> None:
    item, still = await desk.ask(), await desk.ask()
    if how == "ended":
        await fetch(desk.pool, "UPDATE missions SET status = 'cancelled' WHERE id = %s", (MISSION,))
    else:
        await desk.queue.passed(MISSION, [still])
    assert item not in [card.item.id for card in await desk.desk.work.listed("default")]
    said = await desk.say(item, "ada", "reject", "no")
    assert (said.first, said.state) == (False, "late")
    card = await desk.desk.card(item)
    assert (card.state, card.decision.reviewer if card.decision else "") == ("late", "ada")
    assert (await desk.kinds())[-1] == "review.late"
    assert await desk.missions.left(MissionStatus.WAITING) == []
    assert await desk.desk.guidance.listed("default") == []
    if how == "ended":  # it goes on after all: what is open is work again
        await desk.missions.reopen(MISSION)
        assert [card.item.id for card in await desk.desk.work.listed("default")] == [still]


# --- taking back -----------------------------------------------------------------------------------------------------


async def test_a_decision_is_taken_back_until_it_is_handed_over(desk: Desk) -> None:
    item = await desk.ask()
    await desk.say(item, "ada", "reject", "too long", grace_s=60)
    assert (await desk.desk.card(item)).undo_until is not None
    assert await desk.queue.hand_over(item) is None  # nobody acts upon it yet
    assert [line["text"] for line in await desk.desk.guidance.listed("default")] == ["too long"]
    with pytest.raises(GuardRejected):
        await desk.desk.undo("al", item_id=item)
    assert await desk.desk.undo("ada", item_id=item) == [item]
    assert await desk.desk.guidance.listed("default") == []
    assert (await desk.kinds())[-1] == "review.undone"
    said = await desk.say(item, "ada")
    assert (said.first, (await desk.desk.card(item)).undo_until) == (True, None)
    with pytest.raises(ActedUpon):
        await desk.desk.undo("ada", item_id=item)
    assert (await desk.queue.hand_over(item)) is not None


async def test_undo_and_hand_over_never_both_succeed(desk: Desk) -> None:
    for _ in range(10):
        item = await desk.ask()
        await desk.say(item, "ada", grace_s=0.02)
        await asyncio.sleep(0.012)
        undone, taken = await asyncio.gather(
            desk.desk.undo("ada", item_id=item), desk.queue.hand_over(item), return_exceptions=True
        )
        later = await desk.queue.hand_over(item)
        assert (undone == [item]) != (taken is not None or later is not None)


async def test_many_alike_are_decided_at_once_and_taken_back_together(desk: Desk) -> None:
    alike = [await desk.ask() for _ in range(5)]
    dear = await desk.ask(amount={"units": 20_000_000, "asset": "USD"})
    danger, other = await desk.ask(threat="high"), await desk.ask(kind="plan")
    elsewhere = await desk.ask(mission=OTHER)
    await desk.desk.claim(alike[0], "bob")
    which = Alike("default", "quality", "result")
    done = await desk.decisions.bulk.decide(which, "reject", "ada", "all of them", grace_s=60)
    assert (sorted(done.items), done.left) == (sorted(alike[1:]), [])
    for item in (alike[0], dear, danger, other, elsewhere):
        assert (await desk.desk.card(item)).state == "open"
    assert [line["text"] for line in await desk.desk.guidance.listed("default")] == ["all of them"]
    assert (await desk.kinds()).count("review.answered") == 4
    assert sorted(await desk.desk.undo("ada", batch=done.batch)) == sorted(alike[1:])
    assert (await desk.kinds()).count("review.undone") == 4
    with pytest.raises(InputError):
        await desk.desk.undo("ada", batch=NEW())
    with pytest.raises(GuardRejected):
        await desk.decisions.bulk.decide(which, "approve", "al")
    with pytest.raises(InputError):
        await desk.decisions.bulk.decide(Alike("default", "finance", "payment"), "approve", "ada")
    with pytest.raises(InputError, match="reason"):
        await desk.decisions.bulk.decide(which, "reject", "ada")
    assert (await desk.desk.card(alike[1])).state == "open"


# --- what is learnt --------------------------------------------------------------------------------------------------


async def test_reasons_teach_those_of_the_same_persona_and_can_be_removed(desk: Desk) -> None:
    guidance = desk.desk.guidance
    for reason in ("name the sources", "no superlatives", "name the sources"):
        await desk.say(await desk.ask(), "ron", "reject", reason)
    await desk.say(await desk.ask(), "ron", "edit", "shorter", payload={"answer": "b"})
    await desk.say(await desk.ask(), "ron", reason="fine")
    await desk.say(await desk.ask(), SCRIPTED, "reject", "nobody is here")
    assert await guidance.told("default", "a dry analyst", "g") == ["shorter", "no superlatives", "name the sources"]
    assert await guidance.told("default", "a dry analyst", "quote sources", most=1) == ["name the sources"]
    for tenant, persona in (("default", "somebody else"), ("acme", "a dry analyst")):
        assert await guidance.told(tenant, persona, "g") == []
    line = next(one for one in await guidance.listed("default") if one["text"] == "no superlatives")
    with pytest.raises(GuardRejected):
        await desk.desk.remove_guidance("default", line["id"], "al")
    with pytest.raises(InputError):
        await desk.desk.remove_guidance("acme", line["id"], "ada")
    assert await desk.desk.remove_guidance("default", line["id"][:8], "ada") == "no superlatives"
    assert await guidance.told("default", "a dry analyst", "g") == ["shorter", "name the sources"]
    assert (await desk.kinds())[-1] == "review.guidance-removed"
