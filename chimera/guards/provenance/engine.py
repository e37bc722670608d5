"""The flow guard's engine: one run's plan, labels and decisions, over plain data.

It knows neither graphs nor servers. Whoever owns the hands asks :meth:`FlowEngine.wanted` for look-ups before a call,
:meth:`FlowEngine.decide` about the call (or :meth:`FlowEngine.planned`, as long as nothing was read), tells
:meth:`FlowEngine.performed` when it went out, and shows :meth:`FlowEngine.observe` every result.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from chimera.guards.provenance.asking import Asking
from chimera.guards.provenance.decisions import Declassified, Finding, FlowDecision, WantedLook
from chimera.guards.provenance.kinds import Judge
from chimera.guards.provenance.labels import Label, Level
from chimera.guards.provenance.manifest import Kind, Manifest, Role, Severity, undeclared
from chimera.guards.provenance.outgoing import cut
from chimera.guards.provenance.plan import ToolPlan
from chimera.guards.provenance.records import Record, Records
from chimera.guards.provenance.tokens import Reference, same

VALUES_MAX = 1_000
"""Values in one call; more are not judged one by one, and the call goes to a human."""
_REFERENCE_KINDS = {"link": Kind.URL_READ, "address": Kind.ADDRESS, "account": Kind.PAYEE}
_VALIDATED = {Kind.PAYEE: "known-payee", Kind.AMOUNT: "amount", Kind.DATE: "date", Kind.FREE: "enum"}
_UNGUARDED = frozenset({Kind.TEXT, Kind.FREE, Kind.DATE, Kind.NAME, Kind.MEASURE, Kind.AMOUNT, Kind.PROFILE})


class FlowEngine:
    """Decides about the calls of one run, which serves one request."""

    def __init__(self, request: str, plan: ToolPlan, manifests: Mapping[str, Manifest]) -> None:
        """``request``: the user's own words. ``manifests``: by tool; a tool without one gets the cautious one."""
        self._asking = Asking(request)
        self._plan = plan
        self._manifests = manifests
        self._records = Records(self._asking)
        self._judge = Judge(self._asking, self._records)
        self._done: Counter[str] = Counter()
        self._cut: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._made: set[str] = set()
        self._lifted: dict[tuple[str, str, str], str] = {}

    def manifest(self, tool: str) -> Manifest:
        """What is declared about a tool."""
        return self._manifests.get(tool) or undeclared(tool, read_only=False)

    def observe(self, tool: str, arguments: Mapping[str, Any], result: Any) -> list[Record]:
        """See a result: its data, or its text. The records carry the labels of their fields."""
        return self._records.observe(self.manifest(tool), arguments, result)

    def label(self, kind: Kind, value: Any) -> Label:
        """How far a value is trusted now, and where it comes from."""
        return self._judge.label(kind, value)

    def known(self, kind: Kind) -> set[str]:
        """All values of a kind that tools have told of so far, in comparable form."""
        return self._records.holds(kind)

    def lift(self, tool: str, argument: str, value: Any, human: str) -> Declassified:
        """A human lets one value of one argument pass; the answer is for the audit log."""
        self._lifted[(tool, argument, same(value))] = human
        label = self.label(self.manifest(tool).argument(argument).kind, value)
        return Declassified(tool, argument, f"human:{human}", label)

    def wanted(self, tool: str, arguments: Mapping[str, Any]) -> list[WantedLook]:
        """Reads that would settle what is not known yet; none if the plan refuses the call anyway."""
        manifest = self.manifest(tool)
        if manifest.role == Role.EFFECT and self._plan.grant(tool) is None:
            return []
        found: dict[str, WantedLook] = {}
        for name, kind, value, _ in _values(manifest, arguments):
            argument = manifest.argument(name)
            if argument.look_ups and self._judge.label(kind, value).level < Level.DESIGNATED:
                for one in argument.look_ups:
                    filled = {key: value if part == "$value" else part for key, part in one.arguments.items()}
                    found[json.dumps([one.tool, filled], default=str, sort_keys=True)] = WantedLook(one, filled)
        reads = [look for look in found.values() if self.manifest(look.look_up.tool).role == Role.READ]
        return reads[:20]

    def planned(self, tool: str, arguments: Mapping[str, Any]) -> FlowDecision:
        """Whether the plan has this call: the tool, how often, and its arguments by name.

        That is all there is to ask as long as nothing was read: whatever the values are, nobody can have planted them.
        """
        manifest = self.manifest(tool)
        severity = manifest.harm(arguments)
        if manifest.role != Role.EFFECT:
            return FlowDecision("allow", arguments)
        values = list(_values(manifest, arguments))
        refusal = self._refusal(manifest, arguments, values, severity)
        if refusal is not None:
            return refusal
        found = [self._without_reason(manifest, name, kind, value) for name, kind, value, _ in values]
        failed = list({one.argument: one for one in found if one}.values())
        return _escalated(arguments, failed, failed, severity) if failed else FlowDecision("allow", arguments)

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> FlowDecision:
        """Whether a call may go out. It changes nothing; :meth:`performed` does."""
        manifest = self.manifest(tool)
        severity = manifest.harm(arguments)
        if manifest.role == Role.READ:
            return FlowDecision("allow", arguments)
        values = list(_values(manifest, arguments))
        refusal = self._refusal(manifest, arguments, values, severity)
        if refusal is not None:
            return refusal
        findings = [self._finding(manifest, arguments, name, kind, value) for name, kind, value, _ in values]
        failed = [one for one in findings if not one.passed]
        if failed:
            return _escalated(arguments, findings, failed, severity)
        return self._passed(manifest, arguments, findings, severity)

    def performed(self, tool: str, arguments: Mapping[str, Any], *, edited: bool = False) -> None:
        """A call went out; it counts against the plan."""
        if self.manifest(tool).role == Role.READ:
            return
        self._made.add(_call(tool, arguments))
        (self._cut if edited else self._done)[tool] += 1

    def recalled(self, tool: str, number: int, *, earlier_plans: bool = False) -> None:
        """So many calls went out of which only that is known: in earlier tries, or also for plans before this one.

        With those of earlier plans, a human says whether the number of the plan is for calls on top of them.
        """
        (self._before if earlier_plans else self._done)[tool] += number

    def _refusal(
        self, manifest: Manifest, arguments: Mapping[str, Any], values: Sequence[Any], severity: Severity
    ) -> FlowDecision | None:
        """The refusal of a call as a whole, if any: the plan's, or for more values than can be judged one by one."""
        refusal = self._by_plan(manifest, arguments, severity)
        if refusal is None and len(values) > VALUES_MAX:
            return _refused("escalate", arguments, "flow.size", "too many values to judge", severity)
        return refusal

    def _by_plan(self, manifest: Manifest, arguments: Mapping[str, Any], severity: Severity) -> FlowDecision | None:
        """The refusal that the plan demands, if any. A read that reaches outside needs no leave, only a named place."""
        if manifest.role != Role.EFFECT:
            return None
        grant = self._plan.grant(manifest.tool)
        if grant is None:
            return _refused("escalate", arguments, "plan.tool", "the request asks for no such effect", severity)
        if _call(manifest.tool, arguments) in self._made:
            return _refused("reject", arguments, "plan.repeated", "the same call was made before", severity)
        if self._done[manifest.tool] >= grant.count:
            return _refused("reject", arguments, "plan.count", f"the plan has {grant.count} of these", severity)
        before = self._before[manifest.tool]
        if before + self._done[manifest.tool] >= grant.count:
            why = f"the plan has {grant.count} of these, and {before} went out in earlier tries and plans"
            return _refused("escalate", arguments, "plan.count", why, severity)
        return None

    def _finding(self, manifest: Manifest, arguments: Mapping[str, Any], name: str, kind: Kind, value: Any) -> Finding:
        human = self._lifted.get((manifest.tool, name, same(value)))
        if human is not None:
            return Finding(name, value, kind, self.label(kind, value), True, f"human:{human}")
        refused = self._without_reason(manifest, name, kind, value)
        if refused is not None:
            return refused
        if manifest.fallback is None and name not in manifest.arguments:
            return self._unknown(name, kind, value)
        return self._judge.judge(kind, name, value, arguments)

    def _without_reason(self, manifest: Manifest, name: str, kind: Kind, value: Any) -> Finding | None:
        """The finding about an argument of an effect that the plan gives no reason for; None if it does."""
        grant = self._plan.grant(manifest.tool) if manifest.role == Role.EFFECT else None
        if grant is None or name in grant.arguments or kind in _UNGUARDED or self._asking.names(value):
            return None
        why = "neither the request nor the plan gives a reason for this argument"
        return Finding(name, value, kind, self.label(kind, value), False, "plan.argument", why)

    def _unknown(self, name: str, kind: Kind, value: Any) -> Finding:
        """An argument that nobody declared: the user's, or a typed field of what he points to."""
        if value is None or isinstance(value, bool):
            return Finding(name, value, kind, Label(Level.UNTRUSTED), True, "flow.undeclared")
        label = self.label(kind, value)
        fine = label.level >= Level.DESIGNATED or not isinstance(value, str) or not value
        why = "" if fine else "the tool is not declared, and the user named no such value"
        return Finding(name, value, kind, label, fine, "flow.undeclared", why)

    def _passed(
        self, manifest: Manifest, arguments: Mapping[str, Any], findings: list[Finding], severity: Severity
    ) -> FlowDecision:
        clean, gone = self._without_references(manifest, arguments)
        if gone and self._cut[manifest.tool] >= self._allowed(manifest.tool):
            return _refused("reject", arguments, "plan.count", "enough calls were sent with parts cut out", severity)
        lifted = tuple(_declassified(manifest.tool, one) for one in findings if _is_lifted(one))
        reasons = tuple(f"{name}: cut out {len(found)} of unknown origin" for name, found in gone.items())
        return FlowDecision(
            "edit" if gone else "allow",
            clean,
            tuple(findings),
            lifted,
            reasons,
            ("flow.text",) if gone else (),
            severity,
        )

    def _allowed(self, tool: str) -> int:
        grant = self._plan.grant(tool)
        return grant.count if grant else 0

    def _without_references(
        self, manifest: Manifest, arguments: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], dict[str, list[Reference]]]:
        gone: dict[str, list[Reference]] = {}
        if manifest.role != Role.EFFECT or (manifest.severity == Severity.PRIVATE and not _leaves(manifest, arguments)):
            return arguments, gone
        clean = dict(arguments)
        for name, value in arguments.items():
            if manifest.argument(name).kind in (Kind.TEXT, Kind.NAME) and not self._is_lifted(
                manifest.tool, name, value
            ):
                clean[name], found = self._cut_in(value)
                if found:
                    gone[name] = found
        return (clean if gone else arguments), gone

    def _is_lifted(self, tool: str, name: str, value: Any) -> bool:
        return (tool, name, same(value)) in self._lifted

    def _cut_in(self, value: Any) -> tuple[Any, list[Reference]]:
        if isinstance(value, str):
            return cut(value, lambda one: self._judge.vouched(_REFERENCE_KINDS[one.kind], one.value))
        if isinstance(value, list):
            parts = [self._cut_in(one) for one in cast("list[Any]", value)]
            return [part for part, _ in parts], [one for _, found in parts for one in found]
        if isinstance(value, Mapping):
            pairs = {key: self._cut_in(one) for key, one in cast("Mapping[str, Any]", value).items()}
            return {key: part for key, (part, _) in pairs.items()}, [
                one for _, found in pairs.values() for one in found
            ]
        return value, []


