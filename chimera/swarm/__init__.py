"""ChimeraSwarm runs missions from Python, MCPIntegrationLayer finds and calls tools; the CLI is a thin layer."""

from chimera.swarm.driving import RECURSION_LIMIT, WATCH_S
from chimera.swarm.layer import FoundCapability, MCPIntegrationLayer
from chimera.swarm.swarm import ChimeraSwarm

__all__ = ["RECURSION_LIMIT", "WATCH_S", "ChimeraSwarm", "FoundCapability", "MCPIntegrationLayer"]
