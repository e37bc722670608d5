"""The tool server that a contract describes, with answers made up from the schemas and the arguments.

The same call always gets the same answer. Every answer says that it is a simulator's, and nothing leaves the process.
"""

import json
from typing import Any

from chimera.core.usable import argument_problems
from chimera.sim.vendors.answering import example
from chimera.tools.servers.serving import ToolServer, UnknownToolError

NOTICE = "SIMULATED: nobody was asked and nothing was done"


class Simulator(ToolServer):
    """Serves the tools of a contract: ``{"vendor", "version", "tools": [{"name", "input_schema", ...}]}``."""

    def __init__(self, contract: dict[str, Any]) -> None:
        vendor = str(contract.get("vendor", "a vendor"))
        super().__init__(f"simulator-of-{vendor}", f"{NOTICE}. This stands in for {vendor}.", [])
        self._vendor = vendor
        self._version = str(contract.get("version", ""))
        self._found: dict[str, dict[str, Any]] = {tool["name"]: tool for tool in contract["tools"]}

    def listing(self) -> list[dict[str, Any]]:
        """The tools of the contract, in its order, with the hints that the real server gives."""
        return [self._listed(tool) for tool in self._found.values()]

    def call(self, name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None) -> dict[str, Any]:
        """Answer a call that fits the tool's schema; another one is refused as the real server would.

        Raises:
            UnknownToolError: there is no such tool.
        """
        tool = self._found.get(name)
        if tool is None:
            raise UnknownToolError(name)
        given = arguments or {}
        schema = {"additionalProperties": True, **tool["input_schema"]}
        if problems := argument_problems(schema, given):
            return {"content": [{"type": "text", "text": f"{NOTICE}. {'; '.join(problems)}"}], "isError": True}
        told = {"notice": NOTICE, "simulator": True, "vendor": self._vendor, "tool": name, "arguments": given}
        told["version"] = self._version
        out = tool.get("output_schema")
        answer = example(out or {"type": "object"}, given, f"{name}{json.dumps(given, sort_keys=True)}")
        told |= {"answer": answer} if out else {}
        result: dict[str, Any] = {"content": [{"type": "text", "text": json.dumps(told)}], "isError": False}
        return result | ({"structuredContent": answer} if out else {"structuredContent": told})

    def _listed(self, tool: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": tool["name"],
            "description": f"{tool['name'].replace('_', ' ')} of {self._vendor}, simulated.",
            "inputSchema": tool["input_schema"],
            "annotations": {
                "readOnlyHint": tool["read_only"],
                "idempotentHint": tool["idempotent"],
                "destructiveHint": tool["destructive"],
            },
        }
        return found | ({"outputSchema": tool["output_schema"]} if tool.get("output_schema") else {})
