"""The texts that tell a model its role; each request itself is JSON, with data between marks."""

from functools import cache
from importlib import resources

from chimera.commerce.cfo import cfo_prompt
from chimera.core.spotlight import SENTENCE
from chimera.guards.extraction.extractor import extraction_prompt


@cache
def prompt(role: str) -> str:
    """The system prompt of a role."""
    return (resources.files(__name__) / f"{role}.md").read_text("utf-8")


def all_prompts() -> tuple[str, ...]:
    """Every prompt of ours."""
    names = sorted(entry.name for entry in resources.files(__name__).iterdir() if entry.name.endswith(".md"))
    return (*(prompt(name.removesuffix(".md")) for name in names), extraction_prompt(), cfo_prompt(), SENTENCE)
