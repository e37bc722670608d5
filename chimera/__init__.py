"""Chimera runs fleets of autonomous LLM agents and keeps them governed.

The public names load on first use, so that ``import chimera`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chimera.core.contracts import (
        Budget,
        Criterion,
        Decision,
        Event,
        Mission,
        MissionResult,
        Plan,
        ReviewDecision,
        ReviewItem,
        Task,
        Verdict,
    )
    from chimera.core.errors import ChimeraError
    from chimera.core.money import Money
    from chimera.core.settings import Settings
    from chimera.guards.extraction import Extractor
    from chimera.guards.gateway import SecurityGateway
    from chimera.nodes.judge import Judge
    from chimera.nodes.planner import Planner, PlanRequest
    from chimera.nodes.worker import Worker
    from chimera.skills.trends import TrendFetcher
    from chimera.swarm import AgenticCommerce, ChimeraSwarm, MCPIntegrationLayer
    from chimera.sync import run, stream

_HOMES = {
    "AgenticCommerce": "chimera.swarm",
    "Budget": "chimera.core.contracts",
    "ChimeraError": "chimera.core.errors",
    "ChimeraSwarm": "chimera.swarm",
    "Criterion": "chimera.core.contracts",
    "Decision": "chimera.core.contracts",
    "Event": "chimera.core.contracts",
    "Extractor": "chimera.guards.extraction",
    "Judge": "chimera.nodes.judge",
    "MCPIntegrationLayer": "chimera.swarm",
    "Mission": "chimera.core.contracts",
    "MissionResult": "chimera.core.contracts",
    "Money": "chimera.core.money",
    "Plan": "chimera.core.contracts",
    "PlanRequest": "chimera.nodes.planner",
    "Planner": "chimera.nodes.planner",
    "ReviewDecision": "chimera.core.contracts",
    "ReviewItem": "chimera.core.contracts",
    "SecurityGateway": "chimera.guards.gateway",
    "Settings": "chimera.core.settings",
    "Task": "chimera.core.contracts",
    "TrendFetcher": "chimera.skills.trends",
    "Verdict": "chimera.core.contracts",
    "Worker": "chimera.nodes.worker",
    "run": "chimera.sync",
    "stream": "chimera.sync",
}

__all__ = [
    "AgenticCommerce",
    "Budget",
    "ChimeraError",
    "ChimeraSwarm",
    "Criterion",
    "Decision",
    "Event",
    "Extractor",
    "Judge",
    "MCPIntegrationLayer",
    "Mission",
    "MissionResult",
    "Money",
    "Plan",
    "PlanRequest",
    "Planner",
    "ReviewDecision",
    "ReviewItem",
    "SecurityGateway",
    "Settings",
    "Task",
    "TrendFetcher",
    "Verdict",
    "Worker",
    "run",
    "stream",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'chimera' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
