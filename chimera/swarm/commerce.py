"""AgenticCommerce: let agents pay, from Python, through the same screening, CFO, people and guard as everywhere."""

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from chimera.app import App, Roles, open_app
from chimera.commerce.cfo import CfoVerdict
from chimera.commerce.deciding import Deciding, Payments
from chimera.commerce.intents import FINAL, SPENT, Intent, IntentState
from chimera.commerce.setup import PaymentSetup
from chimera.commerce.transactions import Asked, Requester, read_transaction
from chimera.core.clock import Clock
from chimera.core.contracts import Mission, MissionResult, MissionStatus, ReviewItem
from chimera.core.errors import ConfigError, InputError, PaymentRefused
from chimera.core.ids import NewId, derived_id, digest
from chimera.core.settings import Settings
from chimera.graphs.payment import build_payment
from chimera.review.reviewers import Reviewer
from chimera.swarm.driving import Driver

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

_S = IntentState
_APPROVED = frozenset({_S.APPROVED, _S.RESERVED, _S.SIGNED, _S.BROADCAST, _S.CONFIRMED, *SPENT})
_STEPS = 100
Transaction = Mapping[str, Any]


class Reason(str):
    """Why a payment was not approved, in words; it knows which payment it is about."""

    intent_id: str = ""

    @classmethod
    def of(cls, text: str, intent_id: str) -> Self:
        """Words about a payment."""
        made = cls(text)
        made.intent_id = intent_id
        return made


@dataclass(frozen=True)
class PaymentApproval:
    """What came of a review. ``waits``: the questions on the queue that people have to answer first."""

    intent_id: str
    approved: bool
    reason: Reason
    state: IntentState
    verdict: CfoVerdict | None = None
    waits: tuple[str, ...] = ()


@dataclass(frozen=True)
class PaymentOutcome:
    """What came of a payment. ``paid``: the money went; ``delivered``: and what it was for came."""

    intent_id: str
    state: IntentState
    paid: bool
    delivered: bool
    reason: str = ""
    waits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Handled:
    """What becomes of a payment that was not approved: ``escalated`` to people, or ``rejected`` for good."""

    outcome: str
    reason: str
    waits: tuple[str, ...] = ()


class CfoDoor:
    """The CFO, as a program asks it."""

    def __init__(self, commerce: "AgenticCommerce") -> None:
        self._commerce = commerce

    async def review_transaction(self, transaction: Transaction) -> PaymentApproval:
        """Screen a transaction, judge its risk, have the CFO's verdict and, where they are there, people's agreement.

        Nothing is reserved or paid by it. The same transaction is the same payment; a second one like it has a ``key``
        of its own.

        Raises:
            InputError, PayeeUnknown: it says not clearly who is to get what. IntentConflict: its key is another
            payment's.
        """
        return await self._commerce.review(transaction)


class WalletDoor:
    """The wallet, as a program asks it."""

    def __init__(self, commerce: "AgenticCommerce") -> None:
        self._commerce = commerce

    async def execute_transaction(self, transaction: Transaction) -> PaymentOutcome:
        """Make a payment that the CFO, and people where needed, approved; asked again, the same one and no second.

        A transaction that was not reviewed is reviewed first: there is no way around that.

        Raises:
            PaymentRefused: it was not approved, or payments are not configured. InputError: as for a review.
        """
        return await self._commerce.execute(transaction)


