"""``chimera audit``: the tamper-evident record."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.commands.audit_out import export_command, report_command
from chimera.cli.opening import open_records
from chimera.cli.options import Json, Mission, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

if TYPE_CHECKING:
    from chimera.core.settings import Settings
    from chimera.store.audit.chain import Verified
    from chimera.store.audit.checkpoint import Checkpoint
    from chimera.store.audit.signing import PublicKey

app = typer.Typer(help="The tamper-evident record of every decision.", no_args_is_help=True)
app.command("export")(export_command)
app.command("report")(report_command)

PublicKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--public-key", metavar="FILE", help="Trust this key (PEM) instead of this installation's; repeatable."
    ),
]
File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Verify this export instead of the database.")
]
Kept = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="FILE", help="Compare with checkpoints that were kept elsewhere."),
]


@app.command("verify")
def verify_command(
    tenant: Tenant = "default",
    public_key: PublicKeys = None,
    file: File = None,
    checkpoint: Kept = None,
    json: Json = False,
) -> None:
    """Say whether anything was changed, removed, added or moved, and which events are signed."""
    from chimera.core.settings import load_settings
    from chimera.store.audit.export import read_checkpoints, verify_file
    from chimera.store.audit.signing import own_key, read_public_keys

    settings = load_settings()
    kept = read_checkpoints(checkpoint) if checkpoint else []
    if public_key:
        keys = read_public_keys(public_key)
    else:
        mine = own_key(settings)
        keys = [mine] if mine else []
    found = verify_file(file, keys, kept) if file is not None else run(_verify(settings, tenant, keys, kept))
    if json:
        emit({**vars(found), "intact": True, "keys": [{"id": key.id, "pem": key.pem} for key in keys]})
    else:
        _say(found, keys)


async def _verify(settings: "Settings", tenant: str, keys: "list[PublicKey]", kept: "list[Checkpoint]") -> "Verified":
    async with open_records(settings) as records:
        return await records.audit.examine(tenant, keys, kept)


def _say(found: "Verified", keys: "list[PublicKey]") -> None:
    whole = f", {found.gaps} gaps between them" if found.gaps else ""
    where = f" (events {found.first:,} to {found.last:,}{whole})" if found.first > 1 or found.gaps else ""
    head = f", head {found.head}" if found.head else ""
    show(f"The chain of {found.tenant} is intact: {found.events:,} events{where}{head}.")
    if not found.signed_to:
        show("No event is signed yet: `chimera audit checkpoint` signs them." if found.events else "")
    else:
        missing = found.last - found.signed_to
        rest = f"; the {missing:,} after them are not yet" if missing else ""
        how = "Signed" if found.trusted else "Signed, though nobody looked whether by a key that is trusted"
        show(f"{how}: events {found.signed_from:,} to {found.signed_to:,}, {found.checkpoints:,} checkpoints{rest}.")
    for key in keys:
        show(f"Public key {key.id}:\n{key.pem.strip()}")
    if not keys:
        tell("There is no key here: give the public one with --public-key FILE to check signatures.")


@app.command("checkpoint")
def checkpoint_command(tenant: Tenant = "default", json: Json = False) -> None:
    """Verify the chain and sign its end. Keep what this prints elsewhere: it finds what was cut off later."""
    run(_checkpoint(tenant, json))


async def _checkpoint(tenant: str, json: bool) -> None:
    from chimera.core.clock import SystemClock
    from chimera.store.audit import AuditLog
    from chimera.store.audit.signing import load_signer

    async with open_records() as records:
        signer = load_signer(records.settings)
        made = await AuditLog(records.pool, SystemClock(), signer).sign(tenant)
    if json:
        emit({"checkpoint": made.plain() if made else None, "public_key": signer.public_key.pem})
    elif made is None:
        tell(f"Nothing is on the record of {tenant} yet, so there is nothing to sign.")
    else:
        show(f"Signed: {made.seq:,} events of {tenant}, head {made.hash}, with the key {made.key}.")


@app.command("tail")
def tail_command(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many.")] = 20,
    tenant: Tenant = "default",
    json: Json = False,
) -> None:
    """Show the last events of a tenant, oldest first."""
    run(_tail(count, tenant, json))


async def _tail(count: int, tenant: str, json: bool) -> None:
    async with open_records() as records:
        events = await records.audit.tail(tenant, count)
    _present(events, json)


@app.command("show")
def show_command(mission: Mission, json: Json = False) -> None:
    """Show every event of a mission, oldest first."""
    run(_show(mission, json))


async def _show(mission: str, json: bool) -> None:
    async with open_records() as records:
        events = await records.audit.of_mission(await records.missions.find(mission))
    _present(events, json)


def _present(events: list[dict[str, object]], json: bool) -> None:
    if json:
        emit({"events": events})
    elif not events:
        tell("Nothing is on the record yet.")
    else:
        from chimera.cli.view.tables import audit_table

        show(audit_table(events))
