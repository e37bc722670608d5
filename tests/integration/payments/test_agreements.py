"""People agree to payments, and the CFO's key signs what they agreed to: each bound to the exact payment and used once.

Proves FR-648, FR-649, FR-650 and FR-651, on a real database, with the key in a process of its own where that matters.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from chimera.commerce.approvals import ApprovalStore
from chimera.commerce.cfo_key import SocketCfoSigner, answered, load_key
from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.payment_policy import Level
from chimera.commerce.wallet.approval import payment_data, signer_of
from chimera.core.clock import SystemClock
from chimera.core.contracts import ReviewDecision
from chimera.core.errors import (
    ApprovalMissing,
    CfoUnavailable,
    ConfigError,
    ConflictError,
    GuardRejected,
    InputError,
    StoreError,
    StoreUnavailable,
)
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.decisions import Answered
from chimera.guards.oversight import Oversight, oversee
from chimera.nodes.cfo import question
from chimera.review.queue import ReviewQueue
from chimera.review.reviewers import scripted_reviewer
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from tests.conftest import Enrol  # noqa: TID251 - its type alone
    from tests.integration.payments.conftest import Office  # noqa: TID251 - its type alone

S = IntentState
CENTS = 10_000
Later = Callable[[str], Awaitable[None]]


class Hall:
    """Where people answer."""

    def __init__(self, office: "Office") -> None:
        self.office = office
        settings = Settings.model_validate({"database_url": "postgresql://named"})
        self.queue = ReviewQueue(office.pool)
        self.oversight: Oversight = oversee(
            settings, office.pool, self.queue, office.audit, SystemClock(), random_ids()
        )

    async def asked(self, intent: Intent) -> str:
        """Put the next question about a payment on the queue."""
        found = await self.office.desk.kept_verdict(intent.id)
        assert found is not None
        item = await question(self.office.desk, intent, found, 1)
        await self.queue.open(item)
        return item.id

    async def says(self, item: str, by: str, action: Any = "approve") -> Answered:
        """An answer."""
        return await self.oversight.decisions.answer(item, ReviewDecision(action=action, reviewer=by))


@pytest.fixture
def hall(office: "Office", enrol: "Enrol") -> Hall:
    """People: two reviewers, an auditor, and somebody with the name of the agent."""
    enrol(office.url, "bob", "cid", "ann", tenant=office.tenant, roles=("reviewer",))
    enrol(office.url, "dan", tenant=office.tenant, roles=("auditor",))
    return Hall(office)


async def escalated(office: "Office", units: int = 900 * CENTS, **fields: Any) -> Intent:
    """A payment that two people have to agree to."""
    intent = await office.decided(office.asks(units, **{"mission": await office.mission(), **fields}))
    assert intent.state is S.ESCALATED
    return intent


# --- people ---------------------------------------------------------------------------------------------------------


@pytest.mark.threat(44)
async def test_two_different_people_agree(office: "Office", hall: Hall) -> None:
    """Threat 44: the same person twice, capitals or not, is one; each agreement is on the record."""
    intent = await escalated(office)
    assert await office.desk.missing(intent.id) == 2
    await hall.says(await hall.asked(intent), "bob")
    assert await office.desk.missing(intent.id) == 1
    second = await hall.asked(intent)
    with pytest.raises(GuardRejected, match="agreed before"):
        await hall.says(second, "bob")
    assert await office.desk.missing(intent.id) == 1
    await hall.says(second, "cid")
    assert await office.desk.missing(intent.id) == 0
    assert (await office.desk.ledger.intent(intent.id)).state is S.APPROVED
    assert [one["digest"] for one in await office.events("money.agreed")] == [intent.digest.hex()] * 2


@pytest.mark.threat(10, 44)
@pytest.mark.parametrize("who", ["ann", "dan", "nobody", "scripted reviewer (not a human)"])
async def test_who_asked_and_who_may_not_agree_to_nothing(office: "Office", hall: Hall, who: str) -> None:
    """Threats 10 and 44: the requester, a role that may not, somebody unknown, a script in the place of a human."""
    intent = await escalated(office)
    item = await hall.asked(intent)
    with pytest.raises(GuardRejected):
        await hall.says(item, who)
    assert await office.desk.missing(intent.id) == 2
    assert (await hall.queue.decision(item)) is None, "the question is still open"
    await hall.says(item, "bob")


@pytest.mark.threat(7, 8)
async def test_an_agreement_counts_for_the_payment_that_was_shown(office: "Office", hall: Hall) -> None:
    """Threats 7 and 8 in the books: a question about another digest, and an agreement to another payment."""
    intent, other = await escalated(office), await escalated(office, payee=await office.payee("other", "ef" * 20))
    item = await hall.asked(intent)
    await fetch(
        office.pool,
        "UPDATE reviews SET payload = jsonb_set(payload, '{digest}', to_jsonb(%s::text)) WHERE id = %s RETURNING id",
        (other.digest.hex(), item),
    )
    with pytest.raises(GuardRejected, match="not the payment"):
        await hall.says(item, "bob")
    await hall.says(await hall.asked(other), "bob")
    assert await office.desk.missing(intent.id) == 2


@pytest.mark.threat(44)
async def test_an_agreement_expires(alone: "Office", enrol: "Enrol", later: Later) -> None:
    """Threat 44: what was agreed to long ago ends the payment instead of completing a quorum."""
    enrol(alone.url, "bob", "cid", roles=("reviewer",))
    hall, intent = Hall(alone), await escalated(alone, ttl_s=86_400)
    await hall.says(await hall.asked(intent), "bob")
    item = await hall.asked(intent)
    await later("61 minutes")
    await hall.says(item, "cid")
    assert await alone.desk.missing(intent.id) == 0
    over = await alone.desk.ledger.intent(intent.id)
    assert (over.state, "agreement of bob" in over.why) == (S.REJECTED, True)
    await alone.untouched(intent.id)


@pytest.mark.threat(11)
async def test_what_expired_is_neither_agreed_to_nor_signed_nor_used(
    alone: "Office", enrol: "Enrol", later: Later
) -> None:
    """Threat 11, in the books."""
    enrol(alone.url, "bob", roles=("reviewer",))
    hall, waiting = Hall(alone), await escalated(alone)
    item = await hall.asked(waiting)
    payee = await alone.payee("other", "ef" * 20)
    approved = await alone.decided(alone.asks(payee=payee, agent="eve"))
    signed = await alone.decided(alone.asks(payee=payee, agent="fay"))
    await alone.desk.signer.sign(signed.id)
    await later("11 minutes")
    assert (await hall.says(item, "bob")).state == "late"  # kept on the record, and nobody agreed by it
    assert await alone.events("money.agreed") == []
    assert await alone.desk.approvals.of(waiting) == []
    with pytest.raises(ApprovalMissing, match="expired"):
        await alone.desk.signer.sign(approved.id)
    with pytest.raises(ApprovalMissing, match="expired"):
        await alone.desk.approvals.use(signed, "tx")


async def test_whoever_may_agree_may_say_no_and_an_edit_is_no_answer(office: "Office", hall: Hall) -> None:
    intent = await escalated(office)
    item = await hall.asked(intent)
    with pytest.raises(InputError):
        await hall.oversight.decisions.answer(
            item, ReviewDecision(action="edit", reviewer="bob", payload={"amount": {"units": 1}})
        )
    await hall.says(item, "bob", "reject")
    with pytest.raises(ConflictError):
        await hall.says(item, "cid")
    assert await office.events("money.agreed") == []


async def test_a_script_says_no_to_payments(office: "Office", hall: Hall) -> None:
    intent = await escalated(office)
    item = await hall.queue.find(await hall.asked(intent))
    answer = await scripted_reviewer(item)
    assert answer is not None
    assert answer.action == "reject"


async def test_agreements_and_findings_are_only_added_to(office: "Office", hall: Hall) -> None:
    intent = await escalated(office)
    await hall.says(await hall.asked(intent), "bob")
    for statement in (
        "DELETE FROM payment_approvals",
        "UPDATE payment_approvals SET approver = 'cid'",
        "UPDATE payment_findings SET data = '{}'",
        "TRUNCATE payment_findings",
    ):
        with pytest.raises((StoreError, psycopg.Error)):
            await fetch(office.pool, statement)


# --- the signature --------------------------------------------------------------------------------------------------


@pytest.mark.threat(10)
async def test_what_is_not_approved_is_not_signed(office: "Office", hall: Hall) -> None:
    """Threat 10: whatever state it is in, the key asks the database; an approval without a verdict is none."""
    proposed = await office.desk.ledger.propose(office.asks())
    waiting = await escalated(office)
    forced = await office.desk.ledger.propose(office.asks(agent="mallory"))
    for old, new in ((S.PROPOSED, S.SCREENED), (S.SCREENED, S.APPROVED)):
        await office.desk.ledger.move(forced.id, new, old, by="mallory")
    skipped = await escalated(office, agent="eve")
    await office.desk.ledger.move(skipped.id, S.APPROVED, S.ESCALATED, by="eve")
    for intent in (proposed, waiting, forced, skipped):
        with pytest.raises(ApprovalMissing):
            await office.desk.signer.sign(intent.id)
        assert await office.desk.approvals.signed(intent.id) is None


@pytest.mark.threat(6, 7, 9)
async def test_a_signature_is_of_one_payment_and_one_chain_and_of_the_key(office: "Office") -> None:
    """Threats 6, 7 and 9: with any field changed it is somebody else's signature."""
    intent = await office.decided(office.asks())
    signed = await office.desk.signer.sign(intent.id)
    assert signer_of(payment_data(intent), signed.signature) == office.desk.cfo_address
    asked = intent.asked
    changed = [
        replace(asked, payee=office.address("ef" * 20)),
        replace(asked, amount=asked.amount + 1),
        replace(asked, chain_id=1),
        replace(asked, asset=office.coin.id),
        replace(asked, fee_cap=1),
        replace(asked, policy_version="other"),
    ]
    others = [replace(intent, asked=one) for one in changed] + [replace(intent, digest=b"\1" * 32)]
    for other in others:
        assert signer_of(payment_data(other), signed.signature) != office.desk.cfo_address
    for nothing in (b"", b"\0" * 65, b"\xff" * 65, signed.signature[:64]):
        assert signer_of(payment_data(intent), nothing) is None


