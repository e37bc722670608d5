"""What the engine answers: which call may go out, with which arguments, and what was checked on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from chimera.guards.provenance.labels import Label
from chimera.guards.provenance.manifest import Kind, LookUp, Severity


@dataclass(frozen=True)
class Finding:
    """One value of one argument, and whether it may go out."""

    argument: str
    value: Any
    kind: Kind
    label: Label
    passed: bool
    rule: str
    reason: str = ""


@dataclass(frozen=True)
class Declassified:
    """A field of lower trust that was let through, by whom or by which validator: for the audit log."""

    tool: str
    argument: str
    by: str
    """``validator:known-payee``, ``validator:amount``, ``validator:date``, or ``human:NAME``."""
    label: Label


@dataclass(frozen=True)
class FlowDecision:
    """The answer about one call.

    ``edit`` carries other arguments than were asked for. ``escalate`` asks a human, who may lift single fields;
    ``reject`` is for what no human needs to see: the same call again, or more calls than the plan has.
    """

    action: Literal["allow", "edit", "escalate", "reject"]
    arguments: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()
    declassified: tuple[Declassified, ...] = ()
    reasons: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    severity: Severity = Severity.NONE

    def __bool__(self) -> bool:
        return self.action in ("allow", "edit")


@dataclass(frozen=True)
class WantedLook:
    """A read without effect that would settle a value, for whoever owns the hands to do before deciding."""

    look_up: LookUp
    arguments: Mapping[str, Any]
