"""``chimera tools catalogue``: real tool servers that can be added by name."""

from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.options import Json
from chimera.cli.view.output import emit, show, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chimera.tools.catalogue.model import Listed


def catalogue_command(
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORD]...", help="All have to occur.")] = None,
    category: Annotated[str | None, typer.Option(help="social, content, data, commerce or general.")] = None,
    status: Annotated[str | None, typer.Option(help="catalogued, started, simulated or verified.")] = None,
    json: Json = False,
) -> None:
    """List real tool servers: at which version, and how far each was tried."""
    from chimera.tools.catalogue.loading import catalogue, counts

    wanted = [word.lower() for word in words or []]
    found = [
        entry
        for entry in catalogue()
        if (category is None or entry.category == category)
        and (status is None or entry.status == status)
        and all(word in _text(entry) for word in wanted)
    ]
    if json:
        emit({"servers": [entry.plain() for entry in found], "counts": {str(key): n for key, n in counts().items()}})
        return
    if found:
        _present(found)
    tell(", ".join(f"{n} {key}" for key, n in counts().items()) + " in the whole catalogue")
    if found:
        tell(f"  chimera tools add {found[0].name}")
    else:
        tell("Nothing has all of that; fewer words find more.")


def _text(entry: "Listed") -> str:
    tools = " ".join(tool.name for tool in entry.tools)
    return f"{entry.name} {entry.package.name} {entry.vendor} {entry.category} {entry.description} {tools}".lower()


def _present(found: "Sequence[Listed]") -> None:
    from rich.text import Text

    from chimera.cli.view.tables import one_row, table
    from chimera.cli.view.text import line

    style = {"verified": "green", "simulated": "green", "started": "cyan", "catalogued": "dim"}
    made = table("name", "version", "category", "status", "tools", "what it does", right=("tools",))
    for entry in found:
        made.add_row(
            Text(entry.name),
            Text(line(entry.package.version, 20)),
            entry.category,
            Text(entry.status, style=style[entry.status]),
            str(len(entry.tools) or ""),
            one_row(line(entry.description, 120)),
        )
    show(made)
