"""``chimera eval discovery``: how well the right tools are found."""

from pathlib import Path
from typing import Annotated

import typer

from chimera.cli.options import Json


def discovery_command(
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="A set: a folder with tools.jsonl and queries.jsonl; repeatable. "
            "Default: all in $CHIMERA_DATA/toolsearch.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Under a minute: fewer tools, the same code.")] = False,
    json: Json = False,
) -> None:
    """Find tools for requests whose tools are known, beside BM25 and its mix with a small model; fails below goals."""
    from chimera.evals.discovery.run import main_discovery

    raise typer.Exit(main_discovery(data or [], quick=quick, as_json=json))
