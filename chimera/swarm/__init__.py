"""ChimeraSwarm: run missions from Python. The CLI is a thin layer over it."""

from chimera.swarm.driving import RECURSION_LIMIT, WATCH_S
from chimera.swarm.swarm import ChimeraSwarm

__all__ = ["RECURSION_LIMIT", "WATCH_S", "ChimeraSwarm"]
