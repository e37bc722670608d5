"""``chimera runs``: what the fleet carries out, and what it set aside."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

if TYPE_CHECKING:
    from chimera.store.runs import RunStore

app = typer.Typer(help="Runs of agents on the fleet, and the dead letters.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run.")]


@app.command("ls")
def ls_command(
    state: Annotated[
        str | None, typer.Option(help="delayed, queued, running, waiting, done, failed, dead or cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    run(_ls(state, limit, json))


async def _ls(state: str | None, limit: int, json: bool) -> None:
    async with _opened() as runs:
        found = await runs.listed(state=state, limit=limit)
    if json:
        emit({"runs": found})
        return
    from rich.text import Text

    from chimera.cli.view.tables import one_row, table
    from chimera.cli.view.text import line

    made = table("run", "state", "tries", "pool", "tenant", "worker", "error", right=("tries",))
    for row in found:
        error: dict[str, str] = row["error"] or {}
        cells = [Text(line(row[name] or "", 60)) for name in ("pool", "tenant", "worker")]
        made.add_row(
            Text(line(row["id"], 80)),
            row["state"],
            str(row["attempts"]),
            *cells,
            one_row(line(error.get("message", ""), 200)),
        )
    show(made)


@app.command("replay")
def replay_command(run_id: Id, json: Json = False) -> None:
    """Let a run that is dead, failed or cancelled run again, from its last checkpoint."""
    run(_replay(run_id, json))


async def _replay(run_id: str, json: bool) -> None:
    async with _opened() as runs:
        await runs.replay(run_id)
        found = await runs.get(run_id)
    if json:
        emit(found)
    else:
        tell(f"{run_id} is {found['state']}.")


@app.command("cancel")
def cancel_command(run_id: Id, json: Json = False) -> None:
    """Cancel a run; one that is under way is broken off by its worker."""
    run(_cancel(run_id, json))


async def _cancel(run_id: str, json: bool) -> None:
    async with _opened() as runs:
        state = await runs.cancel(run_id)
    if json:
        emit({"id": run_id, "state": state})
    else:
        tell(f"{run_id} is {state}." if state != "running" else f"{run_id} was asked to stop.")


@asynccontextmanager
async def _opened() -> "AsyncGenerator[RunStore]":
    from chimera.store.runs import RunStore

    async with open_records() as records:
        yield RunStore(records.pool)
