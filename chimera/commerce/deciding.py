"""The way of a payment from its proposal to its approval, and what is asked of it once more right before it is made.

Each method takes the payment's id and goes on from the state that the database says. It may be called again at any
time, by whoever goes on after a crash: what was found once stays found.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from chimera.commerce.approvals import ApprovalStore
from chimera.commerce.cfo import CfoAgent, CfoVerdict
from chimera.commerce.cfo_key import CfoSigner
from chimera.commerce.findings import FindingStore
from chimera.commerce.intents import IN_FLIGHT, Intent, IntentState
from chimera.commerce.ledger import Ledger
from chimera.commerce.payees import Payees
from chimera.commerce.payment_policy import Level, PaymentPolicy
from chimera.commerce.risk import RiskDesk
from chimera.commerce.screening import Screening
from chimera.commerce.transactions import Requester
from chimera.commerce.wallet.approval import payment_data, signer_of
from chimera.core.clock import Clock
from chimera.core.errors import ApprovalMissing, BudgetMissing, IntentConflict, OverBudget
from chimera.store.audit import AuditEvent, AuditLog

if TYPE_CHECKING:
    from chimera.commerce.x402.selling import PaidEndpoint

_S = IntentState
BY = "chimera:payments"
DELIVERY_S = 120.0
_OPEN = (_S.PROPOSED, _S.SCREENED, _S.ESCALATED, _S.APPROVED)


class Payer(Protocol):
    """What makes an approved payment: reserves if need be, signs, sends, confirms and captures."""

    async def pay(self, intent_id: str) -> IntentState:
        """Make a payment, or go on with it where it was left, and return how far it came.

        Called again it makes nothing twice: the same payment, and where its outcome is not known no new signature.
        """
        ...


class Delivery(Protocol):
    """What gets the goods that were paid for."""

    async def deliver(self, intent: Intent) -> bool:
        """Get them; False when they do not come."""
        ...


class Refunds(Protocol):
    """What asks for money back."""

    async def refund(self, intent: Intent) -> tuple[int, str] | None:
        """The atomic units that came back, with the rail's id of that; None when nothing does."""
        ...


class Spends(Protocol):
    """What proposes the payments that agents' calls stand for, and knows what came of them."""

    @property
    def tools(self) -> frozenset[str]:
        """The names of the calls that can be made here."""
        ...

    @property
    def sellers(self) -> tuple[str, ...]:
        """The origins of the shops that can be bought at."""
        ...

    async def propose(self, tool: str, arguments: Mapping[str, Any], by: Requester, key: str) -> Intent:
        """The payment of a call; the same key is the same payment."""
        ...

    async def outcome(self, tenant: str, key: str) -> Mapping[str, Any]:
        """What came of it."""
        ...


