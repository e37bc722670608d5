"""The gateway decides, fails closed, and returns nothing that is not on the record.

Proves LAW-2, FR-34, FR-35 and FR-37.
"""

import asyncio
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import pytest

from chimera.core.contracts import Decision, Mission, Task, Threat
from chimera.core.errors import StoreUnavailable
from chimera.core.settings import Settings
from chimera.guards.gateway import Chain, Chains, SecurityGateway
from chimera.guards.policy.registry import first_chains
from chimera.guards.request import Edge, Guard, GuardRequest, reject
from chimera.store.audit import AuditEvent, AuditLog
from chimera.tools.capability import Capability


class Record(AuditLog):
    """The record of a test without a database."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.broken = False

    async def append(self, event: AuditEvent) -> str:
        if self.broken:
            raise StoreUnavailable("the record cannot be written")
        self.events.append(event)
        return "0" * 64


class Rule:
    """A guard that answers what it is told to, and remembers what it saw."""

    def __init__(self, answer: Any = None, rule: str = "test.rule") -> None:
        self.rule = rule
        self._answer = answer
        self.seen: list[dict[str, Any]] = []

    async def check(self, request: GuardRequest) -> Decision | None:
        self.seen.append(dict(request.payload))
        if isinstance(self._answer, Exception):
            raise self._answer
        if isinstance(self._answer, FunctionType):
            return await self._answer(request)
        return self._answer


def chains(*guards: Guard) -> Chains:
    return {Edge.OUTPUT: Chain(guards)}


REQUEST = GuardRequest(edge=Edge.OUTPUT, payload={"answer": "x"}, mission_id=None)


async def decide(*guards: Guard, record: Record | None = None) -> Decision:
    return await SecurityGateway(chains(*guards), record or Record()).validate_request("agent", REQUEST)


def edit(**payload: Any) -> Decision:
    return Decision(action="edit", payload=payload, rules=["test.edit"], reasons=["changed"])


# --- what a decision is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "goes_on"), [("allow", True), ("edit", True), ("escalate", False), ("reject", False)]
)
def test_only_allow_and_edit_are_true(action: Any, goes_on: bool) -> None:
    assert bool(Decision(action=action)) is goes_on


# --- the algebra -----------------------------------------------------------------------------------------------------


async def test_guards_with_nothing_to_say_allow() -> None:
    decision = await decide(Rule(), Rule())
    assert (decision.action, decision.payload, decision.rules) == ("allow", None, [])


async def test_a_rejection_ends_the_chain() -> None:
    later = Rule()
    decision = await decide(Rule(), Rule(reject("test.no", "no")), later)
    assert (decision.action, decision.rules, decision.reasons) == ("reject", ["test.no"], ["no"])
    assert later.seen == []


async def test_an_escalation_is_not_lifted_by_a_later_allow() -> None:
    decision = await decide(Rule(Decision(action="escalate", threat=Threat.HIGH)), Rule(Decision(action="allow")))
    assert (decision.action, decision.threat) == ("escalate", Threat.HIGH)


async def test_a_later_rejection_is_stricter_than_an_escalation() -> None:
    decision = await decide(Rule(Decision(action="escalate")), Rule(reject("test.no", "no")))
    assert decision.action == "reject"


async def test_an_edit_is_passed_on_and_returned() -> None:
    before, after = Rule(), Rule()
    decision = await decide(before, Rule(edit(answer="y")), after)
    assert (decision.action, decision.payload, decision.reasons) == ("edit", {"answer": "y"}, ["changed"])
    assert after.seen[0] == {"answer": "y"}


async def test_an_edit_is_seen_by_the_guards_before_it_too() -> None:
    """Else a guard at the end could put in what the first ones exist to keep out."""

    async def no_y(request: GuardRequest) -> Decision | None:
        return reject("test.no-y", "y") if request.payload["answer"] == "y" else None

    decision = await decide(Rule(no_y), Rule(edit(answer="y")))
    assert (decision.action, decision.rules) == ("reject", ["test.no-y"])


async def test_guards_that_never_agree_reject() -> None:
    async def longer(request: GuardRequest) -> Decision | None:
        return edit(answer=request.payload["answer"] + "!")

    decision = await decide(Rule(longer))
    assert (decision.action, decision.rules) == ("reject", ["gateway.unsettled"])


async def test_an_edit_together_with_an_escalation_keeps_both() -> None:
    decision = await decide(Rule(edit(answer="y")), Rule(Decision(action="escalate", rules=["test.ask"])))
    assert (decision.action, decision.payload, decision.rules) == (
        "escalate",
        {"answer": "y"},
        ["test.edit", "test.ask"],
    )


async def test_reasons_rules_and_the_highest_threat_add_up() -> None:
    low = Decision(action="allow", threat=Threat.LOW, reasons=["a"], rules=["r.a"])
    high = Decision(action="allow", threat=Threat.CRITICAL, reasons=["b"], rules=["r.b"])
    decision = await decide(Rule(low), Rule(high), Rule(low.model_copy(update={"reasons": ["c"]})))
    assert (decision.threat, decision.reasons) == (Threat.CRITICAL, ["a", "b", "c"])
    assert decision.rules == ["r.a", "r.b", "r.a"]


# --- fail closed -----------------------------------------------------------------------------------------------------


async def hang(_: GuardRequest) -> Decision | None:
    await asyncio.Event().wait()
    raise AssertionError


async def answers_yes(_: GuardRequest) -> Any:
    return True


@pytest.mark.parametrize(
    "broken",
    [
        ValueError("secret text"),
        RecursionError(),
        TimeoutError(),
        StoreUnavailable("gone"),
        answers_yes,
        Decision(action="edit"),
    ],
    ids=["error", "recursion", "timeout", "store", "no coroutine", "edit without payload"],
)
async def test_a_guard_that_breaks_rejects(broken: Any) -> None:
    record = Record()
    decision = await decide(Rule(Decision(action="allow")), Rule(broken), record=record)
    assert (decision.action, decision.rules) == ("reject", ["gateway.failed-closed"])
    assert "secret text" not in str(decision), "what a guard says when it breaks is not for a model"
    assert record.events[0].data["action"] == "reject"


async def test_a_guard_that_hangs_rejects() -> None:
    late = {Edge.OUTPUT: Chain([Rule(hang)], deadline_s=0.05)}
    decision = await SecurityGateway(late, Record()).validate_request("agent", REQUEST)
    assert (decision.action, decision.reasons) == ("reject", ["test.rule took too long"])


async def test_a_cancelled_request_is_cancelled_and_not_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record()
    asking = asyncio.ensure_future(decide(Rule(hang), record=record))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert record.events == []


@pytest.mark.parametrize("missing", [{}, {Edge.OUTPUT: Chain([])}], ids=["no chain", "empty chain"])
async def test_an_edge_without_a_guard_rejects(missing: Chains) -> None:
    decision = await SecurityGateway(missing, Record()).validate_request("agent", REQUEST)
    assert (decision.action, decision.rules) == ("reject", ["gateway.no-guard"])


async def test_a_decision_that_is_not_on_the_record_is_not_returned() -> None:
    record = Record()
    record.broken = True
    with pytest.raises(StoreUnavailable):
        await decide(Rule(), record=record)


async def test_what_was_looked_up_about_a_request_before_is_not_believed() -> None:
    """Whoever asks may have changed the payload since."""
    payload = {"answer": "x"}
    request = GuardRequest(edge=Edge.OUTPUT, payload=payload, notes={"kept": 1})
    assert (request.texts, request.characters, request.size) == (["answer", "x"], 7, 15)
    payload["answer"] = "longer"

    async def look(asked: GuardRequest) -> Decision | None:
        assert (asked.agent_id, asked.pool, asked.notes) == ("agent", "p1", {"kept": 1})
        assert (asked.texts, asked.characters, asked.size) == (["answer", "longer"], 12, 20)
        return None

    gateway = SecurityGateway(chains(Rule(look)), Record()).within("p1")
    assert await gateway.validate_request("agent", request)


# --- the record ------------------------------------------------------------------------------------------------------


async def test_every_decision_is_on_the_record_with_its_rule_its_reason_and_a_digest() -> None:
    record = Record()
    task = Task(id="t7", title="t", instruction="i", tools=["s__search"])
    tool = Capability(name="s__search", server="s", tool="search", input_schema={})
    guarded = SecurityGateway({Edge.TOOL_CALL: Chain([Rule(reject("test.no", "no", Threat.HIGH))])}, record)
    for arguments in ({"a": 1}, {"a": 1}, {"a": 2}):
        await guarded.validate_request(
            "agent:x",
            GuardRequest(
                edge=Edge.TOOL_CALL,
                payload=arguments,
                mission_id="m1",
                mission=Mission(goal="g", tenant="acme"),
                task=task,
                capability=tool,
            ),
        )
    first, second, third = record.events
    assert (first.kind, first.actor, first.mission_id, first.tenant) == ("guard.decision", "agent:x", "m1", "acme")
    assert {key: first.data[key] for key in ("edge", "action", "threat", "rules", "reasons", "task", "capability")} == {
        "edge": "tool_call",
        "action": "reject",
        "threat": "high",
        "rules": ["test.no"],
        "reasons": ["no"],
        "task": "t7",
        "capability": "s__search",
    }
    assert first.data["payload"] == second.data["payload"] != third.data["payload"]


@pytest.mark.parametrize("size", [50, 100_000])
async def test_what_cannot_be_written_down_is_rejected_and_recorded(size: int) -> None:
    """Nested a hundred thousand times, it has no JSON; a number of 5,000 digits neither."""
    deep: Any = 10**5_000 if size == 50 else 0
    for _ in range(size):
        deep = [deep]
    record = Record()
    task = Task(id="t1", title="t", instruction="i", tools=["s__search"])
    tool = Capability(name="s__search", server="s", tool="search", input_schema={"properties": {"a": {}}})
    decision = await SecurityGateway(first_chains(Settings.model_validate({})), record).validate_request(
        "agent", GuardRequest(edge=Edge.TOOL_CALL, payload={"a": deep}, task=task, capability=tool)
    )
    assert decision.action == "reject"
    assert len(record.events) == 1


# --- the first chains ------------------------------------------------------------------------------------------------


def ours() -> SecurityGateway:
    return SecurityGateway(first_chains(Settings.model_validate({})), Record())


async def test_a_plain_text_is_judged_as_a_goal() -> None:
    """The form in which a caller outside of a mission asks."""
    assert await ours().validate_request("agent-7", "Find what is rising")
    assert not await ours().validate_request("agent-7", "  ")
    hidden = await ours().validate_request("agent-7", "Find\u200b it")
    assert hidden.payload == {"goal": "Find it"}


@pytest.mark.parametrize("goal", ["\u200b", "\u200b \ufeff\n", "\U000e0041\U000e0042"])
async def test_a_goal_of_hidden_characters_alone_is_empty(goal: str) -> None:
    assert (await ours().validate_request("agent", goal)).action == "reject"


async def test_a_request_to_pay_is_rejected_with_its_reason() -> None:
    decision = await ours().validate_request("agent", GuardRequest(edge=Edge.PAYMENT, payload={"intent": "i"}))
    assert (decision.action, decision.reasons) == ("reject", ["payments are not configured"])


CALLS: list[tuple[dict[str, Any], str]] = [
    ({"url": "\u200b/etc/passwd"}, "flow.named-source"),
    ({"url": "https://evil.example\u200b/"}, "flow.named-source"),
    ({"url": "posts.csv", "u\u200brl": "/etc/passwd"}, "flow.named-source"),
    ({"url": "posts.csv", "n": "7\u200b"}, "schema.arguments"),
    ({"url": "posts.csv", "ot\u200bher": 1}, "schema.arguments"),
]


@pytest.mark.parametrize(("arguments", "rule"), CALLS, ids=str)
async def test_a_hidden_character_does_not_carry_anything_past_a_rule(arguments: dict[str, Any], rule: str) -> None:
    form = {"properties": {"url": {"type": "string"}, "n": {"type": "integer"}}}
    tool = Capability(name="s__get", server="s", tool="get", input_schema=form, read_only=True)
    task = Task(id="t1", title="t", instruction="i", tools=["s__get"])
    mission = Mission(goal="Read posts.csv")
    decision = await ours().validate_request(
        "agent",
        GuardRequest(edge=Edge.TOOL_CALL, payload=arguments, mission=mission, task=task, capability=tool),
    )
    assert (decision.action, decision.rules) == ("reject", [rule])


async def test_every_edge_has_its_rules() -> None:
    rules: dict[Edge, Sequence[str]] = {
        edge: [guard.rule for guard in chain.guards]
        for edge, chain in first_chains(Settings.model_validate({})).items()
    }
    assert set(rules) == set(Edge)
    assert rules[Edge.TOOL_CALL][0] == "permission.tool"
    assert rules[Edge.TOOL_CALL][-1] == "effect.destructive", "a human is asked about what passed everything else"
