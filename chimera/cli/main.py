"""The command line. Importing this costs little: every command imports what it needs when it runs."""

from typing import Annotated

import typer

from chimera.cli.commands import (
    agents,
    artifact,
    audit,
    bench,
    evaluate,
    incident,
    ledger,
    policy,
    pools,
    principal,
    review,
    runs,
    tools,
)
from chimera.cli.commands.catalogue import errors_command
from chimera.cli.commands.demo import demo_command
from chimera.cli.commands.doctor import doctor_command
from chimera.cli.commands.init import init_command
from chimera.cli.commands.missions import cancel_command, ls_command, show_command, watch_command
from chimera.cli.commands.resuming import (
    amend_command,
    fork_command,
    history_command,
    replay_command,
    resume_command,
)
from chimera.cli.commands.run import run_command
from chimera.cli.commands.serve import mcp_command, serve_command
from chimera.cli.commands.servers import down_command, migrate_command
from chimera.cli.commands.top import top_command
from chimera.cli.commands.worker import worker_command
from chimera.cli.door import Door
from chimera.cli.options import Json
from chimera.cli.view.output import emit

app = typer.Typer(
    name="chimera",
    cls=Door,
    help="Run fleets of LLM agents that use tools, publish and spend, and keep them governed.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(json: bool = False) -> None:
    from importlib.metadata import version

    found = version("chimera-swarm")
    if json:
        emit({"version": found})
    else:
        typer.echo(found)


def _on_version(given: bool) -> None:
    if given:
        _version()
        raise typer.Exit


@app.callback()
def chimera(
    version: Annotated[
        bool, typer.Option("--version", callback=_on_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run fleets of LLM agents that use tools, publish and spend, and keep them governed."""


def version_command(json: Json = False) -> None:
    """Show the version."""
    _version(json)


MISSIONS = "Missions"
BACK = "Going on and going back"
FLEET = "The fleet"
SERVING = "For other agents"
MONEY = "Money"
INSTALLATION = "This installation"

for _name, _command, _panel in (
    ("demo", demo_command, MISSIONS),
    ("run", run_command, MISSIONS),
    ("ls", ls_command, MISSIONS),
    ("show", show_command, MISSIONS),
    ("watch", watch_command, MISSIONS),
    ("cancel", cancel_command, MISSIONS),
    ("resume", resume_command, BACK),
    ("amend", amend_command, BACK),
    ("history", history_command, BACK),
    ("replay", replay_command, BACK),
    ("fork", fork_command, BACK),
    ("worker", worker_command, FLEET),
    ("top", top_command, FLEET),
    ("serve", serve_command, SERVING),
    ("mcp", mcp_command, SERVING),
    ("doctor", doctor_command, INSTALLATION),
    ("init", init_command, INSTALLATION),
    ("down", down_command, INSTALLATION),
    ("migrate", migrate_command, INSTALLATION),
    ("errors", errors_command, INSTALLATION),
    ("version", version_command, INSTALLATION),
):
    app.command(_name, rich_help_panel=_panel)(_command)

app.add_typer(artifact.app, name="artifact", rich_help_panel=MISSIONS)
app.add_typer(review.app, name="review", rich_help_panel=MISSIONS)
app.add_typer(pools.app, name="pools", rich_help_panel=FLEET)
app.add_typer(agents.app, name="agents", rich_help_panel=FLEET)
app.add_typer(runs.app, name="runs", rich_help_panel=FLEET)
app.add_typer(ledger.app, name="ledger", rich_help_panel=MONEY)
app.add_typer(audit.app, name="audit", rich_help_panel=INSTALLATION)
app.add_typer(incident.app, name="incident", rich_help_panel=INSTALLATION)
app.add_typer(policy.app, name="policy", rich_help_panel=INSTALLATION)
app.add_typer(principal.app, name="principal", rich_help_panel=INSTALLATION)
app.add_typer(tools.app, name="tools", rich_help_panel=INSTALLATION)
app.add_typer(evaluate.app, name="eval", rich_help_panel=INSTALLATION)
app.add_typer(bench.app, name="bench", rich_help_panel=INSTALLATION)
