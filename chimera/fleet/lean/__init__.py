"""The lean runner: many threads of a leaf graph in one event loop, in a form that stock LangGraph goes on with."""

from chimera.fleet.lean.runner import LeanRunner

__all__ = ["LeanRunner"]
