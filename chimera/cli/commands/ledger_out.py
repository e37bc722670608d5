"""``chimera ledger statement``: the rows of the journal, for people and for other programs."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell, write_text
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.commerce.statement import Wanted


class Form(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    BEANCOUNT = "beancount"


Since = Annotated[str | None, typer.Option("--since", metavar="DATE", help="From this day or time on, in UTC.")]
Until = Annotated[str | None, typer.Option("--until", metavar="DATE", help="Before this day or time, in UTC.")]


def statement_command(
    agent: Annotated[str, typer.Option("--agent", metavar="ID", help="Payments of this agent alone.")] = "",
    mission: Annotated[str, typer.Option("--mission", metavar="ID", help="Payments of this mission alone.")] = "",
    since: Since = None,
    until: Until = None,
    form: Annotated[Form, typer.Option("--format", help="table, csv, or the text of beancount.")] = Form.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there instead of stdout.")
    ] = None,
    tenant: Tenant = "default",
    json: Json = False,
) -> None:
    """Show every movement of money: what was held, captured, released, refunded and put in, oldest first."""
    from chimera.commerce.statement import Wanted

    if output is not None and (json or form is Form.TABLE):
        raise InputError("a file is written as csv or beancount", remedy="Add --format csv.")
    wanted = Wanted(tenant, agent, mission, _time(since), _time(until))
    run(_statement(wanted, form, output, json))


async def _statement(wanted: "Wanted", form: Form, output: Path | None, json: bool) -> None:
    from chimera.commerce.assets import AssetStore
    from chimera.commerce.statement import as_beancount, as_csv, entries

    async with open_records() as records:
        assets = {asset.id: asset for asset in await AssetStore(records.pool, records.audit).listed()}
        rows = [row async for row in entries(records.pool, wanted)]
    if json:
        emit({"tenant": wanted.tenant, "entries": [row.plain() for row in rows]})
    elif form is Form.TABLE:
        from chimera.cli.view.ledger import statement_table

        if rows:
            show(statement_table(rows, assets))
        else:
            tell("No money moved.")
    else:
        text = as_csv(rows, assets) if form is Form.CSV else as_beancount(rows, assets)
        if output is None:
            write_text(text)
        else:
            _write(output, text)
            tell(f"{len(rows):,} rows are in {output}.")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", remedy="Name another file.") from None


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text[:40]!r} is no date", remedy="Write 2026-03-01 or 2026-03-01T12:00.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
