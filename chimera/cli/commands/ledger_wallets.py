"""``chimera ledger wallets``: the wallets of agents on chains, and letting one pay again that was held back."""

from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import By, Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chimera.commerce.wallets import Wallet

app = typer.Typer(help="The wallets of agents on chains, and which of them are held back.")
Chain = Annotated[
    int | None, typer.Option("--chain", metavar="ID", min=1, help="Id of the chain, if there are several.")
]


@app.callback(invoke_without_command=True)
def wallets_command(context: typer.Context, tenant: Tenant = "default", json: Json = False) -> None:
    """List the wallets of a tenant: address, agent, next nonce, and why one is held back."""
    if context.invoked_subcommand is None:
        run(_list(tenant, json))


async def _list(tenant: str, json: bool) -> None:
    from chimera.commerce.wallets import WalletStore

    async with open_records() as records:
        found = await WalletStore(records.pool, records.audit).listed(tenant=tenant)
    _present(found, json, tenant)


@app.command("release")
def release_command(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Of a wallet that is held back.")],
    reason: Annotated[str, typer.Option("--reason", help="What was found out; it goes on the record.")],
    chain: Chain = None,
    next_nonce: Annotated[
        int,
        typer.Option("--next-nonce", min=0, help="The first that is free on the chain, if somebody else used some."),
    ] = 0,
    tenant: Tenant = "default",
    by: By = None,
    json: Json = False,
) -> None:
    """Let a wallet pay again, after somebody found out who else used its key."""
    run(_release(address, reason, chain, next_nonce, tenant, by, json))


async def _release(
    address: str, reason: str, chain: int | None, next_nonce: int, tenant: str, by: str | None, json: bool
) -> None:
    from chimera.cli.commands.ledger_budgets import require_governing
    from chimera.commerce.wallets import WalletStore

    if not reason.strip():
        raise InputError("a wallet is not released without a reason", remedy="Say with --reason what was found out.")
    async with open_records() as records:
        who = await require_governing(records, tenant, by)
        store = WalletStore(records.pool, records.audit)
        wallet = _meant(await store.listed(chain, tenant), address)
        if not await store.release(wallet.chain_id, wallet.address, who, reason.strip(), next_nonce):
            raise InputError(f"wallet {wallet.address} is not held back", remedy="`chimera ledger wallets` lists them.")
        found = [one for one in await store.listed(wallet.chain_id, tenant) if one.address == wallet.address]
    _present(found, json, tenant)


def _meant(wallets: "Sequence[Wallet]", address: str) -> "Wallet":
    found = [one for one in wallets if one.address.casefold() == address.casefold()]
    if not found:
        raise InputError(f"there is no wallet {address[:60]!r}", remedy="`chimera ledger wallets` lists them.")
    if len(found) > 1:
        chains = ", ".join(str(one.chain_id) for one in found)
        raise InputError(f"wallet {address[:60]} is on the chains {chains}", remedy="Name one with --chain.")
    return found[0]


def _present(found: "Sequence[Wallet]", json: bool, tenant: str) -> None:
    if json:
        emit({"wallets": [one.plain() for one in found]})
    elif found:
        from chimera.cli.view.ledger import wallets_table

        show(wallets_table(found))
    else:
        tell(f"No agent of {tenant} has a wallet yet: it is made with the first payment.")
