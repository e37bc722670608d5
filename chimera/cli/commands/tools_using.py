"""``chimera tools search`` and ``chimera tools call``: find a tool by what it does, and call one, as agents do."""

import json as json_format
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.attending import reviewer_for
from chimera.cli.options import Json, Reviewer, Reviewing
from chimera.cli.running import run
from chimera.cli.view.output import emit, interactive, show, tell
from chimera.cli.view.text import clean, line
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.swarm import FoundCapability, MCPIntegrationLayer
    from chimera.tools.capability import ToolResult


def search_command(
    query: Annotated[str, typer.Argument(help="What the tool is to do, in plain words.")],
    k: Annotated[int, typer.Option("--k", min=1, max=50, help="How many to show.")] = 5,
    agent: Annotated[str | None, typer.Option("--for", metavar="NAME", help="Whose permissions count.")] = None,
    risk: Annotated[str, typer.Option(help="The most: low, medium or high.")] = "high",
    json: Json = False,
) -> None:
    """Find tools by what they do, among all servers; those that never ran are found by what the registry says."""
    found = run(_search(query, k, agent, risk))
    if json:
        emit({"query": query, "tools": [tool.plain() for tool in found]})
    elif found:
        _present(found)
    else:
        tell("Nothing fits. `chimera tools catalogue WORD` looks among servers that are not registered.")


async def _search(query: str, k: int, agent: str | None, risk: str) -> "list[FoundCapability]":
    async with _opened() as layer:
        return await layer.discover_capabilities(query, k, agent, max_risk=risk, start=False)


def _opened() -> "MCPIntegrationLayer":
    from chimera.swarm import MCPIntegrationLayer

    return MCPIntegrationLayer()


def _present(found: "list[FoundCapability]") -> None:
    from rich.text import Text

    from chimera.cli.view.tables import one_row, table
    from chimera.tools.discovery.asking import effect_of

    made = table("tool", "effect", "risk", "cost", "score", "because of", "what it does", right=("score",))
    for tool in found:
        effect = effect_of(tool)
        made.add_row(
            Text(line(tool.name, 120)),
            Text(effect, style={"destroys": "red", "writes": "yellow"}.get(effect, "green")),
            Text(tool.risk, style="red" if tool.risk == "high" else ""),
            "" if tool.cost is None else str(tool.cost),
            f"{tool.score:.2f}",
            Text(line(tool.why, 40), style="dim"),
            one_row(line(tool.description, 200)),
        )
    show(made)
    if unknown := next((tool for tool in found if not tool.is_known), None):
        tell(f"{line(unknown.server, 60)} never ran here; what its tools take is known once it has.")
    tell(f"  chimera tools call {line(found[0].name, 120)} --args '{_example(found[0].input_schema)}'")


def _example(schema: dict[str, Any]) -> str:
    """The arguments that a tool cannot do without, to be filled in."""
    forms: dict[str, Any] = schema.get("properties") or {}
    blanks = {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    names: list[str] = [name for name in schema.get("required") or [] if name in forms]
    given = {name: blanks.get(str(forms[name].get("type")), "...") for name in names}
    return line(json_format.dumps(given, ensure_ascii=False), 300)


def call_command(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Full name, such as trends__analyze_trends.")],
    args: Annotated[str, typer.Option("--args", metavar="JSON", help="Its arguments, an object.")] = "{}",
    call: Annotated[
        str | None, typer.Option("--id", metavar="UUID", help="An id of yours: the same call is made once.")
    ] = None,
    reviewer: Reviewer = None,
    json: Json = False,
) -> None:
    """Call a tool through the guards; one that may change things asks a human first, and is made once."""
    given = _arguments(args)
    who = reviewer or (Reviewing.ASK if interactive() and not json else Reviewing.NONE)
    result = run(_call(tool, given, call, who))
    if json:
        emit(result.plain())
        return
    text = json_format.dumps(result.data, ensure_ascii=False, indent=2) if result.data else result.text
    show(clean(text) if text else "It was called, and said nothing.")
    for piece in result.evidence[:10]:
        tell(f"[{piece.id}] {line(piece.source, 80)}: {line(piece.text, 120)}")


def _arguments(text: str) -> dict[str, Any]:
    try:
        given: Any = json_format.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InputError(
            "--args is no JSON object", remedy="""Write it as --args '{"name": "value"}', in single quotes."""
        )
    return given


async def _call(tool: str, given: dict[str, Any], call: str | None, who: str) -> "ToolResult":
    async with _opened() as layer:
        return await layer.execute_capability(tool, given, call_id=call, reviewer=reviewer_for(who))
