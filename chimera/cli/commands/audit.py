"""``chimera audit``: the tamper-evident record."""

from typing import Annotated

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import Json, Mission, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

app = typer.Typer(help="The tamper-evident record of every decision.", no_args_is_help=True)


@app.command("verify")
def verify_command(tenant: Tenant = "default", json: Json = False) -> None:
    """Walk the hash chain of a tenant and say whether anything was changed, removed, added or moved."""
    run(_verify(tenant, json))


async def _verify(tenant: str, json: bool) -> None:
    async with open_records() as records:
        length = await records.audit.verify(tenant)
        last = await records.audit.tail(tenant, 1)
    head = last[0]["hash"] if last else ""
    if json:
        emit({"tenant": tenant, "events": length, "head": head, "intact": True})
    else:
        show(f"The chain of {tenant} is intact: {length:,} events{f', head {head}' if head else ''}.")


@app.command("tail")
def tail_command(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many.")] = 20,
    tenant: Tenant = "default",
    json: Json = False,
) -> None:
    """Show the last events of a tenant, oldest first."""
    run(_tail(count, tenant, json))


async def _tail(count: int, tenant: str, json: bool) -> None:
    async with open_records() as records:
        events = await records.audit.tail(tenant, count)
    _present(events, json)


@app.command("show")
def show_command(mission: Mission, json: Json = False) -> None:
    """Show every event of a mission, oldest first."""
    run(_show(mission, json))


async def _show(mission: str, json: bool) -> None:
    async with open_records() as records:
        events = await records.audit.of_mission(await records.missions.find(mission))
    _present(events, json)


def _present(events: list[dict[str, object]], json: bool) -> None:
    if json:
        emit({"events": events})
    elif not events:
        tell("Nothing is on the record yet.")
    else:
        from chimera.cli.view.tables import audit_table

        show(audit_table(events))
