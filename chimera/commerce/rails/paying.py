"""Approved payments on a rail outside of chains: the same books and the same order as on a chain.

The payment's id is the idempotency key of the call, so a call that is made again is the same order there too. Before
the first call the service has to show that it is in test mode: this rail moves no real money.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.ledger import Ledger
from chimera.commerce.rails.orders import Route
from chimera.core.errors import OfferRefused, OutcomeUnknown, ToolFailed

_WHO = "chimera:rail"
_S = IntentState


class CallTool(Protocol):
    """Calls a tool of a tool server; the key travels beside the arguments."""

    async def __call__(self, tool: str, arguments: dict[str, Any], idempotency_key: str) -> dict[str, Any] | None:
        """The structured answer.

        Raises:
            ToolFailed: ``context["outcome"]`` is "not done" when it was certainly not carried out.
        """
        ...


@dataclass(frozen=True)
class Paid:
    """A payment and what the service answered; None when it was not asked again."""

    intent: Intent
    answer: Mapping[str, Any] | None = None


class Rail:
    """Pays what was approved, through one service."""

    def __init__(self, ledger: Ledger, route: Route, call: CallTool) -> None:
        self._ledger = ledger
        self._route = route
        self._call = call

    async def pay(self, intent_id: str) -> Paid:
        """Pay an approved payment, or go on with it from wherever it is.

        Raises:
            OfferRefused: it is not on the list, or the service is not in test mode; nothing was ordered.
            OutcomeUnknown: nobody knows whether it was ordered; ask again. PaymentRefused: of the ledger.
        """
        intent = await self._ledger.intent(intent_id)
        order = self._route.order(intent)
        if intent.state in (_S.APPROVED, _S.RESERVED):
            await self._check_test_mode(intent)
        if intent.state == _S.APPROVED:
            await self._ledger.reserve(intent)
        intent = await self._ledger.intent(intent_id)
        if intent.state == _S.RESERVED:
            await self._ledger.move(intent_id, _S.SIGNED, _S.RESERVED, by=_WHO, why=order.tool)
        intent = await self._ledger.intent(intent_id)
        answer = None
        if intent.state in (_S.SIGNED, _S.BROADCAST, _S.UNKNOWN):
            if intent.state == _S.SIGNED:
                await self._ledger.move(intent_id, _S.BROADCAST, _S.SIGNED, by=_WHO)
            answer = await self._order(intent, order.tool, order.arguments)
        if answer is not None:
            await self._ledger.move(intent_id, _S.CONFIRMED, _S.BROADCAST, _S.UNKNOWN, by=_WHO)
        if (await self._ledger.intent(intent_id)).state == _S.CONFIRMED:
            await self._ledger.capture(intent_id)
        if (await self._ledger.intent(intent_id)).state == _S.CAPTURED:
            await self._ledger.move(intent_id, _S.DELIVERED, _S.CAPTURED, by=_WHO)
        if (await self._ledger.intent(intent_id)).state == _S.FAILED:
            await self._ledger.release(intent_id)
        return Paid(await self._ledger.intent(intent_id), answer)

    async def _order(self, intent: Intent, tool: str, arguments: dict[str, Any]) -> Mapping[str, Any] | None:
        """The service's answer; None when it certainly did nothing."""
        try:
            answer = await self._call(tool, arguments, intent.id)
        except ToolFailed as error:
            flying = (_S.BROADCAST, _S.UNKNOWN)
            if error.context.get("outcome") == "not done" and intent.state == _S.SIGNED:
                await self._ledger.move(intent.id, _S.FAILED, *flying, by=_WHO, why=error.code)
                return None
            await self._ledger.move(intent.id, _S.UNKNOWN, _S.BROADCAST, by=_WHO, why=error.code)
            raise OutcomeUnknown(
                f"payment {intent.id}: nobody knows whether it was ordered", intent=intent.id
            ) from None
        return answer or {}

    async def _check_test_mode(self, intent: Intent) -> None:
        probe = self._route.probe()
        answer = await self._call(probe.tool, probe.arguments, f"{intent.id}/probe") or {}
        if not (answer.get("simulator") is True or answer.get("livemode") is False):
            raise OfferRefused(
                f"{self._route.name} does not say that it is in test mode; nothing is ordered",
                remedy="Use the simulator, or a key of the service's test mode.",
                rule="test mode",
            )
