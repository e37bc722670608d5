"""The CFO: one typed verdict on each payment, by rules first, and by a model that can only be stricter."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import resources
from typing import Any, Literal, Protocol

from pydantic import Field

from chimera.commerce.budget_use import Budget
from chimera.commerce.findings import Finding, FindingStore
from chimera.commerce.intents import Intent
from chimera.commerce.ledger import Ledger
from chimera.commerce.payment_policy import Level, PaymentPolicy
from chimera.commerce.roi import Return, expected_return
from chimera.core.contracts import Confidence, Contract
from chimera.core.errors import ChimeraError, InputError, StoreError
from chimera.core.ids import NewId
from chimera.core.spotlight import Marks
from chimera.models.calls import Models
from chimera.models.choose import OFFLINE
from chimera.models.gate import Caller
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool

ROLE = "cfo"
RULES = "rules"
_REASON_MAX, _REASONS_MAX = 300, 10
_NEARLY = 80
"""Per cent of a budget from which on the verdict warns."""


class CfoOpinion(Contract):
    """What the CFO's model says of a payment that the rules let through."""

    action: Literal["agree", "escalate", "refuse"]
    reasons: list[str] = Field(default_factory=list, max_length=50)


class CfoVerdict(Contract):
    """The CFO's verdict. ``approve``: nobody else has to agree; ``escalate``: ``level`` people have to.

    Sums are atomic units of the payment's asset, as text. ``by``: the model that was asked, or that rules decided
    alone. ``digest``: of the payment that it is about; ``lists``: of the lists that it was held against.
    """

    intent: str
    digest: str
    action: Literal["approve", "escalate", "reject"]
    level: int = Field(ge=0, le=3)
    reasons: list[str]
    cost: str
    value: str | None = None
    expected: str | None = None
    payback_s: int | None = None
    confidence: Confidence
    risk: Confidence
    warnings: list[str] = Field(default_factory=list)
    policy_version: str
    lists: str = ""
    lists_dated: str | None = None
    by: str = RULES

    @property
    def approved(self) -> bool:
        """Whether it may be paid without anybody else's agreement."""
        return self.action == "approve"

    @property
    def reason(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons) or self.action


class Missions(Protocol):
    """What knows on whose account a mission's model is called."""

    async def caller(self, mission_id: str, tenant: str) -> Caller:
        """Who pays for the CFO's question."""
        ...


