"""``chimera pools``: pools of agents, and their limits."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.store.pools import AgentPool, PoolStore

app = typer.Typer(help="Pools of agents: their limits, model, tools and budget.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="POOL", help="Name of a pool.")]
Concurrency = Annotated[int | None, typer.Option(help="Runs at the same time; 0 shuts the pool.")]
Model = Annotated[str | None, typer.Option(help="Model of its agents; `none`: that of the settings.")]
Tools = Annotated[str | None, typer.Option(metavar="A,B", help="Tools it may use, with `*`; `none`: every tool.")]
TenantLimit = Annotated[str | None, typer.Option(metavar="N", help="Runs of one tenant at once; `none`: no limit.")]
Priority = Annotated[int | None, typer.Option(help="Each step doubles its share: -8 to 8.")]
Weight = Annotated[int | None, typer.Option(help="Its share of the room: 1 to 1000.")]
Budget = Annotated[str | None, typer.Option(metavar="UNITS", help="What its runs may cost together; `none`: no limit.")]


@app.command("ls")
def ls_command(json: Json = False) -> None:
    """List the pools with what they do now."""
    run(_ls(json))


async def _ls(json: bool) -> None:
    async with _opened() as pools:
        found = await pools.listed()
    if json:
        emit({"pools": [pool.plain() for pool in found]})
    else:
        _present(found)


@app.command("show")
def show_command(pool: Name, json: Json = False) -> None:
    """Show one pool, with how long the parts of its agents' steps took within the last five minutes."""
    run(_show(pool, json))


async def _show(name: str, json: bool) -> None:
    from chimera.store.latencies import LatencyStore
    from chimera.store.pools import PoolStore

    async with open_records() as records:
        pools = PoolStore(records.pool)
        found = [pool for pool in await pools.listed() if pool.name == name] or [await pools.get(name)]
        measured = await LatencyStore(records.pool).measured(name)
    if json:
        emit({**found[0].plain(), "latencies": measured.get(name, {})})
        return
    from chimera.cli.view.latencies import latencies

    _present(found)
    show(latencies({name: measured.get(name, {})}))


@app.command("add")
def add_command(
    pool: Name,
    concurrency: Concurrency = None,
    model: Model = None,
    tools: Tools = None,
    tenant_limit: TenantLimit = None,
    priority: Priority = None,
    weight: Weight = None,
    budget: Budget = None,
    json: Json = False,
) -> None:
    """Make a pool."""
    given = _given(concurrency, model, tools, tenant_limit, priority, weight, budget)
    run(_add(pool, given, json))


async def _add(name: str, given: dict[str, Any], json: bool) -> None:
    from chimera.store.pools import AgentPool

    async with _opened() as pools:
        await pools.add(AgentPool(name=name, **given))
        made = await pools.get(name)
    _tell(made, json)


@app.command("set")
def set_command(
    pool: Name,
    concurrency: Concurrency = None,
    model: Model = None,
    tools: Tools = None,
    tenant_limit: TenantLimit = None,
    priority: Priority = None,
    weight: Weight = None,
    budget: Budget = None,
    json: Json = False,
) -> None:
    """Change a pool; it holds from the next claim of each worker on."""
    given = _given(concurrency, model, tools, tenant_limit, priority, weight, budget)
    if not given:
        raise InputError("nothing to change was named", remedy="See `chimera pools set --help`.")
    run(_set(pool, given, json))


async def _set(name: str, given: dict[str, Any], json: bool) -> None:
    async with _opened() as pools:
        changed = await pools.change(name, **given)
    _tell(changed, json)


def _given(
    concurrency: int | None,
    model: str | None,
    tools: str | None,
    tenant_limit: str | None,
    priority: int | None,
    weight: int | None,
    budget: str | None,
) -> dict[str, Any]:
    """What was named, as the pool has it; ``none`` takes a limit away."""
    texts = {"model": model, "tools": tools, "tenant_limit": tenant_limit, "budget_units": budget}
    given: dict[str, Any] = {name: None if text == "none" else text for name, text in texts.items() if text is not None}
    if given.get("tools"):
        given["tools"] = [part.strip() for part in given["tools"].split(",") if part.strip()]
    for name in ("tenant_limit", "budget_units"):
        if given.get(name) is not None:
            given[name] = _number(name, given[name])
    numbers = {"concurrency": concurrency, "priority": priority, "weight": weight}
    return {**given, **{name: value for name, value in numbers.items() if value is not None}}


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name} is a number or `none`, not {text[:40]!r}") from None


@asynccontextmanager
async def _opened() -> "AsyncGenerator[PoolStore]":
    from chimera.store.pools import PoolStore

    async with open_records() as records:
        yield PoolStore(records.pool)


def _tell(pool: "AgentPool", json: bool) -> None:
    if json:
        emit(pool.plain())
    else:
        _present([pool])


def _present(found: "list[AgentPool]") -> None:
    from rich.text import Text

    from chimera.cli.view.tables import one_row, table
    from chimera.cli.view.text import line

    numbers = ("room", "running", "queued", "delayed", "dead", "agents", "weight", "priority")
    made = table("pool", *numbers, "budget", "model", "tools", right=(*numbers, "budget"))
    for pool in found:
        load = pool.load
        budget = "" if pool.budget_units is None else f"{pool.spent_units:,} of {pool.budget_units:,}"
        made.add_row(
            Text(line(pool.name, 64)),
            str(pool.concurrency),
            *(str(load.get(state, 0)) for state in ("running", "queued", "delayed", "dead")),
            str(sum(number for state, number in load.items() if state.startswith("agents "))),
            str(pool.weight),
            str(pool.priority),
            budget,
            Text(line(pool.model or "", 60)),
            one_row(line("all" if pool.tools is None else ", ".join(pool.tools), 200)),
        )
    show(made)
