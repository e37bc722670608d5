"""``chimera agents``: durable identities, in pools."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

if TYPE_CHECKING:
    from chimera.store.agents import AgentStore

app = typer.Typer(help="Agents: durable identities, each in a pool.", no_args_is_help=True)

Agent = Annotated[str, typer.Argument(metavar="AGENT", help="Id of an agent.")]
PoolName = Annotated[str, typer.Option("--pool", help="The pool that they are in.")]


@app.command("ls")
def ls_command(
    pool: Annotated[str | None, typer.Option(help="Only those of this pool.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many at most.")] = 100,
    json: Json = False,
) -> None:
    """List agents with what they do now."""
    run(_ls(pool, state, limit, json))


async def _ls(pool: str | None, state: str | None, limit: int, json: bool) -> None:
    async with _opened() as agents:
        found = await agents.listed(pool=pool, state=state, limit=limit)
    if json:
        emit({"agents": found})
        return
    from rich.text import Text

    from chimera.cli.view.tables import one_row, table
    from chimera.cli.view.text import line, moment

    made = table("agent", "state", "since", "pool", "tenant", "role", "run")
    for row in found:
        cells = [Text(line(row[name], 80)) for name in ("pool", "tenant", "role")]
        made.add_row(
            Text(line(row["id"], 80)), row["state"], moment(row["updated_at"]), *cells, one_row(row["run_id"] or "")
        )
    show(made)


@app.command("add")
def add_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Id, or with --count what the ids begin with.")],
    pool: PoolName = "default",
    count: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="How many: NAME-000001 and so on.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose runs they take.")] = "default",
    role: Annotated[str, typer.Option(help="What they are for.")] = "worker",
    persona: Annotated[str, typer.Option(help="How they speak.")] = "",
    json: Json = False,
) -> None:
    """Make agents; those that exist stay as they are."""
    ids = [name] if count is None else [f"{name}-{number:06}" for number in range(1, count + 1)]
    run(_add(ids, {"pool": pool, "tenant": tenant, "role": role, "persona": persona}, json))


async def _add(ids: list[str], given: dict[str, str], json: bool) -> None:
    async with _opened() as agents:
        made = await agents.create(ids, **given)
    if json:
        emit({"made": made, "pool": given["pool"]})
    else:
        tell(f"{made:,} agents were made in {given['pool']}.")


@app.command("set")
def set_command(
    agent: Agent,
    state: Annotated[str, typer.Argument(metavar="STATE", help="waiting, sleeping, quarantined ...")],
    json: Json = False,
) -> None:
    """Move an agent to another state, if that may follow its present one."""
    run(_set(agent, state, json))


async def _set(agent: str, state: str, json: bool) -> None:
    async with _opened() as agents:
        await agents.change(agent, state)
        found = await agents.get(agent)
    if json:
        emit(found)
    else:
        tell(f"{agent} is {found['state']}.")


@app.command("rm")
def rm_command(agent: Agent, json: Json = False) -> None:
    """Delete an agent; what it works on goes on with another one."""
    run(_rm(agent, json))


async def _rm(agent: str, json: bool) -> None:
    async with _opened() as agents:
        await agents.remove(agent)
    if json:
        emit({"removed": agent})
    else:
        tell(f"{agent} was deleted.")


@asynccontextmanager
async def _opened() -> "AsyncGenerator[AgentStore]":
    from chimera.store.agents import AgentStore

    async with open_records() as records:
        yield AgentStore(records.pool)
