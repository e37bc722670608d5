"""The flow guard before the agent's tools, as an operator would set it up."""

import time
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from chimera.evals.attacks.agent import Look
from chimera.guards.provenance.decisions import FlowDecision
from chimera.guards.provenance.engine import FlowEngine
from chimera.guards.provenance.manifest import Manifest, Role, read_manifests
from chimera.guards.provenance.plan import ToolInfo, ToolPlan, plan_from_request


def manifests(suite: str) -> dict[str, Manifest]:
    """What the operator of a suite's tools declares."""
    text = (resources.files("chimera.evals.attacks") / "manifests" / f"{suite}.toml").read_text("utf-8")
    return read_manifests(text)


def infos(tools: Sequence[Mapping[str, Any]], declared: Mapping[str, Manifest]) -> list[ToolInfo]:
    """The tool list as the planner may see it."""
    return [
        ToolInfo(tool["name"], tool["description"], tool["schema"], declared[tool["name"]].role == Role.EFFECT)
        for tool in tools
    ]


class Planned:
    """Makes the plans of a suite: from the request, or (the oracle) from the reference calls."""

    def __init__(self, tools: Sequence[Mapping[str, Any]], declared: Mapping[str, Manifest]) -> None:
        self.declared = declared
        self._tools = infos(tools, declared)
        self._arguments = {tool.name: tuple(tool.schema.get("properties", {})) for tool in self._tools}

    def from_request(self, request: str) -> ToolPlan:
        """The plan that the planner makes of the user's words."""
        return plan_from_request(request, self._tools)

    def oracle(self, calls: Sequence[Any]) -> ToolPlan:
        """The plan that a perfect planner would make."""
        effects = [call.function for call in calls if self.declared[call.function].role == Role.EFFECT]
        return ToolPlan.of(effects, self._arguments)


class FlowGuarded:
    """Asks the engine about every call, does its look-ups, shows it every result. No human is asked."""

    def __init__(self, request: str, plan: ToolPlan, declared: Mapping[str, Manifest]) -> None:
        self.engine = FlowEngine(request, plan, declared)
        self.seconds, self.calls = 0.0, 0
        self.decisions: list[tuple[str, Mapping[str, Any], FlowDecision]] = []

    def ask(self, tool: str, arguments: Mapping[str, Any], run: Look) -> FlowDecision:
        """Decide about a call that may not be made at all."""
        for look in self.engine.wanted(tool, arguments):
            found = run(look.look_up.tool, look.arguments)
            if found is not None:
                self.engine.observe(look.look_up.tool, look.arguments, found)
        return self.engine.decide(tool, arguments)

    def before(self, tool: str, arguments: Mapping[str, Any], run: Look) -> Mapping[str, Any] | None:
        """The arguments that may go out, or None."""
        began = time.perf_counter()
        decision = self.ask(tool, arguments, run)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        self.decisions.append((tool, arguments, decision))
        if not decision:
            return None
        self.engine.performed(tool, arguments, edited=decision.action == "edit")
        return decision.arguments

    def after(self, tool: str, arguments: Mapping[str, Any], result: str) -> None:
        """Show the engine what came back."""
        began = time.perf_counter()
        self.engine.observe(tool, arguments, result)
        self.seconds += time.perf_counter() - began
