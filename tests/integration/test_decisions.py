"""What people decide: one queue, one way in which an answer takes effect, and several ways to say it.

Proves FR-187, FR-188, FR-189, FR-190 and TR-107, on a real database with several processes on it: a policy and an
incident are one question each, whoever finds them; the commands for them and those of the queue say the same; of many
answers one counts; whoever may not is refused on the record; what is not on the record did not happen.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.core.clock import ManualClock
from chimera.core.contracts import Mission, ReviewDecision, ReviewItem, ReviewPoint, Threat
from chimera.core.errors import ConflictError, GuardRejected, InputError, StoreError
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.oversight import Oversight, oversee
from chimera.guards.policy.document import Policy, read_policy, shipped_policy
from chimera.guards.request import Edge, GuardRequest, reject
from chimera.review.queue import ReviewQueue
from chimera.review.reviewers import SCRIPTED
from chimera.store.audit import AuditLog
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch, open_pool

MISSION = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"
SHIPPED = shipped_policy()
OTHER = read_policy(
    SHIPPED.text.replace('title = "Chimera as it is installed"', 'title = "Without\\u001b[31m a title"').replace(
        '    "output.pii",\n    "output.channels",\n    "output.prompt-leak",\n    "output.unsafe",\n'
        '    "output.honest-identity",\n]',
        '    "output.channels",\n    "output.prompt-leak",\n    "output.unsafe",\n    "payment.not-configured",\n]',
    )
)
FOUR = read_policy(SHIPPED.text.replace("four_eyes = false", "four_eyes = true"))
CRITICAL = reject("flow.exfiltration", "<b>the key</b> was on its way out", Threat.CRITICAL)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class House:
    """An installation's database, and what its processes have."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = ManualClock(NOON)
        self.audit = AuditLog(pool, self.clock)
        self.queue = ReviewQueue(pool)
        self.here = self.process()

    def process(self) -> Oversight:
        settings = Settings.model_validate({"database_url": "postgresql://named"})
        return oversee(settings, self.pool, self.queue, self.audit, self.clock, random_ids())

    async def kinds(self) -> list[str]:
        return [event["kind"] for event in await self.audit.tail("default", 100)]

    async def proposed(self, policy: Policy = OTHER, in_force: Policy = SHIPPED) -> ReviewItem:
        """A policy that was put forward, as the question about it."""
        assert await self.here.proposals.put_forward(policy, in_force) == "proposed"
        row = await self.here.proposals.store.find(policy.digest)
        return await self.queue.find(str(row["review_id"]))

    async def opened(self, mission: str | None = None, text: str = "x") -> ReviewItem:
        """An incident that was opened, as the question about it."""
        request = GuardRequest(Edge.TOOL_CALL, {"text": text}, mission, Mission(goal="g"), agent_id="agent:a")
        incident = await self.here.incidents.opened(CRITICAL, request, "agent:a")
        assert incident is not None
        return await self.queue.find(str(incident.review_id))

    async def asked(self, item_id: str = "", **payload: Any) -> ReviewItem:
        """A question of a mission."""
        item = ReviewItem(
            id=item_id or random_ids()(),
            mission_id=MISSION,
            point=ReviewPoint.SECURITY,
            question="?",
            payload=payload,
            confidence=0.5,
        )
        await self.queue.open(item)
        return item

    async def answer(self, item: ReviewItem, by: str, action: str = "approve", **fields: Any) -> Any:
        decision = ReviewDecision.model_validate({"action": action, "reviewer": by, "reason": "so", **fields})
        return await self.here.decisions.answer(item.id, decision)

    async def state(self, policy: Policy = OTHER) -> tuple[str, str | None]:
        row = await self.here.proposals.store.find(policy.digest)
        return row["state"], row["decided_by"]


