"""What happened to the money: rows of the journal, the balances that they add up to, and files for other programs.

CSV is for spreadsheets; the other form is the text of beancount, which checks the double entry by itself.
"""

import csv
import io
import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from chimera.commerce.assets import Asset
from chimera.core.ids import digest
from chimera.core.money import write_units
from chimera.store.postgres import Pool, fetch

PAGE = 1_000
COLUMNS = ("seq", "at", "kind", "intent", "debit", "credit", "asset", "symbol", "units", "amount", "payee", "purpose")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS = """
    SELECT j.seq, j.at, j.kind, j.leg, j.intent, j.debit, j.credit, j.asset, j.amount, coalesce(i.payee, '') AS payee,
        coalesce(i.purpose, '') AS purpose, coalesce(i.agent, '') AS agent, coalesce(i.mission, '') AS mission
    FROM journal AS j LEFT JOIN intents AS i ON i.id = j.intent
"""
_ROWS = (
    _COLUMNS
    + """
    WHERE j.tenant = %s AND j.seq > %s AND (%s = '' OR i.agent = %s) AND (%s = '' OR i.mission = %s)
        AND (%s::timestamptz IS NULL OR j.at >= %s) AND (%s::timestamptz IS NULL OR j.at < %s)
    ORDER BY j.seq LIMIT %s
"""
)
_NEWEST = _COLUMNS + "WHERE j.tenant = %s AND (%s::bigint IS NULL OR j.seq < %s) ORDER BY j.seq DESC LIMIT %s"
_BALANCES = """
    SELECT account, asset, sum(units) AS units FROM (
        SELECT debit AS account, asset, amount AS units FROM journal WHERE tenant = %s
        UNION ALL SELECT credit, asset, -amount FROM journal WHERE tenant = %s
    ) AS both_sides GROUP BY account, asset ORDER BY account, asset
"""


@dataclass(frozen=True)
class Entry:
    """A row of the journal, with what its payment says. ``units``: atomic units from ``credit`` to ``debit``."""

    seq: int
    at: datetime
    kind: str
    leg: str
    intent: str
    debit: str
    credit: str
    asset: str
    units: int
    payee: str
    purpose: str
    agent: str
    mission: str

    def plain(self) -> dict[str, Any]:
        """The row as JSON data; units as text."""
        return {**asdict(self), "at": self.at.isoformat(), "units": str(self.units)}


@dataclass(frozen=True)
class Wanted:
    """Which rows: of a tenant, and of one agent, one mission or a time where that is given."""

    tenant: str = "default"
    agent: str = ""
    mission: str = ""
    since: datetime | None = None
    until: datetime | None = None


async def entries(pool: Pool, wanted: Wanted) -> AsyncGenerator[Entry]:
    """The rows, oldest first, a page at a time."""
    after = 0
    while True:
        agent, mission, since, until = wanted.agent, wanted.mission, wanted.since, wanted.until
        values = (wanted.tenant, after, agent, agent, mission, mission, since, since, until, until, PAGE)
        rows = await fetch(pool, _ROWS, values)
        for row in rows:
            yield _entry(row)
        if len(rows) < PAGE:
            return
        after = int(rows[-1]["seq"])


async def newest(pool: Pool, tenant: str, limit: int, before: int | None = None) -> list[Entry]:
    """The newest rows of a tenant, newest first; ``before``: those with a smaller number."""
    return [_entry(row) for row in await fetch(pool, _NEWEST, (tenant, before, before, limit))]


async def balances(pool: Pool, tenant: str) -> dict[tuple[str, str], int]:
    """Atomic units by account and asset; those of an asset add up to zero."""
    rows = await fetch(pool, _BALANCES, (tenant, tenant))
    return {(str(row["account"]), str(row["asset"])): int(row["units"]) for row in rows}


def as_csv(rows: Iterable[Entry], assets: Mapping[str, Asset], *, head: bool = True) -> str:
    """Rows as CSV. Texts that a spreadsheet would take for a formula begin with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if head:
        writer.writerow(COLUMNS)
    for row in rows:
        asset = assets[row.asset]
        made = (row.seq, row.at.isoformat(), row.kind, row.intent, row.debit, row.credit, row.asset, asset.symbol)
        amount = write_units(row.units, asset.decimals)
        writer.writerow([*map(_cell, made), row.units, amount, _cell(row.payee), _cell(row.purpose)])
    return text.getvalue()


def as_beancount(rows: Sequence[Entry], assets: Mapping[str, Asset]) -> str:
    """Rows as a file of beancount: its accounts are opened on the day of the first row, every row is a transaction."""
    if not rows:
        return ""
    names = commodities(assets.values())
    first = min(row.at for row in rows).date()
    lines = [f"{first} commodity {name}\n  name: {_text(asset_id)}" for asset_id, name in sorted(names.items())]
    accounts = sorted({account(name) for row in rows for name in (row.debit, row.credit)})
    lines += [f"{first} open {name}" for name in accounts]
    for row in rows:
        amount = write_units(row.units, assets[row.asset].decimals, least=0)
        name = names[row.asset]
        told = f"{row.kind} {row.purpose}".strip() if row.purpose else row.kind
        lines.append(
            f"\n{row.at.date()} * {_text(row.payee or row.credit)} {_text(told)}\n"
            f"  seq: {row.seq}\n  intent: {_text(row.intent)}\n"
            f"  {account(row.debit)}  {amount} {name}\n  {account(row.credit)}  -{amount} {name}"
        )
    return "\n".join(lines) + "\n"


_ROOTS = {"wallet": "Assets:Wallet", "reserved": "Assets:Reserved", "spent": "Expenses", "funding": "Equity:Funding"}


def account(name: str) -> str:
    """An account as beancount writes one; two different ones never get the same name."""
    kind, _, owner = name.partition(":")
    root = _ROOTS.get(kind, f"Equity:{_part(kind)}")
    return f"{root}:{_part(owner)}" if owner else root


def _part(text: str) -> str:
    """A part of an account's name; what had to be changed is told apart by a piece of its digest."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", text).strip("-")
    made = plain[:1].upper() + plain[1:] if plain else "X"
    return made if made == text else f"{made}-{digest(text)[:8]}"


def commodities(assets: Iterable[Asset]) -> dict[str, str]:
    """Names of assets for beancount, by id: the symbol, with a piece of the id where two have the same."""
    found = {asset.id: re.sub(r"[^A-Z0-9]", "", asset.symbol.upper()) or "X" for asset in assets}
    taken = list(found.values())
    clear = {name for name in taken if taken.count(name) == 1 and len(name) > 1 and name[0].isalpha()}
    return {
        asset_id: name if name in clear else f"C{name[:8]}-{digest(asset_id)[:8].upper()}X"
        for asset_id, name in found.items()
    }


def _text(value: str) -> str:
    """A string of beancount: on one line, with nothing in it that could end it."""
    flat = " ".join(value.replace("\\", "/").replace('"', "'").split())
    return f'"{flat}"'


def _cell(value: object) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        seq=int(row["seq"]),
        at=row["at"],
        kind=row["kind"],
        leg=row["leg"],
        intent=str(row["intent"]) if row["intent"] else "",
        debit=row["debit"],
        credit=row["credit"],
        asset=row["asset"],
        units=int(row["amount"]),
        payee=row["payee"],
        purpose=row["purpose"],
        agent=row["agent"],
        mission=row["mission"],
    )
