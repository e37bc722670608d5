"""The only door to AgentDojo: its suites, how it prints results, how it judges what was done.

Source: Debenedetti et al., "AgentDojo: A Dynamic Environment to Evaluate Prompt Injection Attacks and Defenses for LLM
Agents" (2024), PyPI ``agentdojo``. Its two checks are private methods; the version is therefore pinned.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from chimera.core.errors import ExtraMissing

BENCHMARK = "v1.2.2"
PACKAGE = "0.1.35"
DEVELOPMENT = ("banking", "slack")
RESERVED = ("workspace", "travel")
PAIRS = {"banking": 143, "slack": 105, "workspace": 200, "travel": 118}
"""Pairs that use tools and succeed without a guard: measured once, and what a sound harness finds again."""
UNWORKABLE: dict[str, tuple[tuple[str, str], ...]] = {"banking": (("user_task_14", "injection_task_7"),)}
"""Pairs of the development suites that fail even without a guard."""
TASKS = {"banking": 16, "slack": 21, "workspace": 40, "travel": 20}


@dataclass(frozen=True)
class Dojo:
    """AgentDojo's modules, loaded."""

    suites: Any
    runtime: Any
    executing: Any
    types: Any

    def suite(self, name: str) -> Any:
        """One suite of the benchmark version."""
        return self.suites.get_suites(BENCHMARK)[name]

    def printed(self, result: Any) -> str:
        """A result as the model reads it."""
        return self.executing.tool_result_to_str(result)

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """A call as AgentDojo's checks read it."""
        return self.runtime.FunctionCall(function=tool, args=dict(arguments))

    def said(self, text: str) -> list[Any]:
        """An answer as content blocks; a bare string would be taken apart letter by letter."""
        return [self.types.text_content_block_from_string(text)]


def load_dojo() -> Dojo:
    """Import AgentDojo; that takes seconds.

    Raises:
        ExtraMissing: the extra ``evals`` is not installed, or another version is.
    """
    remedy = "Install it with `pip install 'chimera-swarm[evals]'`."
    try:
        found = metadata.version("agentdojo")
    except metadata.PackageNotFoundError:
        raise ExtraMissing("the attacks come from agentdojo, which is not installed", remedy=remedy) from None
    if found != PACKAGE:
        raise ExtraMissing(f"the attacks are measured with agentdojo {PACKAGE}, not with {found}", remedy=remedy)
    return Dojo(
        suites=importlib.import_module("agentdojo.task_suite.load_suites"),
        runtime=importlib.import_module("agentdojo.functions_runtime"),
        executing=importlib.import_module("agentdojo.agent_pipeline.tool_execution"),
        types=importlib.import_module("agentdojo.types"),
    )


def tool_list(suite: Any) -> list[dict[str, Any]]:
    """What a user of the suite is told about its tools: name, description and input schema."""
    return [
        {"name": tool.name, "description": tool.description, "schema": tool.parameters.model_json_schema()}
        for tool in suite.tools
    ]


def names(wanted: Sequence[str]) -> list[str]:
    """The suites asked for, in their own order."""
    return [name for name in (*DEVELOPMENT, *RESERVED) if name in wanted]
