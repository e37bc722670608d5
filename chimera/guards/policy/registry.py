"""Which guard a name in the policy means: the one place where guards are made."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chimera.commerce.deciding import Payments
from chimera.core.contracts import Decision, Threat
from chimera.core.errors import ConfigError, PolicyInvalid
from chimera.core.plugins import GUARDS, plugins
from chimera.core.settings import Settings
from chimera.guards.flow import NamedSource
from chimera.guards.gateway import Chain, Chains
from chimera.guards.incidents import Incidents, Quarantine
from chimera.guards.injection.scan import InjectionScan
from chimera.guards.output.canaries import CanaryText, secrets_of
from chimera.guards.output.channels import HiddenChannels
from chimera.guards.output.disclosure import Disclosure
from chimera.guards.output.honesty import HonestIdentity
from chimera.guards.output.pii import PersonalData
from chimera.guards.output.promptleak import PromptLeak
from chimera.guards.output.secrets import SecretText
from chimera.guards.output.unsafe import UnsafeContent
from chimera.guards.payment import DecidedPayment
from chimera.guards.permissions.permitted import Permitted
from chimera.guards.policy.document import Policy, shipped_policy
from chimera.guards.provenance.guard import FlowGuard
from chimera.guards.provenance.manifest import Manifest, read_manifests
from chimera.guards.request import Guard, GuardRequest, reject
from chimera.guards.rules import (
    AllowedTool,
    ArgumentSchema,
    ArgumentSize,
    DestructiveTool,
    NoPayments,
    OutputSize,
    ResultSchema,
    ResultSize,
)
from chimera.guards.sanitize import GoalText, HiddenText
from chimera.guards.validators.publish import RULE as PUBLISH_RULE
from chimera.guards.validators.publish import publish_edge_guard

Maker = Callable[..., Guard]
PUBLISH_S = 50.0
"""The publish edge waits for the first import of guardrails-ai, which takes seconds; nobody publishes in a hurry."""


@dataclass(frozen=True)
class Parts:
    """What guards are made of: settings, services, ``prompts`` that must not leave, and what is declared of tools."""

    settings: Settings
    prompts: tuple[str, ...] = ()
    incidents: Incidents | None = None
    permitted: Permitted | None = None
    manifests: Mapping[str, Manifest] = field(default_factory=dict[str, Manifest])
    payments: Callable[[], Payments | None] = lambda: None


def makers(parts: Parts) -> dict[str, Maker]:
    """Every guard by its name; a maker takes the options that a policy may give as keyword arguments."""
    settings = parts.settings

    def canary() -> Guard:
        return CanaryText(secrets_of(settings))

    def quarantine() -> Guard:
        return Quarantine(parts.incidents) if parts.incidents else Unserved(Quarantine.rule)

    def permitted() -> Guard:
        return parts.permitted or Unserved(Permitted.rule)

    def publish() -> Guard:
        return publish_edge_guard(secrets_of(settings), parts.prompts, deadline_s=PUBLISH_S)

    def flow() -> Guard:
        return FlowGuard(parts.manifests)

    def no_payments() -> Guard:
        def configured() -> bool:
            payments = parts.payments()
            return payments is not None and payments.configured

        return NoPayments(configured)

    def decided_payment() -> Guard:
        return DecidedPayment(parts.payments)

    def prompt_leak() -> Guard:
        return PromptLeak(parts.prompts)

    def argument_size(max_bytes: int = settings.tool_argument_max_bytes) -> Guard:
        return ArgumentSize(max_bytes)

    def result_size(max_bytes: int = settings.tool_result_max_bytes) -> Guard:
        return ResultSize(max_bytes)

    own: list[tuple[str, Maker]] = [
        (HiddenText.rule, HiddenText),
        (GoalText.rule, GoalText),
        (AllowedTool.rule, AllowedTool),
        (ArgumentSize.rule, argument_size),
        (ArgumentSchema.rule, ArgumentSchema),
        (NamedSource.rule, NamedSource),
        (FlowGuard.rule, flow),
        (InjectionScan.rule, InjectionScan),
        (Quarantine.rule, quarantine),
        (Permitted.rule, permitted),
        (PUBLISH_RULE, publish),
        (DestructiveTool.rule, DestructiveTool),
        (ResultSize.rule, result_size),
        (ResultSchema.rule, ResultSchema),
        (NoPayments.rule, no_payments),
        (DecidedPayment.rule, decided_payment),
        (OutputSize.rule, OutputSize),
        (CanaryText.rule, canary),
        (SecretText.rule, SecretText),
        (PersonalData.rule, PersonalData),
        (HiddenChannels.rule, HiddenChannels),
        (PromptLeak.rule, prompt_leak),
        (UnsafeContent.rule, UnsafeContent),
        (HonestIdentity.rule, HonestIdentity),
        (Disclosure.rule, Disclosure),
    ]
    added = {f"plugin:{found.name}": found.load for found in plugins(GUARDS)}
    return {**dict(own), **{name: _of_plugin(load, settings) for name, load in added.items()}}


def build_chains(policy: Policy, parts: Parts) -> Chains:
    """The guards of each edge, as a policy names them. Each guard is made once, whatever number of edges it stands at.

    Raises:
        PolicyInvalid: it names a guard that there is not, or gives one an option that it does not take.
    """
    known = makers(replace(parts, manifests=read_manifests(policy.text)))
    made: dict[str, Guard] = {}
    for edge, part in policy.edges.items():
        for name in part.guards:
            if name not in known:
                raise PolicyInvalid(f"the policy, edges.{edge}: there is no guard {name[:60]}")
            if name not in made:
                made[name] = _make(name, known[name], policy.guards.get(name, {}))
    return {edge: Chain([made[name] for name in part.guards], part.deadline_s) for edge, part in policy.edges.items()}


def first_chains(settings: Settings) -> Chains:
    """The guards of each edge as Chimera ships them, but for those that ask a service of a running installation."""
    chains = build_chains(shipped_policy(), Parts(settings))
    return {
        edge: Chain([guard for guard in chain.guards if not isinstance(guard, Unserved)], chain.deadline_s)
        for edge, chain in chains.items()
    }


class Unserved:
    """Stands for a guard whose service is not there: it lets nothing pass."""

    def __init__(self, rule: str) -> None:
        self.rule = rule

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject."""
        return reject(self.rule, "what this guard asks is not there", Threat.MEDIUM)


def _make(name: str, maker: Maker, options: Mapping[str, Any]) -> Guard:
    try:
        inspect.signature(maker).bind(**options)
        return maker(**options)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise PolicyInvalid(f"the policy, guards.{name}: {error}") from None


def _of_plugin(load: Callable[[], Any], settings: Settings) -> Maker:
    def make(**options: Any) -> Guard:
        return load()(settings, **options)

    return make
