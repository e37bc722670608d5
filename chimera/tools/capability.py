"""What a tool is and what it gives back, independent of the server behind it."""

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from chimera.core.contracts import CapabilityName, Contract, Evidence


class Capability(Contract):
    """One tool of one MCP server.

    ``name`` is ``server__tool``. The hints are the server's own claims (MCP ``ToolAnnotations``); absent means the
    cautious answer: not read-only, not idempotent, destructive.
    """

    name: CapabilityName
    server: str
    tool: str
    description: str = ""
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = True


@dataclass(frozen=True)
class Requester:
    """On whose account a tool is called: quotas are counted by it, and what is kept is kept for its tenant."""

    agent: str = ""
    tenant: str = "default"


NOBODY = Requester()


class ToolResult(Contract):
    """A tool's answer: text for a model, data for code, evidence to cite."""

    text: str = ""
    data: dict[str, Any] | None = Field(default=None, description="MCP structuredContent")
    evidence: list[Evidence] = Field(default_factory=list[Evidence])
    size: int = Field(default=0, ge=0, description="bytes as received")