def _values(manifest: Manifest, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Kind, Any, str]]:
    """Every single value of a call with its argument and kind; lists and mappings are taken apart."""
    for name, whole in arguments.items():
        argument = manifest.argument(name)
        stack: list[tuple[Any, str]] = [(whole, "")]
        while stack:
            item, key = stack.pop()
            if isinstance(item, Mapping):
                stack.extend((one, str(part)) for part, one in cast("Mapping[Any, Any]", item).items())
            elif isinstance(item, list | tuple):
                stack.extend((one, key) for one in cast("list[Any]", item))
            elif item is not None and item != "" and not (argument.key and key and key != argument.key):
                yield name, argument.kind, item, key


def _leaves(manifest: Manifest, arguments: Mapping[str, Any]) -> bool:
    return manifest.harm(arguments) != Severity.PRIVATE


def _is_lifted(finding: Finding) -> bool:
    low = finding.label.level < Level.DESIGNATED
    return finding.rule.startswith("human:") or (low and finding.kind in _VALIDATED and finding.value is not None)


def _declassified(tool: str, finding: Finding) -> Declassified:
    by = finding.rule if finding.rule.startswith("human:") else f"validator:{_VALIDATED[finding.kind]}"
    return Declassified(tool, finding.argument, by, finding.label)


def _escalated(
    arguments: Mapping[str, Any], findings: Sequence[Finding], failed: Sequence[Finding], severity: Severity
) -> FlowDecision:
    return FlowDecision(
        "escalate",
        arguments,
        tuple(findings),
        reasons=tuple(f"{one.argument}: {one.reason}" for one in failed),
        rules=tuple(dict.fromkeys(one.rule for one in failed)),
        severity=severity,
    )


def _refused(action: Any, arguments: Mapping[str, Any], rule: str, reason: str, severity: Severity) -> FlowDecision:
    return FlowDecision(action, arguments, reasons=(reason,), rules=(rule,), severity=severity)


def _call(tool: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps([tool, dict(arguments)], sort_keys=True, default=str, ensure_ascii=False)
