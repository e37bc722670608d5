"""ChimeraSwarm runs missions from Python, MCPIntegrationLayer finds and calls tools, AgenticCommerce pays."""

from chimera.swarm.commerce import AgenticCommerce
from chimera.swarm.driving import RECURSION_LIMIT, WATCH_S
from chimera.swarm.layer import FoundCapability, MCPIntegrationLayer
from chimera.swarm.swarm import ChimeraSwarm

__all__ = ["RECURSION_LIMIT", "WATCH_S", "AgenticCommerce", "ChimeraSwarm", "FoundCapability", "MCPIntegrationLayer"]