@pytest.mark.threat(8)
async def test_a_signature_is_used_once(office: "Office") -> None:
    """Threat 8: for one transaction; for the same one again it is no second use, for another one it is refused."""
    intent = await office.decided(office.asks())
    first = await office.desk.signer.sign(intent.id)
    assert await office.desk.signer.sign(intent.id) == first
    store = office.desk.approvals
    told = await asyncio.gather(*(store.use(intent, f"tx {n}") for n in range(8)), return_exceptions=True)
    assert sum(one is True for one in told) == 1
    assert sum(isinstance(one, ApprovalMissing) for one in told) == 7
    used = (await store.signed(intent.id) or first).used_by
    assert await store.use(intent, str(used)) is False
    with pytest.raises((StoreError, psycopg.Error)):
        await fetch(office.pool, "UPDATE payment_signatures SET used_by = NULL, used_at = NULL")
    with pytest.raises(ApprovalMissing):
        await store.use(replace(intent, digest=b"\1" * 32), "tx")


def test_the_key_is_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = load_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path).address == made.address
    path.chmod(0o640)
    with pytest.raises(InputError, match="others can read"):
        load_key(path)
    path.chmod(0o600)
    secret = path.read_text()
    path.write_text(secret[:-2] + "zz")
    with pytest.raises(InputError) as refused:
        load_key(path)
    assert secret[:20] not in str(refused.value.as_dict())