@pytest.fixture
async def pool(shared_database_url: str, enrol: Callable[..., None]) -> AsyncGenerator[Pool]:
    """One database for all tests here, emptied for each; olga is the operator, and each role has somebody."""
    async with open_pool(shared_database_url, 8) as opened:
        for table in ("audit_events", "audit_checkpoints"):
            await fetch(opened, f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        tables = "principals, missions, reviews, policies, incidents, quarantines, audit_events, audit_heads"
        await fetch(opened, f"TRUNCATE {tables} CASCADE")
        enrol(shared_database_url, "olga", "otto")
        for name, role in (("ron", "reviewer"), ("sue", "security-officer"), ("al", "auditor")):
            enrol(shared_database_url, name, roles=(role,))
        await MissionStore(opened, shared_database_url).create(MISSION, Mission(goal="g"))
        yield opened


@pytest.fixture
async def house(pool: Pool) -> House:
    return House(pool)


# --- one question for each -------------------------------------------------------------------------------------------


async def test_a_policy_is_one_question_however_many_processes_find_it(house: House) -> None:
    found = [house.process().proposals.put_forward(OTHER, SHIPPED) for _ in range(5)]
    assert await asyncio.gather(*found) == ["proposed"] * 5
    assert await house.process().proposals.put_forward(OTHER, SHIPPED) == "proposed"
    (item,) = await house.queue.pending()
    assert (item.mission_id, item.point, item.payload["digest"]) == (None, ReviewPoint.POLICY, OTHER.digest)
    assert await house.kinds() == ["policy.proposed", "review.asked"]


async def test_a_policy_from_before_there_was_a_queue_is_asked_about(house: House) -> None:
    """Put forward by an older version, which asked nobody."""
    await house.proposed()
    await fetch(house.pool, "DELETE FROM reviews")
    await fetch(house.pool, "UPDATE policies SET review_id = NULL")
    item = await house.proposed()
    assert [one.id for one in await house.queue.pending()] == [item.id]
    for state in ("proposed", "rejected"):
        await fetch(house.pool, "DELETE FROM reviews")
        await fetch(
            house.pool,
            "UPDATE policies SET review_id = NULL, state = %s, decided_at = NULL, decided_by = %s",
            (state, "bob" if state == "rejected" else None),
        )
        decided = await house.here.decisions.about_policy(OTHER.digest, approve=True, by="olga")
        asked = await house.queue.asked(str(decided["review_id"]))
        assert (decided["state"], asked.decision is not None) == ("approved", True)
        assert asked.item.payload["digest"] == OTHER.digest


async def test_an_incident_is_one_question_however_many_processes_open_it(house: House) -> None:
    request = GuardRequest(Edge.TOOL_CALL, {"text": "x"}, None, Mission(goal="g"), agent_id="agent:a")
    await asyncio.gather(*(house.process().incidents.opened(CRITICAL, request, "agent:a") for _ in range(5)))
    (item,) = await house.queue.pending()
    assert (item.mission_id, item.point, item.payload["kind"]) == (None, ReviewPoint.SECURITY, "incident")
    assert await house.kinds() == ["incident.opened", "review.asked"]


async def test_no_mission_asks_in_the_name_of_chimera(house: House) -> None:
    """Proves TR-107: neither through the queue nor past it, and what pretends to be such a question decides nothing."""
    for kind in ("policy", "incident"):
        with pytest.raises(InputError):
            await house.asked(kind=kind, digest=OTHER.digest)
    with pytest.raises(InputError):
        await house.queue.open(
            ReviewItem(id=MISSION, mission_id=None, point=ReviewPoint.QUALITY, question="?", payload={}, confidence=0)
        )
    with pytest.raises(StoreError):
        await fetch(house.pool, "UPDATE reviews SET mission_id = NULL WHERE id = %s", ((await house.asked()).id,))
    await house.proposed()
    forged = await house.asked(digest=OTHER.digest)
    await fetch(house.pool, 'UPDATE reviews SET payload = \'{"kind": "policy"}\' WHERE id = %s', (forged.id,))
    with pytest.raises(InputError, match="no policy"):
        await house.answer(forged, "olga")
    assert await house.state() == ("proposed", None)


# --- what is shown ---------------------------------------------------------------------------------------------------


async def test_the_question_about_a_policy_says_what_it_changes(house: House) -> None:
    """Proves FR-190."""
    item = await house.proposed()
    assert item.payload["changes"] == {
        "edges.output": [
            "takes out output.pii",
            "takes out output.honest-identity",
            "adds payment.not-configured after output.unsafe",
        ]
    }
    assert item.payload["compared_with"] == SHIPPED.digest


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["ron", "al", SCRIPTED, "nobody", "agent:a"])
async def test_who_may_not_is_refused_on_the_record_and_the_question_stays(house: House, by: str) -> None:
    about_policy, about_incident = await house.proposed(), await house.opened()
    for item, action in ((about_policy, "approve"), (about_policy, "reject"), (about_incident, "approve")):
        with pytest.raises(GuardRejected):
            await house.answer(item, by, action)
    with pytest.raises(GuardRejected):
        await house.here.decisions.about_policy(OTHER.digest, approve=True, by=by)
    with pytest.raises(GuardRejected):
        await house.here.decisions.release(about_incident.payload["incident"], by, "so")
    assert {item.id for item in await house.queue.pending()} == {about_policy.id, about_incident.id}
    refused = [
        (event["actor"], event["data"]["action"], event["data"]["resource_type"])
        for event in await house.audit.tail("default", 100)
        if event["kind"] == "permission.refused"
    ]
    expected = ["policy.approve", "policy.reject", "incident.release", "policy.approve", "incident.release"]
    assert refused == [(by, action, "Policy" if action[0] == "p" else "Incident") for action in expected]


