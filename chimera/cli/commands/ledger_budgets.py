"""``chimera ledger budgets``: how much may be spent, what is left, and when it runs out."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.opening import Records, open_records
from chimera.cli.options import By, Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.commerce.assets import Asset
    from chimera.commerce.budget_use import Budget
    from chimera.commerce.budgets import Limit

app = typer.Typer(help="How much may be spent, by whom or on what, and what is left of it.")
_WINDOW = re.compile(r"([1-9][0-9]{0,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@app.callback(invoke_without_command=True)
def budgets_command(context: typer.Context, tenant: Tenant = "default", json: Json = False) -> None:
    """Show every budget of a tenant with what is spent, held and left, and a forecast."""
    if context.invoked_subcommand is None:
        run(_show(tenant, json))


async def _show(tenant: str, json: bool) -> None:
    from chimera.commerce.assets import AssetStore
    from chimera.commerce.budgets import BudgetStore

    async with open_records() as records:
        assets = AssetStore(records.pool, records.audit)
        found = await BudgetStore(records.pool, assets, records.audit).listed(tenant)
        known = {asset.id: asset for asset in await assets.listed()}
    _present(found, known, json)
    if not found and not json:
        tell("There is no budget, so nothing can be spent. `chimera ledger budgets set tenant 100 USD` makes one.")


@app.command("set")
def set_command(
    of: Annotated[
        str,
        typer.Argument(metavar="WHOSE", help="tenant, category:NAME, pool:NAME, team:NAME, mission:ID or agent:ID."),
    ],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="The cap, in plain digits such as 250.50.")],
    asset: Annotated[
        str, typer.Argument(metavar="ASSET", help="Symbol, or id where the symbol means several.")
    ] = "USD",
    period: Annotated[str, typer.Option("--per", metavar="PERIOD", help="total, day, week or month (UTC).")] = "total",
    rolling: Annotated[
        str | None, typer.Option("--rolling", metavar="WINDOW", help="Over the last 24h, 7d, 90m, 30s instead.")
    ] = None,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Let nothing out until it is set again without this.")
    ] = False,
    tenant: Tenant = "default",
    by: By = None,
    json: Json = False,
) -> None:
    """Make a budget, or give it another cap; it holds from the next payment on. Takes nothing back that was spent."""
    run(_set(of, amount, asset, period, rolling, freeze, tenant, by, json))


async def _set(
    of: str,
    amount: str,
    asset_name: str,
    period: str,
    rolling: str | None,
    freeze: bool,
    tenant: str,
    by: str | None,
    json: bool,
) -> None:
    from chimera.commerce.assets import AssetStore
    from chimera.commerce.budgets import BudgetStore, check_limit

    async with open_records() as records:
        assets = AssetStore(records.pool, records.audit)
        asset = await assets.named(asset_name)
        limit = _limit(of, amount, asset, period, rolling, freeze, tenant)
        check_limit(limit)
        who = await require_governing(records, tenant, by)
        made = await BudgetStore(records.pool, assets, records.audit).set(limit, who)
    _present([made], {asset.id: asset}, json)


async def require_governing(records: Records, tenant: str, by: str | None) -> str:
    """Who decides, if the permissions let them govern the ledger.

    Raises:
        GuardRejected: they do not; that is on the record.
    """
    from chimera.guards.permissions.first import local_user
    from chimera.guards.permissions.values import Entity, Uid

    who = local_user() if by is None else by
    about = Entity(Uid("Tenant", tenant), {"tenant": tenant})
    await records.oversight().people.require(who, "ledger.govern", about, tenant)
    return who


def _limit(
    of: str, amount: str, asset: "Asset", period: str, rolling: str | None, freeze: bool, tenant: str
) -> "Limit":
    from chimera.commerce.budget_use import PERIODS, SCOPES
    from chimera.commerce.budgets import Limit

    scope, _, subject = of.partition(":")
    if scope not in SCOPES or (scope == "tenant") != (subject == ""):
        raise InputError(
            f"a budget is of tenant, or of {', '.join(f'{one}:NAME' for one in SCOPES[1:])}, not {of[:60]!r}"
        )
    if period not in PERIODS[:-1] or (rolling is not None and period != "total"):
        raise InputError(
            f"a budget is per {', '.join(PERIODS[:-1])}, or rolling", remedy="Such as --per month, or --rolling 24h."
        )
    cap = asset.units(amount, positive=False)
    if rolling is None:
        return Limit(tenant, scope, subject, asset, cap, period, 0, freeze)
    return Limit(tenant, scope, subject, asset, cap, "rolling", _seconds(rolling), freeze)


def _seconds(window: str) -> int:
    match = _WINDOW.fullmatch(window)
    if match is None:
        raise InputError(f"{window[:40]!r} is no window", remedy="Write 30s, 90m, 24h or 7d.")
    return int(match[1]) * _SECONDS[match[2]]


def _present(found: "list[Budget]", assets: "dict[str, Asset]", json: bool) -> None:
    if json:
        emit({"budgets": [{**one.plain(), "symbol": assets[one.asset].symbol} for one in found]})
    elif found:
        from chimera.cli.view.ledger import budgets_table

        show(budgets_table(found, assets))
