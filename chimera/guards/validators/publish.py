"""The Guard of guardrails-ai that stands at the publish edge by default: our validators, in order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from chimera.guards.output.canaries import CanaryDigest
from chimera.guards.output.disclosure import FIELDS
from chimera.guards.validators.adapter import DEADLINE_S, GuardrailsGuard

RULE = "guardrails.publish"


def publish_guard(
    secrets: Iterable[SecretStr | CanaryDigest] = (),
    prompts: Sequence[str] = (),
    pii: Mapping[str, str] | None = None,
    regions: Sequence[str] = (),
    disclosure: bool = True,
) -> Any:
    """A ``guardrails.Guard`` out of our validators. It imports the library, which takes seconds: call it in a thread.

    ``secrets`` and ``prompts`` are what must not leave, ``pii`` and ``regions`` the options of
    ``output.pii.PersonalData``. With ``disclosure`` a text without the label that a machine made it fails.
    """
    from chimera.guards.output.canaries import CanaryText
    from chimera.guards.output.pii import PersonalData
    from chimera.guards.output.promptleak import PromptLeak
    from chimera.guards.validators import checks

    from guardrails import Guard  # isort: skip - after our import of it, which silences it

    validators = [
        checks.Canary(CanaryText(secrets)),
        checks.Prompt(PromptLeak(prompts)),
        checks.Hidden(),
        checks.Secrets(),
        checks.Pii(PersonalData(pii, regions)),
        checks.Channels(),
        checks.Unsafe(),
        checks.Honest(),
    ]
    return Guard(name=RULE).use(*validators, *([checks.Disclosed()] if disclosure else []))


def publish_edge_guard(
    secrets: Iterable[SecretStr | CanaryDigest] = (),
    prompts: Sequence[str] = (),
    pii: Mapping[str, str] | None = None,
    regions: Sequence[str] = (),
    disclosure: bool = True,
    deadline_s: float = DEADLINE_S,
    fields: Sequence[str] = FIELDS,
) -> GuardrailsGuard:
    """The same Guard as a guard of ours, made when it is first needed or by ``prepare``. It asks about ``fields``."""
    known = tuple(secrets)

    def make() -> Any:
        return publish_guard(known, prompts, pii, regions, disclosure)

    return GuardrailsGuard(make, RULE, deadline_s, fields)