CALL = {"capability": "a__b", "arguments": {}, "sealed": "s"}
QUESTIONS: list[tuple[dict[str, Any], str, str, bool]] = [
    ({"kind": "plan"}, "ron", "approve", True),
    ({"kind": "plan"}, "al", "approve", False),
    ({"kind": "plan"}, SCRIPTED, "approve", True),
    ({**CALL, "threat": "medium"}, "ron", "approve", True),
    ({**CALL, "threat": "high"}, "ron", "approve", False),
    ({**CALL, "threat": "high"}, "sue", "approve", True),
    ({**CALL, "threat": "mild"}, "ron", "approve", False),
    ({**CALL, "threat": "low"}, SCRIPTED, "approve", False),
    ({**CALL, "threat": "low"}, SCRIPTED, "edit", False),
    ({**CALL, "threat": "low"}, SCRIPTED, "reject", True),
    ({"kind": "expense", "amount": {"units": 100_000_000}}, "ron", "approve", True),
    ({"kind": "expense", "amount": {"units": 100_000_001}}, "ron", "approve", False),
    ({"kind": "expense", "amount": {"units": 2**70}}, "ron", "approve", False),
    ({"kind": "expense", "amount": "much"}, "ron", "approve", False),
    ({"kind": "expense", "amount": {"units": 2**70}}, "olga", "approve", True),
]


@pytest.mark.parametrize(("payload", "by", "action", "may"), QUESTIONS)
async def test_who_answers_depends_on_kind_threat_and_amount(
    house: House, payload: dict[str, Any], by: str, action: str, may: bool
) -> None:
    """Proves FR-187: what a question does not say clearly counts as the worst."""
    item = await house.asked(**payload)
    given = {"payload": {"arguments": {}}} if action == "edit" else {}
    if may:
        assert (await house.answer(item, by, action, **given)).first
    else:
        with pytest.raises(GuardRejected):
            await house.answer(item, by, action, **given)
        assert await house.queue.decision(item.id) is None


