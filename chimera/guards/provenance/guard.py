"""The flow guard at Chimera's own tool edge: an agent does what its plan has, and what it has read decides nothing.

The plan holds from the first call on: how often a tool with an effect is called, and with which arguments by name. As
long as an agent has heard and read nothing, its values come from the user and the plan. From then on each argument of
an effect must come from the user's words, from the plan that was made before anything was read, or from a typed field
that the operator's manifest trusts, whether this agent read it or a task before it; the engine decides which.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from chimera.core.contracts import Decision, Threat
from chimera.core.forms import properties
from chimera.guards.provenance.decisions import FlowDecision
from chimera.guards.provenance.engine import FlowEngine
from chimera.guards.provenance.manifest import Argument, Kind, Manifest, Role, Severity, undeclared
from chimera.guards.provenance.plan import Grant, ToolInfo, ToolPlan, arguments_with_reason
from chimera.guards.request import GuardRequest, sealed, texts
from chimera.tools.capability import Capability

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
        """Allow, cut out of texts what came from nowhere, or ask a human; say which field was let through and why.

        What is beyond the plan's number, and the very same call again, is rejected.
        """
        tool = request.capability
        if tool is None or (tool.read_only and tool.name not in self._manifests):
            return None
        manifest = self._manifest(tool, request.payload)
        if manifest.role == Role.READ:
            return None
        engine = self._engine(request, tool, manifest)
        decide = engine.decide if request.seen or not _is_first_plan(request) else engine.planned
        return _decision(self.rule, decide(tool.name, request.payload))

    def _engine(self, request: GuardRequest, tool: Capability, manifest: Manifest) -> FlowEngine:
        manifests = {**self._manifests, tool.name: manifest}
        engine = FlowEngine("\n".join(_trusted(request)), _plan(request, tool), manifests)
        for one in request.seen:
            name = one.capability.name if one.capability else one.said_by
            if name not in manifests:
                read_only = one.capability is None or one.capability.read_only
                manifests[name] = undeclared(name, read_only=read_only)
            if one.capability and not manifests[name].server:
                manifests[name] = replace(manifests[name], server=one.capability.server)
            engine.observe(name, one.arguments, _data(one.text))
        for arguments in request.made.now:
            engine.performed(tool.name, arguments)
        if manifest.harm(request.payload) != Severity.PRIVATE:  # a file of one's own may be mended in each attempt
            engine.recalled(tool.name, _others(request, tool), earlier_plans=not _is_first_plan(request))
        return engine

    def _manifest(self, tool: Capability, arguments: Mapping[str, Any]) -> Manifest:
        """What is declared; else a cautious answer in which prose is text, and a single word is a value."""
        known = self._manifests.get(tool.name)
        if known is not None:
            return known
        prose = {name: Argument(Kind.TEXT) for name, value in arguments.items() if _is_prose(value)}
        return Manifest(
            tool.name, Role.EFFECT, severity=Severity.DISCLOSURE, arguments=prose, fallback=None, server=tool.server
        )


def _is_first_plan(request: GuardRequest) -> bool:
    """Whether the plan was made before anything was read: a later one knows what failed, and may repeat its words."""
    return request.notes.get("plan_round") == 1


def _plan(request: GuardRequest, tool: Capability) -> ToolPlan:
    """What the task may do with a tool: how often, and with which arguments.

    There is reason for those that the plan names, those that the schema requires, those that the user's or the plan's
    words speak of, and for a value that the tool would take anyway.
    """
    task = request.task
    if task is None or tool.name not in task.tools:
        return ToolPlan()
    names = set(arguments_with_reason("\n".join(_trusted(request)), ToolInfo(tool.name, schema=tool.input_schema)))
    if _is_first_plan(request):
        names |= task.arguments.get(tool.name, {}).keys()
    forms = properties(tool.input_schema)
    names |= {name for name, value in request.payload.items() if _is_default(forms.get(name, {}), value)}
    return ToolPlan({tool.name: Grant(tool.name, task.limit(tool.name), frozenset(names))})


def _is_default(form: Mapping[str, Any], value: Any) -> bool:
    return "default" in form and form["default"] == value and type(form["default"]) is type(value)


def _others(request: GuardRequest, tool: Capability) -> int:
    """How many effects earlier attempts and plans had that are another call than this one and those of this attempt.

    The same call is the same effect, whoever asks for it again.
    """
    here: Iterable[Mapping[str, Any]] = (*request.made.now, request.payload)
    return len(request.made.before - {sealed(tool.name, arguments) for arguments in here})


def _trusted(request: GuardRequest) -> Iterator[str]:
    """The user's words, and the task's if its plan was the first."""
    if request.mission is not None:
        mission = request.mission
        yield from (mission.goal, *mission.inputs.values(), *mission.constraints, mission.persona)
    task, tool = request.task, request.capability
    if task is not None and tool is not None and _is_first_plan(request):
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