class AgenticCommerce(Driver):
    """Payments behind a CFO.

    Usage::

        async with AgenticCommerce(setup, agent="researcher") as commerce:
            approval = await commerce.cfo_agent.review_transaction(transaction)
            if approval.approved:
                await commerce.wallet.execute_transaction(transaction)
            else:
                await commerce.handle_rejection(approval.reason)

    ``agent`` is who pays, as the books and the budgets know it. ``reviewer`` answers what people are asked; without
    one, questions wait on the queue (``chimera review ls``).
    """

    def __init__(
        self,
        setup: PaymentSetup,
        settings: Settings | None = None,
        *,
        agent: str = "python",
        tenant: str = "default",
        roles: Roles | None = None,
        reviewer: Reviewer | None = None,
        clock: Clock | None = None,
        new_id: NewId | None = None,
    ) -> None:
        super().__init__(reviewer)
        self._opening = open_app(settings, roles or Roles(), clock=clock, new_id=new_id, payments=setup)
        self._stack = AsyncExitStack()
        self._built: CompiledStateGraph[Any, Any, Any, Any] | None = None
        self._agent, self._tenant, self._session = agent, tenant, ""
        self.cfo_agent = CfoDoor(self)
        self.wallet = WalletDoor(self)

    @classmethod
    def on(
        cls, app: App, *, agent: str = "python", tenant: str = "default", reviewer: Reviewer | None = None
    ) -> "AgenticCommerce":
        """The same on an app that is open and pays, and that whoever opened it closes.

        Raises:
            ConfigError: it was opened without payments.
        """
        if (payments := app.context.payments) is None:
            raise ConfigError("this app was opened without payments")
        made = cls(PaymentSetup(payments.deciding.policy), app.settings, agent=agent, tenant=tenant, reviewer=reviewer)
        made._app, made._session = app, app.context.new_id()
        return made

    async def __aenter__(self) -> Self:
        self._app = await self._stack.enter_async_context(self._opening)
        self._session = self._app.context.new_id()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self._app = None
        await self._stack.__aexit__(*raised)

    @property
    def payments(self) -> Payments:
        """The services that decide and pay."""
        if (payments := self.app.context.payments) is None:
            raise ConfigError("this app was opened without payments")
        return payments

    # --- the seed's three calls ----------------------------------------------------------------------------------

    async def review(self, transaction: Transaction) -> PaymentApproval:
        """See :meth:`CfoDoor.review_transaction`."""
        intent = await self._proposed(transaction)
        return await self._approval(intent, await self._go_on(intent, decide_only=True))

    async def execute(self, transaction: Transaction) -> PaymentOutcome:
        """See :meth:`WalletDoor.execute_transaction`."""
        if not self.payments.configured:
            raise PaymentRefused(
                "payments are not configured", remedy="Give AgenticCommerce a setup with rails (docs/payments.md)."
            )
        intent = await self._proposed(transaction)
        waits = await self._go_on(intent, decide_only=False)
        intent = await self._desk.ledger.intent(intent.id)
        if intent.state not in _APPROVED and intent.state not in (_S.UNKNOWN, _S.QUARANTINED):
            approval = await self._approval(intent, waits)
            raise PaymentRefused(
                f"payment {intent.id} was not made: {approval.reason}"[:1_000],
                intent=intent.id,
                state=str(intent.state),
            )
        return PaymentOutcome(
            intent.id, intent.state, intent.state in SPENT, intent.state is _S.DELIVERED, intent.why, waits
        )

    async def handle_rejection(self, reason: str) -> Handled:
        """What becomes of a payment that was not approved: it waits for people, or it is over.

        ``reason``: that of the approval; a text of one's own says nothing about a payment.
        """
        intent_id = reason.intent_id if isinstance(reason, Reason) else ""
        if not intent_id:
            return Handled("rejected", str(reason))
        intent = await self._desk.ledger.intent(intent_id)
        waits = await self._open_questions(intent)
        return Handled("escalated" if waits else "rejected", str(reason), waits)

    # --- how -----------------------------------------------------------------------------------------------------

    @property
    def _desk(self) -> Deciding:
        return self.payments.deciding

    @property
    def _graph(self) -> "CompiledStateGraph[Any, Any, Any, Any]":
        if self._built is None:
            self._built = build_payment(checkpointer=self.app.saver)
        return self._built

    async def _proposed(self, transaction: Transaction) -> Intent:
        try:
            written = json.dumps(dict(transaction), sort_keys=True)
        except (TypeError, ValueError):
            raise InputError("a transaction is plain data", remedy="Write amounts as text, such as '0.25'.") from None
        key = f"python:{digest(self._session + written)[:32]}"
        named = transaction.get("key")
        key = named if isinstance(named, str) else key
        mission_id = derived_id("payment", self._tenant, self._agent, key)
        by = Requester(self._tenant, self._agent, mission_id)
        desk = self._desk
        asked = await read_transaction(transaction, by, key, desk.policy, desk.ledger.assets, desk.payees)
        intent = await desk.ledger.propose(asked.proposal)
        await self.app.context.missions.create(mission_id, _mission(asked, self._tenant))
        if asked.value is not None:
            claim = {"value": str(asked.value), "within_s": asked.within_s}
            await desk.findings.keep(intent, "claim", claim)
        return intent

    async def _go_on(self, intent: Intent, *, decide_only: bool) -> tuple[str, ...]:
        """Go on with a payment as far as it goes now; the questions that it waits for."""
        context, graph = self.app.context, self._graph
        place: RunnableConfig = {"configurable": {"thread_id": f"payment/{intent.id}"}, "recursion_limit": _STEPS}
        start: Any = {"intent_id": intent.id, "decide_only": decide_only}
        async with context.missions.running_alone(intent.asked.mission):
            begun = await graph.aget_state(place)
            given: Any = start
            asked_before = bool(begun.interrupts)
            if asked_before and not (given := await self._answers(begun.interrupts)):
                return tuple(ReviewItem.model_validate(one.value).id for one in begun.interrupts)
            while True:
                await graph.ainvoke(given, place, context=context, durability="sync")
                found = await graph.aget_state(place)
                if not found.interrupts:
                    if asked_before:  # it went on as it was begun; now as it is asked for
                        given, asked_before = start, False
                        continue
                    break
                if not (given := await self._answers(found.interrupts)):
                    return tuple(ReviewItem.model_validate(one.value).id for one in found.interrupts)
            await self._finished(intent)
        return ()

    async def _answers(self, interrupts: Any) -> Command[Any] | None:
        answers: dict[str, Any] = {}
        for asked in interrupts:
            item = ReviewItem.model_validate(asked.value)
            if (answer := await self._answer_to(item, self._reviewer)) is not None:
                answers[asked.id] = {**answer, "item_id": item.id}
        return Command(resume=answers) if answers else None

    async def _approval(self, intent: Intent, waits: tuple[str, ...]) -> PaymentApproval:
        intent = await self._desk.ledger.intent(intent.id)
        verdict = await self._desk.kept_verdict(intent.id)
        why = intent.why or (verdict.reason if verdict else "") or str(intent.state)
        if waits:
            why = f"people have to agree: {verdict.reason if verdict else ''} (`chimera review show {waits[0][:8]}`)"
        approved = intent.state in _APPROVED
        return PaymentApproval(intent.id, approved, Reason.of(why, intent.id), intent.state, verdict, waits)

    async def _open_questions(self, intent: Intent) -> tuple[str, ...]:
        pending = await self.app.context.reviews.pending(intent.asked.mission)
        return tuple(item.id for item in pending if item.payload.get("intent") == intent.id)

    async def _finished(self, intent: Intent) -> None:
        """Close the mission of a payment that is over."""
        intent = await self._desk.ledger.intent(intent.id)
        if intent.state not in FINAL:
            return
        done = intent.state is _S.DELIVERED
        await self.app.context.missions.finish(
            MissionResult(
                mission_id=intent.asked.mission,
                status=MissionStatus.DONE if done else MissionStatus.REJECTED,
                answer=f"payment {intent.id} is {intent.state}",
                reasons=[intent.why] if intent.why else [],
                confidence=1.0 if done else 0.0,
            )
        )


def _mission(asked: Asked, tenant: str) -> Mission:
    amount = asked.asset.shown(asked.proposal.amount)
    return Mission(goal=f"Pay {amount} to {asked.proposal.payee}: {asked.proposal.purpose}"[:8_000], tenant=tenant)