async def test_with_four_eyes_nobody_approves_what_he_put_forward(house: House) -> None:
    """Proves FR-188: by the policy in force; what a process found has to be put forward in somebody's name first."""
    await house.proposed(FOUR)
    await house.here.decisions.about_policy(FOUR.digest, approve=True, by="olga")  # nothing asks for it yet
    item = await house.proposed(OTHER, FOUR)
    for by in ("olga", "sue"):
        with pytest.raises(GuardRejected, match="four-eyes") as refused:
            await house.answer(item, by)
        assert "chimera policy propose" in refused.value.hint
    assert await house.here.decisions.propose(OTHER, "olga") == "proposed"
    assert await house.here.decisions.propose(OTHER, "otto") == "proposed"  # too late to be the one
    with pytest.raises(GuardRejected, match="four-eyes"):
        await house.answer(item, "olga")
    assert (await house.answer(item, "otto")).first
    assert await house.state() == ("approved", "otto")
    assert [kind for kind in await house.kinds() if kind == "policy.proposed"] == ["policy.proposed"] * 3
    with pytest.raises(GuardRejected):
        await house.here.decisions.propose(SHIPPED, "nobody")


# --- taking effect ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("through", ["queue", "policy"])
async def test_a_policy_is_decided_on_either_side_and_both_agree(house: House, approve: bool, through: str) -> None:
    item, action = await house.proposed(), "approve" if approve else "reject"
    if through == "queue":
        await house.answer(item, "sue", action)
    else:
        await house.here.decisions.about_policy(OTHER.digest[:8], approve=approve, by="sue", reason="so")
    assert await house.state() == ("approved" if approve else "rejected", "sue")
    decision = await house.queue.decision(item.id)
    assert decision is not None
    assert (decision.action, decision.reviewer, decision.reason) == (action, "sue", "so")
    assert await house.kinds() == [
        "policy.proposed",
        "review.asked",
        "review.answered",
        "policy.approved" if approve else "policy.rejected",
    ]
    with pytest.raises(ConflictError):
        await house.here.decisions.about_policy(OTHER.digest, approve=False, by="olga")
    with pytest.raises(ConflictError):
        await house.answer(item, "olga", "reject" if approve else "approve")
    assert not (await house.answer(item, "olga", action)).first  # the same again is harmless, and changes nothing
    assert await house.state() == ("approved" if approve else "rejected", "sue")


@pytest.mark.parametrize("through", ["queue", "incident"])
async def test_an_incident_is_decided_on_either_side_and_both_agree(house: House, through: str) -> None:
    item = await house.opened(MISSION)
    incident_id = item.payload["incident"]
    with pytest.raises(InputError, match="reason"):
        await house.answer(item, "sue", reason=" ")
    if through == "queue":
        await house.answer(item, "sue")
    else:
        await house.here.decisions.release(incident_id, "sue", "so")
    incident = await house.here.incidents.find(incident_id)
    assert (incident.state, incident.released_by, incident.reason) == ("released", "sue", "so")
    decision = await house.queue.decision(item.id)
    assert decision is not None
    assert (decision.action, decision.reviewer) == ("approve", "sue")
    assert await house.here.incidents.is_quarantined("agent:a", "default", mission_id=MISSION) is None
    with pytest.raises(ConflictError):
        await house.here.decisions.release(incident_id, "olga", "so")
    assert await house.kinds() == ["incident.opened", "review.asked", "review.answered", "incident.released"]


