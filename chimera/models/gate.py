"""What every request passes before it goes to a model, whoever makes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from chimera.core.contracts import Budget, Mission, Task

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


@dataclass(frozen=True)
class Caller:
    """On whose account a model is called. ``agent`` is who asks, by the name that its decisions are recorded under."""

    mission_id: str
    role: str
    budget: Budget
    tenant: str = "default"
    priority: int = 0
    agent: str = ""
    mission: Mission | None = None
    task: Task | None = None


@dataclass(frozen=True)
class Sent:
    """What a model is to be sent: the messages, and the tools that it is offered in OpenAI's function form."""

    messages: "Sequence[BaseMessage]"
    tools: Sequence[dict[str, Any]] = ()


class Gate(Protocol):
    """Decides about requests to models."""

    async def passed(self, caller: Caller, sent: Sent) -> Sent:
        """The request as it may go out.

        Raises:
            GuardRejected: it may not go to any model. StoreError: that could not be put on the record.
        """
        ...
