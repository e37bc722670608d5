"""New versions of servers that are tried with some agents, beside the ones that serve."""

from typing import Protocol

from chimera.tools.capability import Capability


class Trials(Protocol):
    """Says which server answers whom. ``hidden``: those that nobody is shown, as they stand in for another."""

    hidden: frozenset[str]

    def server_for(self, server: str, agent: str) -> str:
        """The server that answers an agent's calls to ``server``: itself, or the one that is tried."""
        ...


def same_call(before: Capability, now: Capability) -> bool:
    """Whether a call that was judged for one tool is the same call for another: arguments, answer and hints agree."""
    kept = ("input_schema", "output_schema", "read_only", "idempotent", "destructive")
    return all(getattr(before, name) == getattr(now, name) for name in kept)