async def test_in_production_the_key_is_elsewhere(office: "Office") -> None:
    with pytest.raises(ConfigError, match="process of its own"):
        office.with_policy(office.policy_of(production=True))


async def test_the_key_in_a_process_of_its_own_signs_payments_by_id_alone(office: "Office", tmp_path: Path) -> None:
    """What it is asked is an id; it looks the payment up by itself. When it is gone, nothing is signed."""
    policy = tmp_path / "payments.toml"
    steps = office.policy_of().assets[office.token.id]
    policy.write_text(
        f'production = false\nnew_payee = 0\n[assets."{office.token.id}"]\n'
        f"auto = {steps.auto}\none = {steps.one}\ntwo = {steps.two}\n"
    )
    socket = tmp_path / "cfo.sock"
    command = [sys.executable, "-m", "chimera.commerce.cfo_process"]
    command += ["--socket", str(socket), "--key", str(tmp_path / "key"), "--policy", str(policy)]
    environment = {**os.environ, "CHIMERA_DATABASE_URL": office.url}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = (await asyncio.wait_for(process.stdout.readline(), 40)).decode().strip()
        assert socket.stat().st_mode & 0o077 == 0
        signer = SocketCfoSigner(socket)
        good, waiting = await office.decided(office.asks()), await escalated(office)
        signed = await signer.sign(good.id)
        assert signer_of(payment_data(good), signed.signature) == address == signed.signer
        with pytest.raises(ApprovalMissing, match="not approved"):
            await signer.sign(waiting.id)
        with pytest.raises(ApprovalMissing, match="no payment"):
            await signer.sign(random_ids()())
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    with pytest.raises(CfoUnavailable):
        await SocketCfoSigner(socket).sign(good.id)


@pytest.mark.threat(16)
@pytest.mark.parametrize(
    "line", [b"", b"\n", b"[]", b"{}", b'{"sign": 1}', b'{"sign_hash": "00"}', b'{"sign": "x", "raw": "y"}', b"\xff"]
)
async def test_nothing_else_is_asked_of_the_key(office: "Office", line: bytes) -> None:
    """Threat 16, of the CFO's key: no hash, no message, no bytes."""
    told = await answered(office.desk.signer, line)
    assert set(told) == {"refused"}
    assert json.dumps(told)


async def test_the_quorum_is_never_of_who_asked(office: "Office") -> None:
    """Even if it were written down."""
    intent = await escalated(office, 100 * CENTS)
    await fetch(
        office.pool,
        "INSERT INTO payment_approvals (intent, approver, digest, review_id, expires_at) "
        "VALUES (%s, 'ANN', %s, gen_random_uuid(), now() + interval '1 hour') RETURNING intent",
        (intent.id, intent.digest),
    )
    assert await ApprovalStore(office.pool).quorum(intent, Level.ONE) == 1


async def test_a_database_that_is_away_ends_no_payment() -> None:
    """Whoever holds the key cannot look the payment up: it is neither signed nor refused, and can be asked again."""

    class Away:
        async def sign(self, intent_id: str) -> Any:
            raise StoreUnavailable("Postgres is away")

    told = await answered(Away(), b'{"sign": "00000000-0000-4000-8000-000000000000"}')
    assert set(told) == {"unavailable"}
