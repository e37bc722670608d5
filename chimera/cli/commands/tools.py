"""``chimera tools``: what agents could use, and the servers that offer it."""

import json as json_format
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.commands import tools_registry, tools_using
from chimera.cli.commands.tools_catalogue import catalogue_command
from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.cli.view.text import clean, line
from chimera.core.errors import ToolUnknown

if TYPE_CHECKING:
    from chimera.tools.capability import Capability
    from chimera.tools.mesh.replicas import ServerStatus
    from chimera.tools.registry.registry import Registered

app = typer.Typer(help="The tools of the connected MCP servers, and the registry of servers.", no_args_is_help=True)
app.command("search")(tools_using.search_command)
app.command("call")(tools_using.call_command)
app.command("add")(tools_registry.add_command)
app.command("pin")(tools_registry.pin_command)
app.command("doctor")(tools_registry.doctor_command)
app.command("catalogue")(catalogue_command)


@app.command("ls")
def ls_command(
    registered: Annotated[bool, typer.Option("--registered", help="The servers of the registry; starts none.")] = False,
    json: Json = False,
) -> None:
    """Start every configured tool server and list what it offers."""
    if registered:
        _list_registered(run(tools_registry.registered()), json)
        return
    tools, servers = run(_look())
    if json:
        emit({"tools": [tool.plain() for tool in tools], "servers": [server.plain() for server in servers]})
        return
    from rich.text import Text

    from chimera.cli.view.tables import one_row, table

    made = table("tool", "effect", "description")
    for tool in tools:
        made.add_row(Text(line(tool.name, 120)), effect(tool), one_row(line(tool.description, 200)))
    show(made)
    for server in servers:
        if server.state == "down":
            tell(f"server {server.name} is down: {line(server.error, 300)}")
        for dropped in server.dropped:
            tell(f"server {server.name}: not usable: {line(dropped, 300)}")


@app.command("show")
def show_command(
    name: Annotated[
        str, typer.Argument(metavar="TOOL|SERVER", help="Full name, such as trends__analyze_trends, or a server.")
    ],
    json: Json = False,
) -> None:
    """Show one tool: what it does, takes and gives; or a registered server, with its versions."""
    if "__" not in name:
        _show_server(*run(tools_registry.registered_one(name)), json)
        return
    tools, _ = run(_look())
    tool = next((found for found in tools if found.name == name), None)
    if tool is None:
        raise ToolUnknown(f"no server offers {line(name, 120)}")
    if json:
        emit(tool.plain())
        return
    show(f"{tool.name}  ({effect(tool)})", clean(tool.description), "", "takes", _schema(tool.input_schema))
    if tool.output_schema:
        show("gives", _schema(tool.output_schema))


def _list_registered(servers: "list[Registered]", json: bool) -> None:
    if json:
        emit({"servers": [server.plain() for server in servers]})
        return
    if not servers:
        tell("No tool server is registered: `chimera tools catalogue` lists some, `chimera tools add NAME` takes one.")
        return
    from rich.text import Text

    from chimera.cli.view.tables import one_row, table

    made = table("server", "serves", "tried", "category", "risk", "health", "comes from", "what it does")
    for server in servers:
        entry = server.entries[server.current]
        tried = f"{server.canary} {server.canary_bp / 100:g} %" if server.canary else ""
        made.add_row(
            Text(server.name, style="" if server.enabled else "dim"),
            Text(line(server.current, 20)),
            Text(tried),
            server.category,
            entry.risk,
            Text(", ".join(sorted({found["health"] for found in server.replicas[server.current]}))),
            Text(line(server.identity, 60)),
            one_row(line(entry.description, 120)),
        )
    show(made)


def _show_server(server: "Registered", offered: list[dict[str, Any]], json: bool) -> None:
    entry = server.entries[server.current]
    if json:
        emit({**server.plain(), "capabilities": offered})
        return
    from rich.text import Text

    from chimera.cli.view.tables import table

    made = table("", "")
    made.show_header = False
    command = " ".join([*(entry.package.command() if entry.package else [entry.command]), *entry.args])
    rows = {
        "server": f"{server.name} {server.current}{'' if server.enabled else ' (switched off)'}",
        "what it does": entry.description,
        "comes from": server.identity,
        "versions": ", ".join(server.entries),
        "before": server.previous or "",
        "tried": f"{server.canary} with {server.canary_bp / 100:g} % of the agents" if server.canary else "",
        "runs": command.strip() if entry.transport == "stdio" else "",
        "endpoints": ", ".join(f"{found['place']} ({found['health']})" for found in server.replicas[server.current]),
        "needs": ", ".join(entry.names()) or "no variable",
        "risk": entry.risk,
        "cost of a call": f"{entry.cost.units:,} units of {entry.cost.asset}" if entry.cost else "not known",
        "licence": entry.licence or "not known",
        "listed by": f"{entry.origin.source} {entry.origin.date}",
        "tools": ", ".join(found["name"] for found in offered) or "not known before it runs",
    }
    if entry.transport == "stdio":
        del rows["endpoints"]
    for name, value in rows.items():
        if value:
            made.add_row(name, Text(line(value, 2_000)))
    show(made)
    tell(f"  chimera tools pin {server.name}")


async def _look() -> "tuple[list[Capability], list[ServerStatus]]":
    """Needs no database: tools are there whatever state the store is in."""
    from chimera.core.settings import load_settings
    from chimera.tools.mesh.mesh import ToolMesh
    from chimera.tools.mesh.servers import configured, first_party

    settings = load_settings()
    async with ToolMesh([*first_party(settings), *configured(settings)], settings) as mesh:
        return await mesh.capabilities(), mesh.status()


def effect(tool: "Capability") -> str:
    """What the server says that the tool does to the world."""
    if tool.read_only:
        return "reads"
    return "destroys" if tool.destructive else "writes"


def _schema(schema: dict[str, object]) -> str:
    return json_format.dumps(schema, ensure_ascii=False, indent=2)
