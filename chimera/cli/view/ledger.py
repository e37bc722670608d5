"""The tables of ``chimera ledger``."""

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from chimera.cli.view.tables import one_row, table
from chimera.cli.view.text import line, moment, short
from chimera.commerce.assets import Asset
from chimera.commerce.budget_use import Budget
from chimera.commerce.history import Made
from chimera.commerce.payees import Payee
from chimera.commerce.reconcile import Compared
from chimera.commerce.statement import Entry
from chimera.commerce.wallets import Wallet
from chimera.core.money import grouped

_STYLES = {"frozen": "cyan", "used up": "red", "nearly used up": "yellow", "running out": "yellow"}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def balances_table(rows: Iterable[tuple[str, Asset, int]]) -> Table:
    """What is on each account."""
    made = table("account", "balance", "asset", right=("balance",))
    for account, asset, units in rows:
        made.add_row(Text(line(account, 80)), grouped(units, asset.decimals), Text(line(_named(asset), 80)))
    return made


def budgets_table(budgets: Sequence[Budget], assets: Mapping[str, Asset]) -> Table:
    """Budgets with what is used of them, and how it will go on."""
    numbers = ("cap", "spent", "held", "left", "used")
    made = table("budget", "per", "asset", *numbers, "forecast", right=numbers)
    for one in budgets:
        asset = assets[one.asset]
        amounts = [grouped(units, asset.decimals) for units in (one.cap, one.posted, one.held, one.left)]
        made.add_row(
            Text(line(one.name, 60)),
            _period(one),
            asset.symbol,
            *amounts,
            f"{one.used_percent} %",
            Text(line(forecast(one, asset), 120), style=_STYLES.get(one.warning, "")),
        )
    return made


def payments_table(found: Sequence[Made], assets: Mapping[str, Asset]) -> Table:
    """Payments with their transactions."""
    made = table("signed", "agent", "paid to", "amount", "asset", "state", "transaction", "for", right=("amount",))
    for one in found:
        asset = assets[one.asset]
        made.add_row(
            moment(one.signed_at),
            Text(line(one.agent, 40)),
            Text(line(one.payee, 44)),
            grouped(one.amount, asset.decimals),
            asset.symbol,
            one.state,
            one.hash[:18],
            Text(line(one.purpose, 60)),
        )
    return made


def forecast(one: Budget, asset: Asset) -> str:
    """A line on how a budget will go on."""
    if one.warning in ("frozen", "used up"):
        again = f", whole again on {one.ends_at:%Y-%m-%d}" if one.ends_at and one.warning == "used up" else ""
        return f"{one.warning}{again}"
    pace = f"{grouped(one.per_day, asset.decimals)} a day" if one.per_day else ""
    if one.used_up_at is not None:
        told = f"{pace}: used up on {one.used_up_at:%Y-%m-%d}"
    else:
        told = f"{pace}, lasts" if pace else ""
    return f"{one.warning}; {told}".strip("; ") if one.warning == "nearly used up" else told


def statement_table(rows: Iterable[Entry], assets: Mapping[str, Asset]) -> Table:
    """Rows of the journal."""
    made = table(
        "row", "at", "what", "amount", "asset", "from", "to", "payment", "payee and purpose", right=("row", "amount")
    )
    for row in rows:
        asset = assets[row.asset]
        made.add_row(
            str(row.seq),
            moment(row.at),
            f"{row.kind} fee" if row.leg == "fee" else row.kind,
            grouped(row.units, asset.decimals),
            asset.symbol,
            Text(line(row.credit, 40)),
            Text(line(row.debit, 40)),
            short(row.intent),
            one_row(line(f"{row.payee}  {row.purpose}", 160)),
        )
    return made


def compared_table(rows: Iterable[Compared], assets: Mapping[str, Asset]) -> Table:
    """Wallets by the books and by the chain."""
    numbers = ("books", "chain", "under way", "difference")
    made = table("wallet", "asset", *numbers, "agrees", right=numbers)
    for one in rows:
        asset = assets.get(one.asset)
        amounts = [
            grouped(units, asset.decimals if asset else 0)
            for units in (one.ledger, one.chain, one.in_flight, one.difference)
        ]
        verdict = Text("yes", style="green") if one.agrees else Text("NO", style="red")
        made.add_row(Text(line(one.wallet, 60)), asset.symbol if asset else line(one.asset, 60), *amounts, verdict)
    return made


def payees_table(payees: Iterable[Payee]) -> Table:
    """Who can be paid, and who is behind them."""
    made = table("payee", "chain", "address", "owner")
    for one in payees:
        made.add_row(
            Text(line(one.name, 60)), str(one.chain_id or "-"), Text(line(one.address, 80)), Text(line(one.owner, 60))
        )
    return made


def wallets_table(wallets: Iterable[Wallet]) -> Table:
    """The wallets of agents; for one that is held back, why."""
    made = table("agent", "chain", "address", "next nonce", "state", right=("chain", "next nonce"))
    for one in wallets:
        held = Text(line(f"held back: {one.why}", 160), style="red") if one.quarantined else Text("pays")
        made.add_row(Text(line(one.agent, 60)), str(one.chain_id), one.address, str(one.next_nonce), held)
    return made


def assets_table(assets: Iterable[Asset]) -> Table:
    """What can be paid with."""
    made = table("symbol", "decimals", "chain", "id", right=("decimals", "chain"))
    for asset in assets:
        made.add_row(
            Text(line(asset.symbol, 20)), str(asset.decimals), str(asset.chain_id or ""), Text(line(asset.id, 140))
        )
    return made


def _named(asset: Asset) -> str:
    return f"{asset.symbol}  {asset.id}" if asset.chain_id is not None else asset.symbol


def _period(one: Budget) -> str:
    if one.period != "rolling":
        return one.period
    seconds, unit = next((size, name) for size, name in _UNITS if one.window_s % size == 0)
    return f"last {one.window_s // seconds}{unit}"
