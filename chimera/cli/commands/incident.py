"""``chimera incident``: what critical things agents tried, and who may go on."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import By, Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

if TYPE_CHECKING:
    from chimera.guards.oversight import Oversight
    from chimera.store.incidents import Incident

app = typer.Typer(help="Security incidents, and the agents that they hold back.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="INCIDENT", help="Id of an incident, or its first digits.")]


@app.command("ls")
def ls_command(
    released: Annotated[bool, typer.Option("--all", help="Those that were released too.")] = False,
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant.")] = None,
    json: Json = False,
) -> None:
    """List the open incidents, newest first."""
    run(_ls(released, tenant, json))


async def _ls(released: bool, tenant: str | None, json: bool) -> None:
    async with _opened() as oversight:
        found = await oversight.incidents.listed(tenant=tenant, released=released)
    if json:
        emit({"incidents": [incident.plain() for incident in found]})
    elif found:
        _present(found)
    else:
        tell("No agent is held back." if not released else "There was no incident yet.")


@app.command("show")
def show_command(incident: Id, json: Json = False) -> None:
    """Show an incident with all that is needed to decide about it."""
    run(_show(incident, json))


async def _show(incident: str, json: bool) -> None:
    async with _opened() as oversight:
        found = await oversight.incidents.find(incident)
    if json:
        emit(found.plain())
    else:
        _describe(found)


@app.command("release")
def release_command(
    incident: Id,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it goes on the record.")],
    by: By = None,
    json: Json = False,
) -> None:
    """End an incident, as a human who looked at it: what only it held back goes on."""
    run(_release(incident, by, reason, json))


async def _release(incident: str, by: str | None, reason: str, json: bool) -> None:
    from chimera.guards.permissions.first import local_user

    async with _opened() as oversight:
        found = await oversight.decisions.release(incident, local_user() if by is None else by, reason)
    if json:
        emit(found.plain())
    else:
        from chimera.cli.view.text import line, short

        show(f"Incident {short(found.id)} was released by {line(found.released_by or '', 80)}.")


@asynccontextmanager
async def _opened() -> "AsyncGenerator[Oversight]":
    async with open_records() as records:
        yield records.oversight()


def _present(found: "Sequence[Incident]") -> None:
    from rich.text import Text

    from chimera.cli.view.tables import one_row, table
    from chimera.cli.view.text import line, moment, short

    made = table("incident", "state", "opened", "mission", "rule", "held back")
    for incident in found:
        made.add_row(
            short(incident.id),
            Text(incident.state, style="" if incident.state == "released" else "magenta"),
            moment(incident.opened_at),
            short(incident.mission_id or ""),
            Text(line(incident.rule, 40)),
            one_row(line(", ".join(incident.quarantined), 160)),
        )
    show(made)


def _describe(found: "Incident") -> None:
    from chimera.cli.view.tables import table
    from chimera.cli.view.text import line, moment, short
    from chimera.store.audit.owasp import risk_of, risks

    risk = risk_of(found.rule)
    rows = {
        "incident": found.id,
        "state": found.state,
        "opened": moment(found.opened_at),
        "tenant": found.tenant,
        "mission": found.mission_id or "none",
        "agent": found.agent,
        "pool": found.pool,
        "edge": found.edge,
        "rule": f"{found.rule} ({risk} {risks()[risk]})" if risk else found.rule,
        "threat": found.threat,
        "held back": ", ".join(found.quarantined) or "nobody",
        "question": f"chimera review show {short(found.review_id)}" if found.review_id else "not yet",
        "on the record": found.trail or "not yet",
    }
    if found.released_at:
        rows |= {"released": f"{moment(found.released_at)} by {found.released_by}", "why": found.reason or ""}
    from rich.text import Text

    made = table("", "")
    made.show_header = False
    for name, value in rows.items():
        made.add_row(name, Text(line(value, 400)))
    for reason in found.reasons:
        made.add_row("reason", Text(line(reason, 400)))
    show(made)
    if found.state == "open":
        tell(f"  chimera incident release {short(found.id)} --reason WHY")
