"""The texts that tell a model its role; each request itself is JSON."""

from functools import cache
from importlib import resources


@cache
def prompt(role: str) -> str:
    """The system prompt of a role."""
    return (resources.files(__name__) / f"{role}.md").read_text("utf-8")
