"""``chimera eval injection``: how well the injection filter does on sources that it has not seen."""

from pathlib import Path
from typing import Annotated

import typer

from chimera.cli.options import Json
from chimera.core.errors import ExtraMissing


def injection_command(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with labelled texts, *.jsonl. Default: $CHIMERA_DATA/security."),
    ] = None,
    peers: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Ask other detectors about the same texts: their names, or all. Each is installed in an environment "
            "of its own, with uv, in the data folder.",
        ),
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Under a minute: fewer texts, the same code.")] = False,
    json: Json = False,
) -> None:
    """Train on all sources but one, score that one, for each; fails when a goal is missed."""
    try:
        from chimera.evals.injection.run import main_injection

        code = main_injection(data, quick=quick, as_json=json, peers=peers)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("sklearn", "scipy"):
            raise
        raise ExtraMissing(
            "the evaluation of the injection filter needs scikit-learn",
            remedy="Install it with `pip install 'chimera-swarm[evals]'`.",
        ) from None
    raise typer.Exit(code)
