"""What was found about a payment at each step, written down once, so that the next step needs only the payment's id."""

from dataclasses import dataclass
from typing import Any, Literal

from chimera.commerce.intents import Intent
from chimera.core.errors import IntentConflict
from chimera.store.postgres import Pool, fetch, fetch_one
from chimera.store.values import as_json

Action = Literal["note", "escalate", "reject"]
Step = Literal["claim", "screen", "risk", "cfo"]
STRICTNESS: tuple[Action, ...] = ("note", "escalate", "reject")


@dataclass(frozen=True)
class Finding:
    """One thing that a rule found. ``reject``: it is not paid; ``escalate``: a human looks first."""

    rule: str
    action: Action
    said: str

    def plain(self) -> dict[str, str]:
        """The finding as JSON data."""
        return {"rule": self.rule, "action": self.action, "said": self.said}


def strictest(findings: list[Finding]) -> Action:
    """The strictest action of some findings; a note if there is nothing else."""
    found = {one.action for one in findings}
    for action in reversed(STRICTNESS):
        if action in found:
            return action
    return "note"


class FindingStore:
    """Reads and writes the table ``payment_findings``. The first finding of a step is the one that counts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, intent: Intent, step: Step, data: dict[str, Any]) -> dict[str, Any]:
        """Write down what a step found, unless it did before; what counts."""
        await fetch(
            self._pool,
            "INSERT INTO payment_findings (intent, step, digest, data) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (intent, step) DO NOTHING RETURNING step",
            (intent.id, step, intent.digest, as_json(data)),
        )
        return await self.of(intent, step) or {}

    async def of(self, intent: Intent, step: Step) -> dict[str, Any] | None:
        """What a step found; None if it was not taken yet.

        Raises:
            IntentConflict: it looked at another payload.
        """
        query = "SELECT digest, data FROM payment_findings WHERE intent = %s AND step = %s"
        row = await fetch_one(self._pool, query, (intent.id, step))
        if row is None:
            return None
        if bytes(row["digest"]) != intent.digest:
            raise IntentConflict(f"payment {intent.id} is not the one that was looked at", intent=intent.id)
        return dict(row["data"])
