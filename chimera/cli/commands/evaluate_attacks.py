"""``chimera eval attacks``: an agent that always obeys the attacker, with the flow guard before its tools."""

from typing import Annotated

import typer

from chimera.cli.options import Json


def attacks_command(
    suites: Annotated[str, typer.Option("--suites", metavar="NAMES", help="With commas between; all by default.")] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute: half of the development suites, the same code.")
    ] = False,
    plan: Annotated[
        str, typer.Option("--plan", help="Who plans: `request` (the planner), `oracle` (the reference) or `both`.")
    ] = "",
    json: Json = False,
) -> None:
    """Measure the flow guard against injected instructions; fails when a goal is missed."""
    from chimera.evals.attacks.run import main_attacks

    raise typer.Exit(main_attacks(suites, plan, quick=quick, as_json=json))