async def test_who_thinks_again_is_a_second_question_with_its_answer(house: House) -> None:
    """A policy that was turned down, and a release that was refused: the first answers stay as they were."""
    about_policy, about_incident = await house.proposed(), await house.opened()
    for item in (about_policy, about_incident):
        await house.answer(item, "sue", "reject")
    assert await house.queue.pending() == []
    again = (
        lambda: house.process().decisions.about_policy(OTHER.digest, approve=True, by="olga", reason="so"),
        lambda: house.process().decisions.release(about_incident.payload["incident"], "olga", "so"),
    )
    for item, decide in zip((about_policy, about_incident), again, strict=True):
        told = await asyncio.gather(*(decide() for _ in range(3)), return_exceptions=True)
        assert [isinstance(one, ConflictError) for one in told].count(True) == 2, told
        first = await house.queue.decision(item.id)
        assert first is not None
        assert (first.action, first.reviewer) == ("reject", "sue")
    assert await house.state() == ("approved", "olga")
    row = await house.here.proposals.store.find(OTHER.digest)
    second = await house.queue.asked(str(row["review_id"]))
    assert second.item.id != about_policy.id
    assert second.item.reasons == ["rejected before by sue"]
    assert second.decision is not None
    assert second.decision.reviewer == "olga"
    rows = await fetch(house.pool, "SELECT count(*) AS n, count(*) FILTER (WHERE state = 'open') AS open FROM reviews")
    assert (rows[0]["n"], rows[0]["open"]) == (4, 0)
    assert await house.audit.verify() == len(await house.kinds())


async def test_of_many_who_answer_at_once_one_is_first_on_whatever_side(house: House) -> None:
    """More of them than there are connections."""
    item = await house.proposed()

    def one(number: int) -> Any:
        by, process = ("olga", "otto", "sue")[number % 3], house.process()
        if number % 2:
            return process.decisions.about_policy(OTHER.digest, approve=number % 4 == 1, by=by)
        action = "approve" if number % 4 == 0 else "reject"
        return process.decisions.answer(item.id, ReviewDecision.model_validate({"action": action, "reviewer": by}))

    async with asyncio.timeout(40):
        told = await asyncio.gather(*(one(number) for number in range(24)), return_exceptions=True)
    assert {type(said).__name__ for said in told} <= {"dict", "Answered", "ConflictError"}, told
    decision = await house.queue.decision(item.id)
    assert decision is not None
    assert await house.state() == ("approved" if decision.action == "approve" else "rejected", decision.reviewer)
    kinds = await house.kinds()
    assert (kinds.count("review.answered"), len(kinds)) == (1, 4)


async def test_what_cannot_be_recorded_was_not_decided(house: House) -> None:
    """Proves TR-107: neither the answer nor what it changes."""
    about_policy, about_incident = await house.proposed(), await house.opened()
    await fetch(house.pool, "ALTER TABLE audit_events RENAME TO away")
    for item in (about_policy, about_incident):
        with pytest.raises(StoreError):
            await house.answer(item, "olga")
    with pytest.raises(StoreError):
        await house.proposed(FOUR)
    await fetch(house.pool, "ALTER TABLE away RENAME TO audit_events")
    assert {item.id for item in await house.queue.pending()} == {about_policy.id, about_incident.id}
    assert await house.state() == ("proposed", None)
    assert len(await house.here.incidents.listed()) == 1
    assert len(await house.here.proposals.store.history()) == 1


# --- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def of_commands(house: House, shared_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("CHIMERA_DATABASE_URL", shared_database_url)
    monkeypatch.setenv("CHIMERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHIMERA_POLICY", str(tmp_path / "policy.toml"))
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.toml").write_text(OTHER.text, "utf-8")
    return house


