"""``chimera principal invite``: lets somebody choose a password for the pages."""

from typing import Annotated

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import By, Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

Url = Annotated[str, typer.Option("--url", metavar="URL", help="Where people reach the server.")]


def invite_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The whole name, letter by letter.")],
    url: Url = "http://127.0.0.1:8321",
    tenant: Tenant = "default",
    by: By = None,
    json: Json = False,
) -> None:
    """Invite a human to choose a password for the pages of `chimera serve`. The link counts once, and for a day."""
    run(_invite(name, url, tenant, by, json))


async def _invite(name: str, url: str, tenant: str, by: str | None, json: bool) -> None:
    from chimera.guards.permissions.first import local_user

    async with open_records() as records:
        accounts = records.oversight().accounts
        token = await accounts.invite(name, local_user() if by is None else by, tenant=tenant)
    link = f"{url.rstrip('/')}/join/{token}"
    if json:
        emit({"name": name, "tenant": tenant, "url": link})
        return
    show(link)
    tell(f"Whoever opens it first chooses the password of {name}: give it to nobody else. It is shown this once.")
