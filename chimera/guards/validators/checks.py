"""Our checks as validators of guardrails-ai: the same functions that the guards call. Importing this takes seconds.

Validators know what the user said from the metadata of the call: ``named`` and ``sources`` (lists of texts),
``question`` and ``media_type``. What cannot be put right has no ``fix_value``; the metadata of a FailResult name the
``action``, the ``threat`` and the ``findings`` (rule and reason of each).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from chimera.core.contracts import Threat
from chimera.guards.output.canaries import CanaryText
from chimera.guards.output.channels import HiddenChannels
from chimera.guards.output.disclosure import PLAIN, Disclosure, disclose, is_disclosed
from chimera.guards.output.finding import Context, Finding, Outcome, examine
from chimera.guards.output.honesty import HonestIdentity
from chimera.guards.output.pii import PersonalData
from chimera.guards.output.promptleak import PromptLeak
from chimera.guards.output.secrets import SecretText
from chimera.guards.output.textguard import TextGuard
from chimera.guards.output.unsafe import UnsafeContent
from chimera.guards.sanitize import HiddenText, visible
from chimera.guards.validators.quiet import load_guardrails

load_guardrails()

from guardrails.validator_base import Validator, register_validator  # noqa: E402 - not before it is silent
from guardrails_ai.types import ErrorSpan, FailResult, PassResult, ValidationResult  # noqa: E402

OnFail = str | Callable[..., Any] | None
_V = TypeVar("_V", bound=Validator)


def _registered(name: str) -> Callable[[type[_V]], type[_V]]:
    """The library's decorator, which its types do not let keep the class that it decorates."""
    return cast("Any", register_validator(name=name, data_type="string"))


class TextValidator(Validator):
    """A validator that asks one of our guards of texts.

    The guard is not among the validator's recorded arguments, so that secrets in it are not either.
    """

    make: type[TextGuard] = TextGuard

    def __init__(self, guard: TextGuard | None = None, on_fail: OnFail = "noop") -> None:
        super().__init__(on_fail=on_fail)  # pyright: ignore[reportArgumentType]
        self._guard: TextGuard = guard if guard is not None else self.make()

    def _validate(self, value: Any, metadata: dict[str, Any]) -> ValidationResult:
        return result_of(examine(str(value), self._guard.scanner(context_of(metadata))))


@_registered("chimera/secrets")
class Secrets(TextValidator):
    """Key formats and random tokens."""

    make = SecretText


@_registered("chimera/canary")
class Canary(TextValidator):
    """The secrets of this installation."""

    make = CanaryText


@_registered("chimera/pii")
class Pii(TextValidator):
    """Personal data of people whom the user did not name."""

    make = PersonalData


@_registered("chimera/channels")
class Channels(TextValidator):
    """Pictures, links and markup that carry something out."""

    make = HiddenChannels


@_registered("chimera/prompt-leak")
class Prompt(TextValidator):
    """Our own prompts."""

    make = PromptLeak


@_registered("chimera/unsafe")
class Unsafe(TextValidator):
    """Content that must not leave without a human. A coarse net."""

    make = UnsafeContent


@_registered("chimera/honest-identity")
class Honest(TextValidator):
    """No machine that claims to be human."""

    make = HonestIdentity


@_registered("chimera/hidden-text")
class Hidden(Validator):
    """Characters that a human does not see."""

    def __init__(self, on_fail: OnFail = "noop") -> None:
        super().__init__(on_fail=on_fail)  # pyright: ignore[reportArgumentType]

    def _validate(self, value: Any, metadata: dict[str, Any]) -> ValidationResult:
        shown = visible(str(value))
        return PassResult() if shown == value else result_of(_edited(shown, HiddenText.rule, "hidden characters"))


@_registered("chimera/disclosure")
class Disclosed(Validator):
    """The label that a machine made it. Without ``add`` a text that lacks it fails without a fix."""

    def __init__(self, locale: str = "en", add: bool = False, on_fail: OnFail = "noop") -> None:
        super().__init__(on_fail=on_fail, locale=locale, add=add)  # pyright: ignore[reportArgumentType]
        self._locale = locale
        self._add = add

    def _validate(self, value: Any, metadata: dict[str, Any]) -> ValidationResult:
        media_type = str(metadata.get("media_type", PLAIN))
        if is_disclosed(str(value), media_type):
            return PassResult()
        why = "the label that a machine made it is missing"
        if self._add:
            return result_of(_edited(disclose(str(value), media_type, self._locale), Disclosure.rule, why))
        finding = Finding(Disclosure.rule, why, 0, 0, "reject", Threat.MEDIUM)
        return result_of(Outcome(str(value), "reject", Threat.MEDIUM, (finding,)))


def context_of(metadata: dict[str, Any]) -> Context:
    """What the metadata of a validation say."""
    return Context(
        named=tuple(map(str, metadata.get("named", ()))),
        sources=tuple(map(str, metadata.get("sources", ()))),
        question=str(metadata.get("question", "")),
    )


def result_of(outcome: Outcome) -> ValidationResult:
    """What a check made of a text, as guardrails-ai says it."""
    if outcome.action == "allow":
        return PassResult()
    return FailResult(
        error_message="; ".join(outcome.reasons),
        fix_value=outcome.text if outcome.action == "edit" else None,
        error_spans=[ErrorSpan(start=found.start, end=found.end, reason=found.reason) for found in outcome.findings],
        metadata={
            "action": outcome.action,
            "threat": outcome.threat.value,
            "findings": [[found.rule, found.reason] for found in outcome.findings],
        },
    )


def _edited(text: str, rule: str, reason: str) -> Outcome:
    return Outcome(text, "edit", Threat.LOW, (Finding(rule, reason, 0, 0),))