async def chimera(*words: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(CliRunner().invoke, app, list(words))
    return done.exit_code, done.stdout, done.stderr


async def test_the_commands_show_and_answer_what_chimera_asks(of_commands: House) -> None:
    """Proves FR-189 and FR-190: both are listed, shown in words and as JSON, and answered here or there."""
    about_incident = await of_commands.opened()
    assert (await chimera("policy", "show"))[0] == 0  # whoever looks puts the file forward
    code, shown, _ = await chimera("review", "ls", "--json")
    items = {item["payload"]["kind"]: item for item in json.loads(shown)["reviews"]}
    assert (code, items["incident"]["id"], items["policy"]["mission_id"]) == (0, about_incident.id, None)
    assert "waiting" in (await chimera("review", "ls"))[1]
    policy_item = items["policy"]["id"][:8]
    code, shown, told = await chimera("review", "show", policy_item)
    assert code == 0
    assert "takes out output.pii" in shown
    assert "edges.output" in shown
    assert "\x1b[31m" not in shown
    assert "edit" not in told
    changes = json.loads((await chimera("review", "show", policy_item, "--json"))[1])["payload"]["changes"]
    assert changes["edges.output"][0] == "takes out output.pii"
    assert policy_item in (await chimera("policy", "history"))[1]
    shown = (await chimera("review", "show", about_incident.id[:8]))[1]
    assert "flow.exfiltration" in shown
    assert "agent agent:a" in shown

    refused = await chimera("policy", "approve", OTHER.digest[:8], "--by", "ron", "--json")
    assert (refused[0], json.loads(refused[1])["error"]["code"]) == (6, "CH500")
    nobody = await chimera("review", "approve", policy_item, "--by", "nobody")
    assert (nobody[0], nobody[2].count("\n")) == (6, 2)
    assert "'nobody' is not enrolled" in nobody[2]
    assert "-> `chimera principal add" in nobody[2]
    edit = await chimera("review", "edit", policy_item, "--payload", "policy.toml", "--by", "olga")
    assert edit[0] == 2
    assert (await chimera("policy", "reject", OTHER.digest, "--by", "olga"))[0] == 2  # a rejection needs a reason

    code, shown, _ = await chimera("review", "approve", policy_item, "--by", "olga", "--json")
    assert (code, json.loads(shown)["mission_id"], json.loads(shown)["mission_status"]) == (0, None, None)
    assert json.loads((await chimera("policy", "show", "--json"))[1])["digest"] == OTHER.digest
    assert (await chimera("policy", "approve", OTHER.digest, "--by", "olga", "--json"))[0] == 1
    assert (await chimera("review", "approve", about_incident.id[:8], "--by", "sue"))[0] == 2  # with a reason
    assert (await chimera("review", "approve", about_incident.id[:8], "--by", "sue", "--reason", "seen"))[0] == 0
    assert "No agent is held back" in (await chimera("incident", "ls"))[2]
    assert json.loads((await chimera("review", "ls", "--json"))[1]) == {"reviews": []}


async def test_a_question_whose_comparison_is_outdated_says_so(of_commands: House) -> None:
    """Proves FR-190: another policy came in force while this one waited."""
    item = await of_commands.proposed(FOUR)
    await of_commands.proposed()
    await of_commands.here.decisions.about_policy(OTHER.digest, approve=True, by="olga")
    _, shown, told = await chimera("review", "show", item.id[:8])
    assert "another policy came in force" in told
    assert "adds output.pii" in shown
    plain = json.loads((await chimera("review", "show", item.id, "--json"))[1])
    assert plain["now"]["compared_with"] == OTHER.digest
    assert plain["payload"]["changes"] == {"changes": ["four_eyes is true instead of false"]}


async def test_a_policy_is_put_forward_in_a_name(of_commands: House, tmp_path: Path) -> None:
    """Proves FR-188."""
    code, shown, told = await chimera("policy", "propose", "policy.toml", "--by", "ron", "--json")
    assert (code, json.loads(shown)["proposed_by"], json.loads(shown)["state"]) == (0, "ron", "proposed")
    assert told == ""
    (tmp_path / "broken.toml").write_text("nonsense", "utf-8")
    assert (await chimera("policy", "propose", "broken.toml", "--by", "ron"))[0] == 2
    assert (await chimera("policy", "propose", "policy.toml", "--by", "nobody"))[0] == 6


@pytest.mark.parametrize(("by", "code"), [("al", 0), ("olga", 0), ("ron", 6), ("nobody", 6)])
async def test_the_record_leaves_the_house_with_an_auditor(of_commands: House, by: str, code: int) -> None:
    """Proves FR-187."""
    await of_commands.opened()
    assert (await chimera("audit", "export", "--by", by))[0] == code
