"""``chimera principal``: who there is besides agents, and what they can be."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.commands.principal_invite import invite_command
from chimera.cli.opening import open_records
from chimera.cli.options import By, Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

if TYPE_CHECKING:
    from chimera.store.keys import Key
    from chimera.store.principals import Principal

app = typer.Typer(help="Who may decide: humans, services and peers with their roles.", no_args_is_help=True)
app.command("invite")(invite_command)


class Kind(StrEnum):
    """What can be enrolled. Agents are not: a server enrols those that it runs, while they work."""

    HUMAN = "human"
    SERVICE = "service"
    PEER = "peer"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The whole name, letter by letter.")]


@app.command("add")
def add_command(
    name: Name,
    role: Annotated[
        list[str],
        typer.Option(
            "--role",
            metavar="ROLE",
            help="Repeatable. Humans: operator, security-officer, reviewer, auditor; services: service, stand-in, "
            "rehearsal; peers: peer.",
        ),
    ],
    kind: Annotated[Kind, typer.Option("--kind", help="What it is.")] = Kind.HUMAN,
    tenant: Tenant = "default",
    reputation: Annotated[int, typer.Option("--reputation", min=0, max=100, help="Of a peer.")] = 100,
    by: By = None,
    json: Json = False,
) -> None:
    """Enrol somebody, or give him other roles. The first one of a tenant is a human operator."""
    run(_add(name, role, kind, tenant, reputation, by, json))


async def _add(
    name: str, roles: list[str], kind: Kind, tenant: str, reputation: int, by: str | None, json: bool
) -> None:
    from chimera.guards.permissions.first import local_user

    async with open_records() as records:
        found = await records.oversight().enrolment.enrol(
            name, kind.value, roles, local_user() if by is None else by, tenant=tenant, reputation=reputation
        )
    if json:
        emit(found.plain())
    else:
        show(_told(found, "is enrolled"))


@app.command("ls")
def ls_command(
    removed: Annotated[bool, typer.Option("--all", help="Those who were removed too.")] = False,
    tenant: Tenant = "default",
    json: Json = False,
) -> None:
    """List who is enrolled, in the order of enrolment."""
    run(_ls(removed, tenant, json))


async def _ls(removed: bool, tenant: str, json: bool) -> None:
    async with open_records() as records:
        found = await records.oversight().principals.listed(tenant, removed=removed)
    if json:
        emit({"principals": [principal.plain() for principal in found]})
    elif found:
        _present(found)
    else:
        tell("Nobody is enrolled. The first one: chimera principal add NAME --role operator")


@app.command("show")
def show_command(name: Name, tenant: Tenant = "default", json: Json = False) -> None:
    """Show somebody: kind, roles, and who enrolled or removed him when."""
    run(_show(name, tenant, json))


async def _show(name: str, tenant: str, json: bool) -> None:
    from chimera.core.errors import InputError

    async with open_records() as records:
        found = await records.oversight().principals.find(tenant, name)
    if found is None:
        raise InputError(f"nobody is enrolled as {name[:60]!r}", remedy="`chimera principal ls --all` lists everybody.")
    if json:
        emit(found.plain())
    else:
        _present([found])


@app.command("remove")
def remove_command(
    name: Name,
    tenant: Tenant = "default",
    by: By = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it goes on the record.")] = "",
    json: Json = False,
) -> None:
    """Remove somebody: he decides nothing any more, at once. What he decided stays on the record."""
    run(_remove(name, tenant, by, reason, json))


async def _remove(name: str, tenant: str, by: str | None, reason: str, json: bool) -> None:
    from chimera.guards.permissions.first import local_user

    async with open_records() as records:
        found = await records.oversight().enrolment.remove(
            name, local_user() if by is None else by, tenant=tenant, reason=reason
        )
    if json:
        emit(found.plain())
    else:
        show(_told(found, "was removed"))


@app.command("key")
def key_command(
    name: Name,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="What it is for.")] = "",
    days: Annotated[int | None, typer.Option("--days", min=1, max=3_650, help="How long it lasts.")] = None,
    tenant: Tenant = "default",
    by: By = None,
    json: Json = False,
) -> None:
    """Issue a key with which somebody calls the server. It is shown once; only a digest of it is kept."""
    run(_key(name, label, days, tenant, by, json))


async def _key(name: str, label: str, days: int | None, tenant: str, by: str | None, json: bool) -> None:
    from datetime import timedelta

    from chimera.guards.permissions.first import local_user

    async with open_records() as records:
        issued = await records.oversight().keys.issue(
            name,
            local_user() if by is None else by,
            tenant=tenant,
            label=label,
            lasts=None if days is None else timedelta(days=days),
        )
    if json:
        emit({**issued.key.plain(), "text": issued.text})
        return
    show(issued.text)
    tell(f"This is the key of {name}. It is shown this once; send it as `Authorization: Bearer KEY`.")
    tell(f"Take it back with: chimera principal revoke {issued.key.id}")


@app.command("keys")
def keys_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only those of this one.")] = None,
    tenant: Tenant = "default",
    json: Json = False,
) -> None:
    """List the keys that were issued, oldest first: whose, for what, until when."""
    run(_keys(name, tenant, json))


async def _keys(name: str | None, tenant: str, json: bool) -> None:
    async with open_records() as records:
        found = await records.oversight().keys.listed(tenant, name)
    if json:
        emit({"keys": [key.plain() for key in found]})
    elif found:
        _present_keys(found)
    else:
        tell("Nobody has a key. One is issued by: chimera principal key NAME")


@app.command("revoke")
def revoke_command(
    key: Annotated[str, typer.Argument(metavar="KEY_ID", help="Its id, as `principal keys` shows it.")],
    tenant: Tenant = "default",
    by: By = None,
    json: Json = False,
) -> None:
    """Revoke a key: no call with it counts any more, at once."""
    run(_revoke(key, tenant, by, json))


async def _revoke(key: str, tenant: str, by: str | None, json: bool) -> None:
    from chimera.guards.permissions.first import local_user

    async with open_records() as records:
        gone = await records.oversight().keys.revoke(key, local_user() if by is None else by, tenant=tenant)
    if json:
        emit(gone.plain())
    else:
        show(f"The key {gone.id} of {gone.principal} was revoked.")


def _present_keys(found: "Sequence[Key]") -> None:
    from datetime import UTC, datetime

    from rich.text import Text

    from chimera.cli.view.tables import one_row, table
    from chimera.cli.view.text import line, moment

    made = table("key", "of", "issued", "by", "until", "for")
    now = datetime.now(UTC)
    for key in found:
        gone = f"  revoked {moment(key.revoked_at)} by {key.revoked_by}" if key.revoked_at else ""
        made.add_row(
            Text(key.id, style="" if key.counts(now) else "dim"),
            Text(line(key.principal, 40)),
            moment(key.issued_at),
            Text(line(key.issued_by, 40)),
            moment(key.expires_at) if key.expires_at else "",
            one_row(line(key.label + gone, 200)),
        )
    show(made)


def _told(found: "Principal", what: str) -> str:
    from chimera.cli.view.text import line

    return f"{line(found.name, 80)} ({found.kind}: {', '.join(found.roles) or 'no role'}) {what}."


def _present(found: "Sequence[Principal]") -> None:
    from rich.text import Text

    from chimera.cli.view.tables import one_row, table
    from chimera.cli.view.text import line, moment

    made = table("name", "kind", "enrolled", "by", "roles")
    for principal in found:
        gone = f"  removed {moment(principal.removed_at)} by {principal.removed_by}" if principal.removed_at else ""
        made.add_row(
            Text(line(principal.name, 60), style="dim" if gone else ""),
            principal.kind + (f" {principal.reputation}" if principal.kind == Kind.PEER else ""),
            moment(principal.enrolled_at),
            Text(line(principal.enrolled_by, 40)),
            one_row(line(", ".join(principal.roles) + gone, 200)),
        )
    show(made)
