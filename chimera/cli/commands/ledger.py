"""``chimera ledger``: what was reserved, spent and given back, and how much may be."""

from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.commands.ledger_budgets import app as budgets_app
from chimera.cli.commands.ledger_out import statement_command
from chimera.cli.commands.ledger_payees import app as payees_app
from chimera.cli.commands.ledger_payments import payments_command
from chimera.cli.commands.ledger_wallets import app as wallets_app
from chimera.cli.opening import open_records
from chimera.cli.options import By, Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

if TYPE_CHECKING:
    from chimera.commerce.assets import Asset

app = typer.Typer(help="The books: balances, statements, budgets, and whether they agree.", no_args_is_help=True)
app.command("statement")(statement_command)
app.command("payments")(payments_command)
app.add_typer(budgets_app, name="budgets")
app.add_typer(payees_app, name="payees")
app.add_typer(wallets_app, name="wallets")


@app.command("balance")
def balance_command(tenant: Tenant = "default", json: Json = False) -> None:
    """Show what is on each account: wallets, what is reserved, what was spent on what."""
    run(_balance(tenant, json))


async def _balance(tenant: str, json: bool) -> None:
    from chimera.commerce.assets import AssetStore
    from chimera.commerce.statement import balances
    from chimera.core.money import write_units

    async with open_records() as records:
        assets = {asset.id: asset for asset in await AssetStore(records.pool, records.audit).listed()}
        found = await balances(records.pool, tenant)
    rows = [(account, assets[asset_id], units) for (account, asset_id), units in found.items()]
    if json:
        told = [
            {
                "account": account,
                "asset": asset.id,
                "symbol": asset.symbol,
                "units": str(units),
                "amount": write_units(units, asset.decimals),
            }
            for account, asset, units in rows
        ]
        emit({"tenant": tenant, "balances": told})
    elif rows:
        from chimera.cli.view.ledger import balances_table

        show(balances_table(rows))
    else:
        tell(f"Nothing is in the books of {tenant} yet.")


@app.command("verify")
def verify_command(
    tenant: Tenant = "default",
    seal: Annotated[bool, typer.Option("--seal", help="Then seal the newest rows on the audit record.")] = False,
    json: Json = False,
) -> None:
    """Compute every hash, hold, budget and seal anew, and fail when one does not agree."""
    run(_verify(tenant, seal, json))


async def _verify(tenant: str, seal: bool, json: bool) -> None:
    from chimera.commerce.assets import AssetStore
    from chimera.commerce.ledger import Ledger
    from chimera.commerce.verify import verify_ledger
    from chimera.core.ids import random_ids

    async with open_records() as records:
        found = await verify_ledger(records.pool, tenant)
        found.require()
        sealed = 0
        if seal:
            assets = AssetStore(records.pool, records.audit)
            sealed = await Ledger(records.pool, assets, records.audit, random_ids()).seal(tenant)
    if json:
        emit({**found.plain(), "sealed_now": sealed})
        return
    show(
        f"The books of {tenant} are intact: {found.entries:,} rows, {found.intents:,} payments, {found.holds:,} holds, "
        f"{found.budgets:,} budgets."
    )
    if sealed:
        show(f"{sealed:,} rows were sealed on the audit record.")
    elif found.unsealed:
        show(f"The newest {found.unsealed:,} rows are not sealed yet: `chimera ledger verify --seal`.")


@app.command("reconcile")
def reconcile_command(tenant: Tenant = "default", json: Json = False) -> None:
    """Compare what each wallet spent by the books and by the chain; fails when payments under way do not explain it."""
    run(_reconcile(tenant, json))


async def _reconcile(tenant: str, json: bool) -> None:
    from chimera.commerce.assets import AssetStore
    from chimera.commerce.chain.totals import totals_of
    from chimera.commerce.reconcile import reconcile
    from chimera.core.errors import LedgerBroken

    async with open_records() as records, totals_of(records.settings, records.pool, records.audit) as totals:
        compared = await reconcile(records.pool, totals, tenant)
        assets = {asset.id: asset for asset in await AssetStore(records.pool, records.audit).listed()}
    told = [one.plain() for one in compared]
    if not json:
        from chimera.cli.view.ledger import compared_table

        show(compared_table(compared, assets))
    if wrong := sum(not one.agrees for one in compared):
        raise LedgerBroken(f"{wrong} of {len(told)} wallets and assets do not agree with the chain", wallets=told)
    if json:
        emit({"tenant": tenant, "wallets": told})


@app.command("assets")
def assets_command(json: Json = False) -> None:
    """List what can be paid with."""
    run(_assets(json))


async def _assets(json: bool) -> None:
    from chimera.commerce.assets import AssetStore

    async with open_records() as records:
        found = await AssetStore(records.pool, records.audit).listed()
    _present(found, json)


@app.command("add-asset")
def add_asset_command(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="Such as USDC.")],
    chain: Annotated[int, typer.Option("--chain", metavar="ID", min=1, help="Id of the chain that it is on.")],
    decimals: Annotated[int, typer.Option("--decimals", min=0, max=27, help="Digits after the point.")],
    address: Annotated[
        str | None, typer.Option("--address", metavar="0x...", help="Of its contract; without: the chain's own coin.")
    ] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Add an asset of a chain. What was added never changes."""
    run(_add_asset(symbol, chain, decimals, address, by, json))


async def _add_asset(symbol: str, chain: int, decimals: int, address: str | None, by: str | None, json: bool) -> None:
    from chimera.cli.commands.ledger_budgets import require_governing
    from chimera.commerce.assets import AssetStore, on_chain

    asset = on_chain(symbol, chain, decimals, address)
    async with open_records() as records:
        who = await require_governing(records, "default", by)
        added = await AssetStore(records.pool, records.audit).add(asset, who)
    _present([added], json)


def _present(found: "list[Asset]", json: bool) -> None:
    if json:
        emit({"assets": [asset.plain() for asset in found]})
        return
    from chimera.cli.view.ledger import assets_table

    show(assets_table(found))
