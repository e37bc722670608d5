"""``chimera top``: what the fleet does now, as a table that stays up to date."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, stdout

if TYPE_CHECKING:
    from rich.console import Group


def top_command(
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    every: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds from one look to the next.")] = 1.0,
    json: Json = False,
) -> None:
    """Show pools, queue waits and workers until Ctrl-C; once with --once, and with --json."""
    run(_top(once or json, every, json))


async def _top(once: bool, every: float, json: bool) -> None:
    from chimera.store.load import fleet_load

    async with open_records() as records:
        load = await fleet_load(records.pool)
        if json:
            emit(load)
            return
        if once or not stdout().is_terminal:
            show(_view(load))
            return
        from rich.live import Live

        with Live(_view(load), console=stdout(), refresh_per_second=4) as live:
            while True:
                await asyncio.sleep(every)
                live.update(_view(await fleet_load(records.pool)))


def _view(load: dict[str, list[dict[str, Any]]]) -> "Group":
    from rich.console import Group
    from rich.text import Text

    from chimera.cli.view.latencies import latencies
    from chimera.cli.view.tables import one_row, table
    from chimera.cli.view.text import line

    numbers = ("room", "running", "queued", "delayed", "waiting", "dead", "oldest wait")
    pools = table("pool", *numbers, "agents", right=numbers)
    for row in load["pools"]:
        counts = (str(row[name]) for name in ("room", "running", "queued", "delayed", "waiting", "dead"))
        agents = ", ".join(f"{number} {state}" for state, number in sorted(row["agents"].items()))
        pools.add_row(Text(line(row["pool"], 64)), *counts, _seconds(row["oldest_wait_s"]), one_row(agents))
    workers = table(
        "worker", "state", "lease", "turn", "running", "room", "engine", right=("lease", "turn", "running", "room")
    )
    for row in load["workers"]:
        counts = (str(row[name]) for name in ("epoch", "running", "concurrency"))
        workers.add_row(
            Text(line(row["id"], 80)), row["state"], _seconds(max(row["lease_s"], 0)), *counts, row["engine"]
        )
    parts = latencies({row["pool"]: row["latencies"] for row in load["pools"]})
    return Group(pools, Text(), parts, Text(), workers)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"
