"""``chimera ledger payees``: who can be paid, by name; people say it, and agents look it up."""

from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.opening import Records, open_records
from chimera.cli.options import By, Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

if TYPE_CHECKING:
    from chimera.commerce.payees import Payee, PayeeBook

app = typer.Typer(help="Who can be paid: names with their addresses.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="As agents will name them.")]
Chain = Annotated[
    int | None, typer.Option("--chain", metavar="ID", min=1, help="Id of the chain; without: a rail outside of chains.")
]


@app.callback(invoke_without_command=True)
def payees_command(context: typer.Context, tenant: Tenant = "default", json: Json = False) -> None:
    """List who can be paid."""
    if context.invoked_subcommand is None:
        run(_list(tenant, json))


async def _list(tenant: str, json: bool) -> None:
    async with open_records() as records:
        found = await _book(records).listed(tenant)
    _present(found, json, tenant)


@app.command("add")
def add_command(
    name: Name,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="With its checksum, on a chain.")],
    chain: Chain = None,
    owner: Annotated[str, typer.Option("--owner", help="Who is behind it: names of one owner count together.")] = "",
    tenant: Tenant = "default",
    by: By = None,
    json: Json = False,
) -> None:
    """Let somebody be paid. A payee keeps the address until it is removed."""
    run(_add(name, address, chain, owner, tenant, by, json))


async def _add(name: str, address: str, chain: int | None, owner: str, tenant: str, by: str | None, json: bool) -> None:
    from chimera.cli.commands.ledger_budgets import require_governing

    async with open_records() as records:
        who = await require_governing(records, tenant, by)
        added = await _book(records).add(tenant, name, address, who, chain_id=chain, owner=owner)
    _present([added], json, tenant)


@app.command("remove")
def remove_command(
    name: Name, chain: Chain = None, tenant: Tenant = "default", by: By = None, json: Json = False
) -> None:
    """Let somebody be paid no more, payments that were approved included."""
    run(_remove(name, chain, tenant, by, json))


async def _remove(name: str, chain: int | None, tenant: str, by: str | None, json: bool) -> None:
    from chimera.cli.commands.ledger_budgets import require_governing

    async with open_records() as records:
        who = await require_governing(records, tenant, by)
        await _book(records).remove(tenant, name, who, chain_id=chain)
        found = await _book(records).listed(tenant)
    _present(found, json, tenant)


def _book(records: Records) -> "PayeeBook":
    from chimera.commerce.payees import PayeeBook

    return PayeeBook(records.pool, records.audit)


def _present(found: "list[Payee]", json: bool, tenant: str) -> None:
    if json:
        emit({"payees": [one.plain() for one in found]})
    elif found:
        from chimera.cli.view.ledger import payees_table

        show(payees_table(found))
    else:
        tell(f"Nobody can be paid in {tenant} yet: `chimera ledger payees add NAME ADDRESS --chain ID`.")