@dataclass(frozen=True)
class Deciding:
    """The services that decide about payments. ``cfo_address``: whose signature counts."""

    policy: PaymentPolicy
    ledger: Ledger
    payees: Payees
    findings: FindingStore
    approvals: ApprovalStore
    screening: Screening
    risk: RiskDesk
    cfo: CfoAgent
    signer: CfoSigner
    cfo_address: str
    audit: AuditLog
    clock: Clock

    async def decide(self, intent: Intent) -> IntentState:
        """Bring a payment as far as it can be decided now, and say where it is; an approved one is signed by the CFO.

        Where people have to agree, it waits as escalated: they are asked by ``graphs/payment.py``.

        Raises:
            CfoUnavailable: the CFO's key cannot be asked.
        """
        await self.screen(intent.id)
        await self.verdict(intent.id)
        await self.missing(intent.id)
        return await self.sign(intent.id)

    async def screen(self, intent_id: str) -> IntentState:
        """Look at a proposed payment by rules and lists, and let it go on or refuse it."""
        intent = await self.ledger.intent(intent_id)
        if intent.state is not _S.PROPOSED:
            return intent.state
        screened = await self.screening.screen(intent, self.clock.now())
        found = await self.findings.keep(intent, "screen", screened.plain())
        data = {"intent": intent.id, "digest": intent.digest.hex(), "payee": intent.asked.payee, **found}
        await self.audit.append(AuditEvent("money.screened", BY, intent.mission_id, intent.asked.tenant, data))
        if found["action"] == "reject":
            why = "; ".join(str(one["said"]) for one in found["findings"] if one["action"] == "reject")
            return await self.refuse(intent_id, by=BY, why=why)
        await self.ledger.move(intent.id, _S.SCREENED, _S.PROPOSED, by=BY)
        return _S.SCREENED

    async def verdict(self, intent_id: str) -> IntentState:
        """Judge the risk of a screened payment, have the CFO's verdict, and act on it."""
        intent = await self.ledger.intent(intent_id)
        if intent.state is not _S.SCREENED:
            return intent.state
        if await self.findings.of(intent, "risk") is None:
            await self.findings.keep(intent, "risk", (await self.risk.judge(intent)).plain())
        verdict = await self.cfo.review(intent.id)
        if verdict.action == "reject":
            return await self.refuse(intent_id, by="cfo", why=verdict.reason)
        to = _S.APPROVED if verdict.approved else _S.ESCALATED
        await self.ledger.move(intent.id, to, _S.SCREENED, by="cfo", why=verdict.reason)
        return to

    async def kept_verdict(self, intent_id: str) -> CfoVerdict | None:
        """The CFO's verdict on a payment; None if there is none yet."""
        kept = await self.findings.of(await self.ledger.intent(intent_id), "cfo")
        return CfoVerdict.model_validate(kept) if kept else None

    async def missing(self, intent_id: str) -> int:
        """How many people still have to agree to an escalated payment; with the last of them, it is approved."""
        intent = await self.ledger.intent(intent_id)
        if intent.state is not _S.ESCALATED:
            return 0
        verdict = await self.kept_verdict(intent_id)
        try:
            missing = await self.approvals.quorum(intent, Level(verdict.level) if verdict else Level.NEVER)
        except ApprovalMissing as error:
            await self.refuse(intent_id, by=BY, why=error.message)
            return 0
        if not missing:
            people = ", ".join(one.approver for one in await self.approvals.of(intent))
            await self.ledger.move(intent.id, _S.APPROVED, _S.ESCALATED, by=people, why="agreed")
        return missing

    async def sign(self, intent_id: str) -> IntentState:
        """Have the CFO's key sign an approved payment.

        Raises:
            CfoUnavailable: nobody could say; it stays approved, until it expires.
        """
        intent = await self.ledger.intent(intent_id)
        if intent.state is not _S.APPROVED:
            return intent.state
        try:
            await self.signer.sign(intent.id)
            await self._signature(intent)
        except (ApprovalMissing, IntentConflict) as error:
            return await self.refuse(intent_id, by=BY, why=error.message)
        return _S.APPROVED

    async def reserve(self, intent_id: str) -> IntentState:
        """Reserve an approved payment in its budgets, or refuse it."""
        intent = await self.ledger.intent(intent_id)
        if intent.state is not _S.APPROVED:
            return intent.state
        try:
            await self.ledger.reserve(intent)
        except (OverBudget, BudgetMissing) as error:
            return await self.refuse(intent_id, by=BY, why=error.message)
        return _S.RESERVED

    async def why_not(self, intent_id: str) -> str | None:
        """What speaks against making a payment now; None when nothing does. Everything is looked up anew.

        What is signed already may be on its way: that is followed to its end, whatever has changed since.
        """
        intent = await self.ledger.intent(intent_id)
        if intent.state in IN_FLIGHT:
            return None
        if intent.state is not _S.RESERVED:
            return f"the payment is {intent.state}, and not reserved"
        if await self.approvals.too_late(intent):
            return "the payment has expired"
        verdict = await self.kept_verdict(intent_id)
        if verdict is None or verdict.action == "reject" or verdict.digest != intent.digest.hex():
            return "the CFO did not approve it"
        again = await self.screening.screen(intent, self.clock.now())
        if again.action == "reject":
            return "; ".join(one.said for one in again.findings if one.action == "reject")
        try:
            if await self.approvals.quorum(intent, Level(verdict.level)):
                return "not all have agreed to it"
            await self._signature(intent)
        except ApprovalMissing as error:
            return error.message
        return None

    async def refuse(self, intent_id: str, *, by: str, why: str) -> IntentState:
        """End a payment that was not made, and give back what is held for it."""
        intent = await self.ledger.intent(intent_id)
        if intent.state in _OPEN:
            await self.ledger.move(intent.id, _S.REJECTED, *_OPEN, by=by, why=why)
        elif intent.state is _S.RESERVED:
            await self.ledger.release(intent.id, why=why)
        else:
            return intent.state
        data = {"intent": intent.id, "digest": intent.digest.hex(), "was": str(intent.state), "reason": why[:1_000]}
        await self.audit.append(AuditEvent("money.refused", by, intent.mission_id, intent.asked.tenant, data))
        return (await self.ledger.intent(intent_id)).state

    async def _signature(self, intent: Intent) -> None:
        """Let a payment pass that the CFO's key signed, as it is.

        Raises:
            ApprovalMissing: it did not.
        """
        signed = await self.approvals.signed(intent.id)
        if signed is None or signed.digest != intent.digest or intent.computed() != intent.digest:
            raise ApprovalMissing(f"payment {intent.id} is not signed by the CFO", intent=intent.id)
        found = await asyncio.to_thread(signer_of, payment_data(intent), signed.signature)
        if found != self.cfo_address:
            raise ApprovalMissing(f"payment {intent.id} is signed by {found}, who is not the CFO", intent=intent.id)


@dataclass(frozen=True)
class Payments:
    """All that pays. Without a payer, payments are decided about and never made."""

    deciding: Deciding
    payer: Payer | None = None
    delivery: Delivery | None = None
    refunds: Refunds | None = None
    spending: Spends | None = None
    sells: "Sequence[PaidEndpoint]" = ()

    @property
    def configured(self) -> bool:
        """Whether anything can be paid."""
        return self.payer is not None
