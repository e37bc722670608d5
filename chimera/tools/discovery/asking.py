"""The tool with which an agent looks for further tools, and what the guards may take from its answers.

It is served by the mesh's door itself and passes the guards like any other tool: what it finds is what strangers say of
their tools.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from chimera.core.contracts import FIND_TOOLS
from chimera.tools.capability import Capability, ToolResult

FOUND_MOST = 5
"""Tools that one search adds to what an agent sees."""
SEEN_MOST = 15
"""Tools that all its searches together add."""
TEXT_MAX = 300
QUERY_MAX = 1_000

FINDER = Capability(
    name=FIND_TOOLS,
    server=FIND_TOOLS.partition("__")[0],
    tool=FIND_TOOLS.partition("__")[2],
    description="Looks for further tools by what they do. Ask for one thing in plain words. Tools that only read can "
    "be called from the next turn on; of one that changes something, a human is asked first.",
    input_schema={
        "type": "object",
        "properties": {"query": {"type": "string", "minLength": 1, "maxLength": QUERY_MAX, "description": "The need"}},
        "required": ["query"],
        "additionalProperties": False,
    },
    output_schema={
        "type": "object",
        "properties": {
            "tools": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "description": {"type": "string"},
                        "effect": {"enum": ["reads", "writes", "destroys"]},
                    },
                    "required": ["name", "description", "effect"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["tools"],
        "additionalProperties": False,
    },
    read_only=True,
    idempotent=True,
    destructive=False,
)


def answer(found: Sequence[Capability]) -> ToolResult:
    """What a search answers to an agent."""
    tools = [
        {"name": tool.name, "description": tool.description[:TEXT_MAX], "effect": effect_of(tool)} for tool in found
    ]
    data = {"tools": tools}
    return ToolResult(data=data, size=len(json.dumps(data)))


def effect_of(tool: Capability) -> str:
    """What a tool does to the world, as its server says."""
    if tool.read_only:
        return "reads"
    return "destroys" if tool.destructive else "writes"


def found_in(observations: Iterable[Mapping[str, Any]]) -> list[str]:
    """The tools that an agent's own searches have found so far, newest last, by full name.

    Only what passed the guard of results is among the observations.
    """
    names: dict[str, None] = {}
    for item in observations:
        if item.get("capability") != FIND_TOOLS:
            continue
        try:
            data = json.loads(str(item.get("text", "")))
            found = [str(tool["name"]) for tool in cast("list[dict[str, Any]]", data["tools"])]
        except (ValueError, TypeError, KeyError):
            continue
        names.update(dict.fromkeys(found[:FOUND_MOST]))
    return list(names)[:SEEN_MOST]
