"""``chimera ledger payments``: what wallets paid on chains, and the search in it."""

from typing import Annotated

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell


def payments_command(
    words: Annotated[
        str,
        typer.Argument(
            metavar="[WORDS]", help="In purpose, category or mission; or how an address, hash or id begins."
        ),
    ] = "",
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Whose wallet.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="Such as captured, broadcast or quarantined.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="The newest ones, at most.")] = 50,
    tenant: Tenant = "default",
    json: Json = False,
) -> None:
    """List the payments that were signed, newest first, with their transactions."""
    run(_payments(words, agent, state, limit, tenant, json))


async def _payments(words: str, agent: str | None, state: str | None, limit: int, tenant: str, json: bool) -> None:
    from chimera.commerce.assets import AssetStore
    from chimera.commerce.history import Search, search_history

    async with open_records() as records:
        found = await search_history(records.pool, Search(tenant, words, agent, state, limit=limit))
        assets = {asset.id: asset for asset in await AssetStore(records.pool, records.audit).listed()}
    if json:
        emit({"tenant": tenant, "payments": [each.plain() for each in found]})
    elif found:
        from chimera.cli.view.ledger import payments_table

        show(payments_table(found, assets))
    else:
        tell("No payment that was signed fits.")
