"""``chimera audit export`` and ``report``: the record for other systems, and for people."""

import re
import sys
from collections.abc import Generator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from chimera.cli.opening import Records, open_records
from chimera.cli.options import By, Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.core.errors import AuditBroken, InputError, StoreFull

if TYPE_CHECKING:
    from chimera.store.audit.report import Summary
    from chimera.store.audit.stream import Part

_AGO = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


class Form(StrEnum):
    """How an export is written."""

    JSONL = "jsonl"
    OCSF = "ocsf"


Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help="From then on: a date or time (UTC unless it says), or 24h, 30d, 4w ago."
    ),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Up to then, and not then.")]
OfMission = Annotated[str | None, typer.Option("--mission", metavar="MISSION", help="Only events of this mission.")]


def export_command(
    form: Annotated[
        Form, typer.Option("--format", help="jsonl can be verified without the database; ocsf is for a SIEM.")
    ] = Form.JSONL,
    since: Since = None,
    until: Until = None,
    mission: OfMission = None,
    tenant: Tenant = "default",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout; must not be there.")
    ] = None,
    by: By = None,
) -> None:
    """Write events as lines of JSON, oldest first, signed up to now."""
    run(_export(form, since, until, mission, tenant, output, by))


async def _export(
    form: Form,
    since: str | None,
    until: str | None,
    mission: str | None,
    tenant: str,
    output: Path | None,
    by: str | None,
) -> None:
    from chimera.guards.permissions.first import local_user
    from chimera.store.audit.export import export_lines

    async with open_records() as records:
        await records.oversight().decisions.may_export(local_user() if by is None else by, tenant)
        part = await _part(records, tenant, since, until, mission)
        if form is Form.JSONL:
            await _sign(records, tenant)
        count = 0
        async with aclosing(export_lines(records.pool, part, form.value)) as lines:
            with _writing(output) as writing:
                async for line in lines:
                    writing.write(line + "\n")
                    count += 1
    if output is not None:
        tell(f"Wrote {count:,} lines to {output}.")
        if form is Form.JSONL:
            tell(f"Verify it anywhere: chimera audit verify --file {output} --public-key KEY")


async def _sign(records: Records, tenant: str) -> None:
    """Sign the end of the chain, so that nobody can cut the export short; a broken chain is exported as it is."""
    from chimera.core.clock import SystemClock
    from chimera.store.audit import AuditLog
    from chimera.store.audit.signing import load_signer

    try:
        await AuditLog(records.pool, SystemClock(), load_signer(records.settings)).sign(tenant)
    except AuditBroken as broken:
        tell(f"{broken.message}; it is exported as it is, and its end was not signed.")


def report_command(
    since: Since = "30d",
    until: Until = None,
    mission: OfMission = None,
    tenant: Tenant = "default",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page that needs nothing but itself.")
    ] = None,
    json: Json = False,
) -> None:
    """Report on a period: decisions, threats, incidents, reviews, policy changes, and whether the chain holds."""
    summary = run(_summary(since, until, mission, tenant))
    if html is not None:
        from chimera.cli.view.audit_page import page

        _write(html, page(summary))
    if json:
        emit(summary.plain())
    elif html is not None:
        tell(f"Wrote {html}.")
    else:
        from chimera.cli.view.audit_summary import summary_tables

        for part in summary_tables(summary):
            show(part)
    if isinstance(summary.verified, str):
        tell(f"{AuditBroken.code} {summary.verified}")
        raise typer.Exit(AuditBroken.exit_code)


async def _summary(since: str | None, until: str | None, mission: str | None, tenant: str) -> "Summary":
    from chimera.store.audit.report import summarise
    from chimera.store.audit.signing import own_key

    async with open_records() as records:
        part = await _part(records, tenant, since, until, mission)
        mine = own_key(records.settings)
        return await summarise(records.pool, part, [mine] if mine else [], datetime.now(UTC))


async def _part(records: Records, tenant: str, since: str | None, until: str | None, mission: str | None) -> "Part":
    from chimera.store.audit.stream import Part

    now = datetime.now(UTC)
    return Part(
        tenant=tenant,
        since=read_time(since, now) if since else None,
        until=read_time(until, now) if until else None,
        mission_id=await records.missions.find(mission) if mission else None,
    )


def read_time(text: str, now: datetime) -> datetime:
    """A moment: a date or time of ISO 8601, in UTC unless it says otherwise, or how long before ``now``.

    Raises:
        InputError: it is neither.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago:
            return now - timedelta(hours=int(ago[1]) * _HOURS[ago[2]])
        at = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise InputError(
            f"{text[:40]!r} is no time", remedy="Write 2026-11-01, 2026-11-01T09:00Z, 24h or 30d."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@contextmanager
def _writing(output: Path | None) -> Generator[TextIO]:
    """Where the lines go. A file is readable for its owner alone, and never replaces one."""
    if output is None:
        yield sys.stdout
        return
    try:
        with output.expanduser().open("x", encoding="utf-8") as writing:
            output.expanduser().chmod(0o600)
            yield writing
    except FileExistsError:
        raise InputError(f"{output} is there already", remedy="Give another name with --output.") from None
    except OSError as error:
        raise StoreFull(f"{output} cannot be written: {error.strerror}", remedy="Give another place.") from None


def _write(path: Path, text: str) -> None:
    try:
        path.expanduser().write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", remedy="Give another place.") from None
