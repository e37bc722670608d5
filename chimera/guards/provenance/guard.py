"""The flow guard at Chimera's own tool edge: what an agent has read may not decide what it does.

As long as an agent has read nothing, every value comes from the user and the plan. From its first result on, each
argument of an effect must come from the user's words, from the plan that was made before anything was read, or from a
typed field that the operator's manifest trusts; the engine decides which.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from chimera.core.contracts import Decision, Threat
from chimera.guards.provenance.decisions import FlowDecision
from chimera.guards.provenance.engine import FlowEngine
from chimera.guards.provenance.manifest import Argument, Kind, Manifest, Role, Severity, undeclared
from chimera.guards.provenance.plan import ToolPlan
from chimera.guards.request import GuardRequest
from chimera.guards.sanitize import texts
from chimera.tools.capability import Capability

EFFECTS_MAX = 20
"""Calls with an effect that one tool may get from one task."""
PROSE_WORDS = 4
_THREATS = {
    Severity.MONEY: Threat.HIGH,
    Severity.DISCLOSURE: Threat.HIGH,
    Severity.DESTRUCTION: Threat.HIGH,
    Severity.PUBLICATION: Threat.HIGH,
    Severity.RIGHTS: Threat.HIGH,
}


class FlowGuard:
    """Holds each call against the plan of its task and against where its values come from."""

    rule = "flow.provenance"

    def __init__(self, manifests: Mapping[str, Manifest] | None = None) -> None:
        """``manifests``: what the operator declares, by the full name of a tool."""
        self._manifests = dict(manifests or {})

    async def check(self, request: GuardRequest) -> Decision | None:
        """Allow, cut out of texts what came from nowhere, or ask a human; say which field was let through and why."""
        tool = request.capability
        if tool is None or not request.seen:
            return None
        manifest = self._manifest(tool, request.payload)
        if manifest.role == Role.READ:
            return None
        said = self._engine(request, manifest).decide(tool.name, request.payload)
        return _decision(self.rule, said)

    def _engine(self, request: GuardRequest, manifest: Manifest) -> FlowEngine:
        manifests = {**self._manifests, manifest.tool: manifest}
        plan = ToolPlan.of([manifest.tool] * EFFECTS_MAX, {manifest.tool: request.payload if request.payload else ()})
        engine = FlowEngine("\n".join(_trusted(request)), plan, manifests)
        for one in request.seen:
            name = one.capability.name if one.capability else one.said_by
            if name not in manifests:
                read_only = one.capability is None or one.capability.read_only
                manifests[name] = undeclared(name, read_only=read_only)
            engine.observe(name, one.arguments, _data(one.text))
            engine.performed(name, one.arguments)
        return engine

    def _manifest(self, tool: Capability, arguments: Mapping[str, Any]) -> Manifest:
        """What is declared; else a cautious answer in which prose is text, and a single word is a value."""
        known = self._manifests.get(tool.name)
        if known is not None or tool.read_only:
            return known or undeclared(tool.name, read_only=True, server=tool.server)
        prose = {name: Argument(Kind.TEXT) for name, value in arguments.items() if _is_prose(value)}
        return Manifest(
            tool.name, Role.EFFECT, severity=Severity.DISCLOSURE, arguments=prose, fallback=None, server=tool.server
        )


def _trusted(request: GuardRequest) -> Iterator[str]:
    """The user's words, and the task's if its plan was made before anything was read: a later one knows what failed."""
    if request.mission is not None:
        mission = request.mission
        yield from (mission.goal, *mission.inputs.values(), *mission.constraints, mission.persona)
    task, tool = request.task, request.capability
    if task is not None and tool is not None and request.notes.get("plan_round") == 1:
        yield from (task.title, task.instruction)
        yield from texts(task.arguments.get(tool.name, {}))


def _decision(rule: str, said: FlowDecision) -> Decision | None:
    lifted = [f"declassified {one.argument} by {one.by}" for one in said.declassified]
    if said.action == "allow" and not lifted:
        return None
    refused = said.action in ("escalate", "reject")
    return Decision(
        action=said.action,
        threat=_THREATS.get(said.severity, Threat.MEDIUM) if refused else Threat.LOW,
        reasons=[*said.reasons, *lifted],
        rules=[rule, *said.rules],
        payload=dict(said.arguments) if said.action == "edit" else None,
    )


def _data(text: str) -> Any:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text
    # MCP's structured content is always an object: a tool that gives a list wraps it in one.
    return next(iter(data.values())) if _is_wrapped(data) else data


def _is_wrapped(data: Any) -> bool:
    parts = list(cast("dict[str, Any]", data).values()) if isinstance(data, dict) else []
    return len(parts) == 1 and isinstance(parts[0], list)


def _is_prose(value: Any) -> bool:
    if isinstance(value, list):
        parts = cast("list[Any]", value)
        return bool(parts) and all(_is_prose(part) for part in parts)
    return isinstance(value, str) and len(value.split()) >= PROSE_WORDS
