"""The one place where requests to models pass the guards of the edge ``model_input``.

Every request passes them, whoever makes it: orchestrator, planner, worker at each turn, judge and extractor. All that a
model would be sent is looked at as data, message by message, and what guards edited is written into the messages again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AnyMessage

from chimera.core.contracts import Decision
from chimera.core.errors import GuardRejected
from chimera.core.spotlight import opened, rewritten
from chimera.core.state import Plain
from chimera.guards.gateway import SecurityGateway
from chimera.guards.request import Edge, GuardRequest
from chimera.models.gate import Caller, Sent


class ModelInput:
    """The gate before all models."""

    def __init__(self, gateway: SecurityGateway) -> None:
        self._gateway = gateway

    async def passed(self, caller: Caller, sent: Sent) -> Sent:
        """The request as the guards let it through.

        Raises:
            GuardRejected: it may not go to any model; the message says why.
            StoreError: the decision could not be put on the record.
        """
        messages = cast("Sequence[AnyMessage]", sent.messages)
        said = [opened(message) for message in messages]
        decision = await self._gateway.validate_request(
            caller.agent or f"{caller.role}:{caller.mission_id}",
            GuardRequest(
                edge=Edge.MODEL_INPUT,
                payload={"role": caller.role, "messages": said, "tools": list(sent.tools)},
                mission_id=caller.mission_id,
                mission=caller.mission,
                task=caller.task,
            ),
        )
        if not decision:
            raise GuardRejected(f"nothing was sent to the model: {'; '.join(decision.reasons)}")
        if decision.payload is None:
            return sent
        edited, tools = _edited(decision, said, sent.tools)
        kept = zip(messages, said, edited, strict=True)
        return Sent([one if now == before else rewritten(one, now) for one, before, now in kept], tools)


def _edited(decision: Decision, said: Sequence[Plain], offered: Sequence[Plain]) -> tuple[list[Plain], list[Plain]]:
    """The messages and tools of an edited payload: as many as there were, each with the parts that it had."""
    payload = cast("Mapping[str, Any]", decision.payload)
    messages, tools = payload.get("messages"), payload.get("tools")
    if not _alike(messages, said) or not _alike(tools, offered):
        raise GuardRejected("nothing was sent to the model: a guard left no request that could be")
    return cast("list[Plain]", messages), cast("list[Plain]", tools)


def _alike(found: object, before: Sequence[Plain]) -> bool:
    if not isinstance(found, list) or len(cast("list[Any]", found)) != len(before):
        return False
    pairs = zip(cast("list[Any]", found), before, strict=True)
    return all(isinstance(one, dict) and set(cast("Plain", one)) == set(known) for one, known in pairs)
