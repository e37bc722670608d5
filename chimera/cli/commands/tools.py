"""``chimera tools``: what agents could use."""

import json as json_format
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.cli.view.text import clean, line
from chimera.core.errors import ToolUnknown

if TYPE_CHECKING:
    from chimera.tools.capability import Capability
    from chimera.tools.mesh.replicas import ServerStatus

app = typer.Typer(help="The tools of the connected MCP servers.", no_args_is_help=True)


@app.command("ls")
def ls_command(json: Json = False) -> None:
    """Start every configured tool server and list what it offers."""
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
    name: Annotated[str, typer.Argument(metavar="TOOL", help="Full name, such as trends__analyze_trends.")],
    json: Json = False,
) -> None:
    """Show one tool: what it does, what it takes and what it gives."""
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
