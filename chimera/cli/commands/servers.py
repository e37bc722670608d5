"""``chimera down`` and ``migrate``: the embedded servers and the database's schema."""

import sys
from typing import Annotated

import typer

from chimera.cli.opening import open_database
from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, tell
from chimera.cli.view.text import line, size


def down_command(
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete their data too: every mission and the whole record.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if other processes use them; do not ask.")] = False,
    json: Json = False,
) -> None:
    """Stop the embedded servers. They stop by themselves when nobody has used them for a while."""
    if purge and not force and not json and sys.stdin.isatty():
        typer.confirm("Delete every mission and the whole record of the embedded database?", abort=True, err=True)
    run(_down(purge, force, json))


async def _down(purge: bool, force: bool, json: bool) -> None:
    from chimera.core.settings import load_settings
    from chimera.store.embedded import EmbeddedServers

    settings = load_settings()
    servers = EmbeddedServers(settings.home)
    before = servers.status()
    await (servers.purge(force=force) if purge else servers.stop(force=force))
    kept = settings.home.absolute() / "artifacts"
    if json:
        emit({"stopped": before.running, "purged": purge, "folder": str(before.folder), "artifacts": str(kept)})
        return
    tell("The embedded servers were stopped." if before.running else "The embedded servers were not running.")
    data = before.postgres.data_bytes + before.valkey.data_bytes
    if purge:
        tell(f"Deleted: {line(before.folder, 300)} ({size(data)}). Artifacts stay in {line(kept, 300)}.")
    elif data:
        tell(f"Their data stay: {line(before.folder, 300)} ({size(data)}).")
    if settings.database_url is not None:
        tell("Note: CHIMERA_DATABASE_URL names another database, which is left alone.")


def migrate_command(json: Json = False) -> None:
    """Bring the database to the schema of this version. Take a backup first."""
    run(_migrate(json))


async def _migrate(json: bool) -> None:
    from chimera.store.migrate import applied_version, migrate

    async with open_database() as (_, _, pool):
        before = await applied_version(pool)
        done = await migrate(pool)
        after = await applied_version(pool)
    if json:
        emit({"before": before, "after": after, "applied": done})
    elif done:
        tell(f"Applied: {', '.join(done)}. The schema is {after}.")
    else:
        tell(f"Nothing to do: the schema is {after}.")