class CfoAgent:
    """Judges payments that were screened, and whose risk is known."""

    def __init__(
        self,
        pool: Pool,
        ledger: Ledger,
        budgets: Callable[[str], Awaitable[list[Budget]]],
        findings: FindingStore,
        policy: PaymentPolicy,
        audit: AuditLog,
        models: Models,
        missions: Missions,
        new_id: NewId,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._budgets = budgets  # the list of a tenant: to read them is all that a verdict takes
        self._findings = findings
        self._policy = policy
        self._audit = audit
        self._models = models
        self._missions = missions
        self._new_id = new_id

    async def review(self, intent_id: str) -> CfoVerdict:
        """The verdict on a payment: made once, and the same one whoever asks again.

        Raises:
            InputError: it was not screened, or its risk is not known. StoreError: it cannot be put on the record.
        """
        intent = await self._ledger.intent(intent_id)
        if (kept := await self._findings.of(intent, "cfo")) is not None:
            return CfoVerdict.model_validate(kept)
        screened, risk = await self._findings.of(intent, "screen"), await self._findings.of(intent, "risk")
        if screened is None or risk is None:
            raise InputError(
                f"payment {intent.id} was not looked at yet", remedy="Screen it, and judge its risk, first."
            )
        claim = await self._findings.of(intent, "claim") or {}
        value, within = claim.get("value"), claim.get("within_s")
        returns = await expected_return(self._pool, intent, None if value is None else int(value), within)
        verdict = by_rules(intent, screened, risk, returns, await self.counting(intent))
        if verdict.action != "reject":
            verdict = await self._with_opinion(intent, verdict, risk)
        kept = await self._findings.keep(intent, "cfo", verdict.plain())
        verdict = CfoVerdict.model_validate(kept)
        await self._audit.append(
            AuditEvent(
                kind="money.verdict",
                actor=ROLE,
                mission_id=intent.mission_id,
                tenant=intent.asked.tenant,
                data=verdict.plain(),
            )
        )
        return verdict

    async def counting(self, intent: Intent) -> list[Budget]:
        """The budgets that would count a payment."""
        asked = intent.asked
        whose = {
            "tenant": "",
            "category": asked.category,
            "pool": asked.pool,
            "team": asked.team,
            "mission": asked.mission,
            "agent": asked.agent,
        }
        known = await self._budgets(asked.tenant)
        return [one for one in known if one.asset == asked.asset and one.subject == whose[one.scope]]

    async def _with_opinion(self, intent: Intent, verdict: CfoVerdict, risk: dict[str, Any]) -> CfoVerdict:
        """The verdict, made stricter where the model says so; one that does not answer in time refuses."""
        name = self._models.names(ROLE)[0]
        if name == OFFLINE:
            return verdict
        known = {
            "payment": {
                "amount_units": str(intent.asked.amount),
                "asset": intent.asked.asset,
                "category": intent.asked.category,
            },
            "verdict_of_rules": verdict.model_dump(mode="json", exclude={"digest", "intent", "policy_version"}),
            "around": risk["around"],
        }
        said = {"purpose": intent.asked.purpose, "payee": intent.asked.payee}
        try:
            async with asyncio.timeout(self._policy.model_s):
                caller = await self._missions.caller(intent.asked.mission, intent.asked.tenant)
                messages = Marks.made(self._new_id).request(cfo_prompt(), known, said)
                opinion = await self._models.structured(caller, messages, CfoOpinion)
        except StoreError:
            raise
        except ChimeraError as error:
            return _refused(verdict, f"the CFO's model could not be asked ({error.code})", name)
        except TimeoutError:
            return _refused(verdict, f"the CFO's model did not answer within {self._policy.model_s:g} s", name)
        reasons = [f"CFO: {reason[:_REASON_MAX]}" for reason in opinion.reasons[:_REASONS_MAX]]
        if opinion.action == "refuse":
            return _refused(verdict, "the CFO's model refuses", name, reasons)
        if opinion.action == "escalate":
            return verdict.model_copy(
                update={
                    "action": "escalate",
                    "level": max(verdict.level, int(Level.ONE)),
                    "reasons": [*verdict.reasons, "the CFO's model wants a human to look", *reasons],
                    "by": name,
                }
            )
        return verdict.model_copy(update={"by": name})


def by_rules(
    intent: Intent, screened: dict[str, Any], risk: dict[str, Any], returns: Return, budgets: list[Budget]
) -> CfoVerdict:
    """What the rules say. Nothing that anybody wrote about the payment is looked at, but for its figures."""
    found = [Finding(**one) for one in (*screened["findings"], *risk["findings"])]
    level, asked = Level(risk["level"]), intent.asked
    warnings = [f"budget {one.name} is {one.warning}" for one in budgets if one.warning]
    short = [one for one in budgets if one.left < asked.amount]
    found += [Finding("payment.budget", "reject", f"budget {one.name} has {one.left} units left") for one in short]
    if not budgets:
        found.append(Finding("payment.budget", "reject", "no budget covers it"))
    shares = [(one, 100 * (one.held + one.posted + asked.amount) // one.cap) for one in budgets if one.cap]
    warnings += [
        f"budget {one.name} would be {share}% used" for one, share in shares if one not in short and share >= _NEARLY
    ]
    if returns.loses:
        found.append(
            Finding("payment.loses", "escalate", "by its own claim it is expected to bring less than it costs")
        )
    actions = {one.action for one in found}
    if "reject" in actions or level is Level.NEVER:
        action, level = "reject", Level.NEVER
    elif "escalate" in actions or level > Level.AUTO:
        action, level = "escalate", max(level, Level.ONE)
    else:
        action = "approve"
    figures = returns.plain()
    return CfoVerdict(
        intent=intent.id,
        digest=intent.digest.hex(),
        action=action,
        level=int(level),
        reasons=[f"{one.rule}: {one.said}" for one in found if one.action != "note"],
        warnings=[*warnings, *(f"{one.rule}: {one.said}" for one in found if one.action == "note")],
        confidence=figures["confidence"],
        risk=risk["score"],
        policy_version=asked.policy_version,
        lists=screened["lists"],
        lists_dated=screened["dated"],
        **{name: figures[name] for name in ("cost", "value", "expected", "payback_s")},
    )


def _refused(verdict: CfoVerdict, why: str, by: str, more: list[str] | None = None) -> CfoVerdict:
    reasons = [*verdict.reasons, why, *(more or [])]
    return verdict.model_copy(update={"action": "reject", "level": int(Level.NEVER), "reasons": reasons, "by": by})


@cache
def cfo_prompt() -> str:
    """What the CFO's model is told to be."""
    return (resources.files("chimera.commerce") / "cfo.md").read_text("utf-8")
