"""The payment edge: the guard that asks everything again right before a payment, and the steps of the guarded hop.

    reserve -> guard_payment -> pay -> guard_receipt -> deliver

Nothing else reaches a payer: a graph with another way to one does not compile (``guards/edges.py``).
"""

from collections.abc import Callable
from typing import Any, Protocol

from langgraph.runtime import Runtime

from chimera.commerce.deciding import Payments
from chimera.commerce.intents import SPENT
from chimera.core.contracts import Decision, Mission, Threat
from chimera.core.errors import ChimeraError, PaymentRefused
from chimera.core.state import PaymentState
from chimera.guards.gateway import SecurityGateway
from chimera.guards.request import Edge, GuardRequest, reject
from chimera.store.audit import AuditEvent, AuditLog

NOT_CONFIGURED = Decision(
    action="reject", threat=Threat.NONE, reasons=["payments are not configured"], rules=["payment.not-configured"]
)


class PaymentServices(Protocol):
    """What the guarded hop needs of the runtime context."""

    @property
    def gateway(self) -> SecurityGateway: ...  # noqa: D102
    @property
    def audit(self) -> AuditLog: ...  # noqa: D102
    @property
    def payments(self) -> Payments | None: ...  # noqa: D102


class DecidedPayment:
    """A payment is made only as it was screened, approved, agreed to and signed; nothing of that is taken on trust."""

    rule = "payment.decided"

    def __init__(self, payments: Callable[[], Payments | None]) -> None:
        """``payments``: gives what pays, by the time that something is to be paid."""
        self._payments = payments

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject with what speaks against it."""
        payments = self._payments()
        if payments is None or not payments.configured:
            return reject(self.rule, "payments are not configured", Threat.NONE)
        try:
            why = await payments.deciding.why_not(str(request.payload.get("intent")))
        except ChimeraError as error:
            why = error.message
        return reject(self.rule, why, Threat.MEDIUM) if why else None


async def guard_payment(state: PaymentState, runtime: Runtime[Any]) -> dict[str, Any]:
    """Put a reserved payment before the gateway. A payment is allowed or not; it is never edited."""
    services: PaymentServices = runtime.context
    if services.payments is None or not services.payments.configured:
        return {"decision": NOT_CONFIGURED.plain()}
    intent = await services.payments.deciding.ledger.intent(state["intent_id"])
    asked = intent.asked
    request = GuardRequest(
        edge=Edge.PAYMENT,
        payload={
            "intent": intent.id,
            "digest": intent.digest.hex(),
            "payee": asked.payee,
            "asset": asked.asset,
            "units": str(asked.amount),
        },
        mission_id=intent.mission_id,
        mission=Mission(goal="pay", tenant=asked.tenant),
    )
    decision = await services.gateway.validate_request(asked.agent, request)
    if decision.action in ("edit", "escalate"):
        decision = reject(DecidedPayment.rule, f"a payment cannot be {decision.action}ed at this edge", Threat.MEDIUM)
    return {"decision": decision.plain()}


async def make_payment(state: PaymentState, runtime: Runtime[Any]) -> dict[str, Any]:
    """Have the payment made that was allowed, if nothing speaks against it by now, whatever chain was asked."""
    services: PaymentServices = runtime.context
    payments = services.payments
    if payments is None or payments.payer is None or (state.get("decision") or {}).get("action") != "allow":
        raise PaymentRefused("no guard allowed this payment")
    if (why := await payments.deciding.why_not(state["intent_id"])) is not None:
        return {"at": str(await payments.deciding.refuse(state["intent_id"], by="guard:payment", why=why))}
    try:
        return {"at": str(await payments.payer.pay(state["intent_id"]))}
    except PaymentRefused as error:
        # What can be tried again stays reserved until it expires; what was signed is never given up here.
        if not error.retryable:
            await payments.deciding.refuse(state["intent_id"], by="guard:payment", why=error.message)
        return {"at": str((await payments.deciding.ledger.intent(state["intent_id"])).state)}


async def guard_receipt(state: PaymentState, runtime: Runtime[Any]) -> dict[str, Any]:
    """Believe the books and not the payer: what they say is what came of it."""
    services: PaymentServices = runtime.context
    if services.payments is None:
        return {"at": ""}
    intent = await services.payments.deciding.ledger.intent(state["intent_id"])
    if intent.state in SPENT:
        data = {"intent": intent.id, "digest": intent.digest.hex(), "payee": intent.asked.payee}
        units = {"asset": intent.asked.asset, "units": str(intent.asked.amount)}
        await services.audit.append(
            AuditEvent(
                kind="money.paid",
                actor=intent.moved_by,
                mission_id=intent.mission_id,
                tenant=intent.asked.tenant,
                data={**data, **units},
            )
        )
    return {"at": str(intent.state)}
