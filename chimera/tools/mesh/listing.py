"""What a server offers, as capabilities; tools that cannot be used safely are dropped, each with its reason."""

from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from mcp import ClientSession, types
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chimera.core.usable import schema_problem
from chimera.tools.capability import Capability
from chimera.tools.mesh.servers import FIRST_PARTY, ServerSpec
from chimera.tools.mesh.untrusted import one_line, paragraph

TOOLS_MAX = 1_000
PAGES_MAX = 100
DESCRIPTION_MAX = 4_000


@dataclass(frozen=True)
class Listing:
    """The usable tools of one server by the server's own names, and why others were dropped."""

    tools: dict[str, Capability] = field(default_factory=dict[str, Capability])
    dropped: dict[str, str] = field(default_factory=dict[str, str])


class Screen(Protocol):
    """Decides which tools of a listing may be used. It never raises; what it cannot know, it leaves out."""

    async def __call__(self, spec: ServerSpec, listing: Listing) -> Listing:
        """The listing without what is held back, which is among ``dropped``."""
        ...


class _Page(BaseModel):
    """A page of ``tools/list``, lenient so that one malformed tool does not lose the others."""

    model_config = ConfigDict(extra="ignore")

    tools: list[Any] = Field(default_factory=list)
    next_cursor: str | None = Field(default=None, alias="nextCursor")


async def fetch_tools(session: ClientSession) -> list[Any]:
    """All pages of the server's list of tools, as they came, in the server's order.

    At most ``PAGES_MAX`` pages and a little over ``TOOLS_MAX`` tools are read. The caller sets the deadline.
    """
    found: list[Any] = []
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
        page = await session.send_request(types.ClientRequest(types.ListToolsRequest(params=params)), _Page)
        found += page.tools
        cursor = page.next_cursor
        if not cursor or len(found) > TOOLS_MAX:
            break
    return found


def to_listing(server: str, raw_tools: list[Any]) -> Listing:
    """Judge each tool. Pure, but slow for large schemas: the caller runs it off the event loop."""
    listing = Listing()
    for raw in raw_tools:
        name = one_line(str(cast("dict[str, Any]", raw).get("name", "")), 80) if isinstance(raw, dict) else ""
        problem = _take(server, raw, listing) if len(listing.tools) < TOOLS_MAX else f"more than {TOOLS_MAX} tools"
        if problem is not None:
            listing.dropped[name or "(no name)"] = problem
    return listing


def _take(server: str, raw: Any, listing: Listing) -> str | None:
    """Add one tool to the listing, or say why not."""
    try:
        tool = types.Tool.model_validate(raw)
    except ValidationError as error:
        return f"not a tool description: {one_line(error.errors()[0]['msg'])}"
    if tool.name in listing.tools:
        return "a second tool of this name; the first one is kept"
    if server not in FIRST_PARTY and tool.name.lower().partition("__")[0] in FIRST_PARTY and "__" in tool.name:
        return "its name imitates a tool of Chimera"
    if tool.inputSchema.get("type", "object") != "object":
        return "its arguments are not an object"
    for schema in (tool.inputSchema, tool.outputSchema):
        if schema is not None and (problem := schema_problem(schema)) is not None:
            return problem
    try:
        listing.tools[tool.name] = _capability(server, tool)
    except ValidationError:
        return "the name must be 1-64 letters, digits, dots, hyphens and underscores"
    return None


def _capability(server: str, tool: types.Tool) -> Capability:
    hints = tool.annotations or types.ToolAnnotations()
    read_only = hints.readOnlyHint is True
    return Capability(
        name=f"{server}__{tool.name}",
        server=server,
        tool=tool.name,
        description=paragraph(tool.description or tool.title or hints.title or "", DESCRIPTION_MAX),
        input_schema=tool.inputSchema,
        output_schema=tool.outputSchema,
        read_only=read_only,
        idempotent=hints.idempotentHint is True,
        destructive=not read_only and hints.destructiveHint is not False,
    )
