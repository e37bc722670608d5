"""A set of tools as an MCP server sees it, independent of the transport: what tools there are, and one call of one.

Tool functions are plain blocking functions; each transport runs them in threads.
"""

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from chimera.core.errors import ChimeraError, ToolFailed
from chimera.tools.servers.arguments import check_arguments

ToolFunction = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""Takes the checked arguments and the call's ``_meta``, gives ``structuredContent``."""


@dataclass(frozen=True)
class Tool:
    """One tool. ``description`` is what tool search reads, so it says in plain English what the tool is good for."""

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    run: ToolFunction
    read_only: bool
    open_world: bool = False

    def listing(self) -> dict[str, Any]:
        """The tool as ``tools/list`` shows it. All our tools are idempotent, and none destroys what others made."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.input_schema,
            "outputSchema": self.output_schema,
            "annotations": {
                "title": self.title,
                "readOnlyHint": self.read_only,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": self.open_world,
            },
        }


class UnknownToolError(Exception):
    """The server has no tool of that name. Transports answer with the protocol's own error."""


class ToolServer:
    """The tools of one server."""

    def __init__(self, name: str, instructions: str, tools: Sequence[Tool]) -> None:
        self.name = name
        self.instructions = instructions
        self._tools = {tool.name: tool for tool in tools}

    @property
    def version(self) -> str:
        """The version of the installed package; 0 when it runs from a plain folder."""
        try:
            return metadata.version("chimera-swarm")
        except metadata.PackageNotFoundError:
            return "0"

    def listing(self) -> list[dict[str, Any]]:
        """All tools, always in the same order."""
        return [tool.listing() for tool in self._tools.values()]

    def call(self, name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None) -> dict[str, Any]:
        """One call, as the plain data of an MCP ``CallToolResult``. A failed call is a result with ``isError``.

        Raises:
            UnknownToolError: there is no such tool.
        """
        tool = self._tools.get(name)
        if tool is None:
            raise UnknownToolError(name)
        try:
            given = arguments or {}
            check_arguments(tool.input_schema, given)
            answer = tool.run(given, meta or {})
        except ChimeraError as error:
            return _failed(error)
        except Exception as error:  # noqa: BLE001 - the edge: one bad call must not end the server
            traceback.print_exc(file=sys.stderr)
            return _failed(ToolFailed(f"{name} failed with {type(error).__name__}"))
        text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return {"content": [{"type": "text", "text": text}], "structuredContent": answer, "isError": False}


def _failed(error: ChimeraError) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": f"{error} | {error.hint}"}], "isError": True}
