"""``chimera eval``: runs against golden data sets."""

from pathlib import Path
from typing import Annotated

import typer

from chimera.cli.commands.evaluate_attacks import attacks_command
from chimera.cli.commands.evaluate_discovery import discovery_command
from chimera.cli.commands.evaluate_injection import injection_command
from chimera.cli.options import Json

app = typer.Typer(help="Evaluations against golden data sets.", no_args_is_help=True)
app.command("attacks")(attacks_command)
app.command("discovery")(discovery_command)
app.command("injection")(injection_command)


@app.callback()
def eval_group() -> None:
    """Evaluations against golden data sets."""


@app.command("missions")
def missions_command(
    quick: Annotated[bool, typer.Option("--quick", help="Under a minute: fewer cases, the same code.")] = False,
    json: Json = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")] = None,
    json_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the whole report as JSON.")] = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Take these figures as the ones to hold from now on.")
    ] = False,
) -> None:
    """Run the golden missions; fails when they are worse than the committed baseline."""
    from chimera.evals.run import main_missions

    raise typer.Exit(main_missions(quick, json, html, json_file, update_baseline))


@app.command("topics")
def topics_command(json: Json = False) -> None:
    """Ask which of the golden lines are about topics that always go to a human; fails when too many are missed."""
    from chimera.evals.topics import main_topics

    raise typer.Exit(main_topics(as_json=json))
