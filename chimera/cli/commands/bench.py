"""``chimera bench``: what the parts cost on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from chimera.cli.options import Json

app = typer.Typer(help="Benchmarks: what the parts cost on this machine.", no_args_is_help=True)

Quick = Annotated[bool, typer.Option("--quick", help="Under a minute: smaller, the same code.")]


@app.callback()
def bench_group() -> None:
    """Benchmarks: what the parts cost on this machine."""


@app.command("guards")
def guards_command(quick: Quick = False, json: Json = False) -> None:
    """Measure guard chains, permission checks and the record; fails when one costs more than promised."""
    from chimera.bench.guards import main_guards

    raise typer.Exit(main_guards(quick=quick, as_json=json))


@app.command("transport")
def transport_command(quick: Quick = False, json: Json = False) -> None:
    """Measure what a model call over HTTP costs this process, with our transport and with the SDK's own."""
    from chimera.bench.transport import main_transport

    raise typer.Exit(main_transport(quick=quick, as_json=json))


@app.command("runners")
def runners_command(quick: Quick = False, json: Json = False) -> None:
    """Measure what a run of an agent's graph costs on the lean runner and on stock LangGraph."""
    from chimera.bench.runners import main_runners

    raise typer.Exit(main_runners(quick=quick, as_json=json))


@app.command("fleet")
def fleet_command(
    case: Annotated[
        str, typer.Option("--case", metavar="CASE", help="10s, 2s, 20k, burst, http, parked or storm.")
    ] = "2s",
    runner: Annotated[str, typer.Option("--runner", metavar="NAME", help="lean or stock.")] = "lean",
    in_flight: Annotated[int, typer.Option("--in-flight", metavar="N", help="Instead of the case's own.")] = 0,
    highest: Annotated[
        bool, typer.Option("--highest", help="Look for the highest number in flight whose p99 is below 2 s.")
    ] = False,
    restart: Annotated[
        str, typer.Option("--restart", metavar="NAME,NAME", help="Of a storm: postgres and nats, each once.")
    ] = "",
    quick: Quick = False,
    json: Json = False,
) -> None:
    """Measure agents at once: how much later than needed they end, what one costs, and whether any is lost."""
    from chimera.bench.fleet.restarts import restarts
    from chimera.bench.fleet.run import main_fleet

    asked = restarts(restart)
    raise typer.Exit(
        main_fleet(case, runner, in_flight=in_flight, highest=highest, restart=asked, quick=quick, as_json=json)
    )


@app.command("peers")
def peers_command(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Frameworks to measure; default: all.")
    ] = None,
    sizes: Annotated[
        str, typer.Option("--sizes", metavar="N,N", help="Agents in flight. Default: 1,100,1000,10000.")
    ] = "",
    work: Annotated[
        Path | None,
        typer.Option("--work", metavar="DIR", help="Where environments are kept; default: beside the data."),
    ] = None,
    limit: Annotated[
        float, typer.Option("--limit", metavar="SECONDS", min=0, help="Longest time of one framework at one size.")
    ] = 0.0,
    quick: Quick = False,
    json: Json = False,
) -> None:
    """Measure the same work on other frameworks, each in an environment of its own; needs a checkout."""
    from chimera.bench.peers.run import asked, main_peers
    from chimera.core.settings import load_settings

    place = work or load_settings().home / "bench-peers"
    raise typer.Exit(main_peers(asked(only or [], sizes, place, quick=quick, limit_s=limit), as_json=json, quick=quick))


@app.command("mesh")
def mesh_command(quick: Quick = False, json: Json = False) -> None:
    """Measure tool calls through the mesh: what they cost, many servers at once, and replicas that fail."""
    from chimera.bench.mesh.run import main_mesh

    raise typer.Exit(main_mesh(quick=quick, as_json=json))


@app.command("commerce")
def commerce_command(
    payments: Annotated[int, typer.Option("--payments", metavar="N", min=0, help="Instead of 10,000.")] = 0,
    quick: Quick = False,
    json: Json = False,
) -> None:
    """Measure reserving and paying beside the usual ways, and that no money is lost while everything fails."""
    from chimera.bench.commerce.run import main_commerce

    raise typer.Exit(main_commerce(payments=payments, quick=quick, as_json=json))


@app.command("review")
def review_command(
    part: Annotated[str, typer.Option("--part", metavar="NAME", help="One part alone. Default: all.")] = "",
    quick: Quick = False,
    json: Json = False,
) -> None:
    """Measure certificates on panels of known truth, and the review queue under load."""
    from chimera.bench.review.run import main_review

    raise typer.Exit(main_review(part, quick=quick, as_json=json))
