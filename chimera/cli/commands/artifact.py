"""``chimera artifact``: the files that missions made."""

import errno
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from chimera.cli.opening import Records, open_records
from chimera.cli.options import Json, Mission
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.cli.view.text import clean, short, size
from chimera.core.errors import InputError, StoreError, StoreFull

app = typer.Typer(help="The files that missions made.", no_args_is_help=True)


@app.command("ls")
def ls_command(mission: Mission, json: Json = False) -> None:
    """List the artifacts of a mission."""
    run(_ls(mission, json))


async def _ls(mission: str, json: bool) -> None:
    async with open_records() as records:
        mission_id = await records.missions.find(mission)
        found = records.artifacts.list(mission_id)
        paths = {item.name: str(records.artifacts.path(mission_id, item.name).absolute()) for item in found}
    if json:
        listed = [{**item.plain(), "path": paths[item.name]} for item in found]
        emit({"mission_id": mission_id, "artifacts": listed})
        return
    if not found:
        tell(f"Mission {short(mission_id)} has no artifacts.")
        return
    from chimera.cli.view.tables import table

    made = table("name", "size", "type", "sha256", "path", right=("size",))
    for item in found:
        made.add_row(item.name, size(item.size), item.media_type, item.sha256[:12], paths[item.name])
    show(made)


@app.command("get")
def get_command(
    mission: Mission,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the artifact.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to put it; - is stdout.")] = "-",
) -> None:
    """Get an artifact. Its digest is compared with the one on record first."""
    run(_get(mission, name, output))


async def _get(mission: str, name: str, output: str) -> None:
    async with open_records() as records:
        mission_id = await records.missions.find(mission)
        stored, content = records.artifacts.read(mission_id, name)
        recorded = await recorded_digest(records, mission_id, name)
    if recorded is not None and recorded != stored.sha256:
        raise StoreError(
            f"artifact {name} is not what was written: its digest is {stored.sha256[:12]}, on record {recorded[:12]}",
            remedy=f"Do not use it: it was changed later. `chimera fork {short(mission_id)}` makes another.",
        )
    if output != "-":
        _save(Path(output), content)
        tell(f"{name}: {size(stored.size)} to {output}{'' if recorded else ' (no digest on record)'}")
    elif not sys.stdout.isatty():
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    elif stored.media_type.startswith("text/") or stored.media_type == "application/json":
        show(clean(content.decode("utf-8", "replace")))
    else:
        raise InputError(f"{name} is {stored.media_type}, nothing for a terminal", remedy="Give a file with -o FILE.")


async def recorded_digest(records: Records, mission_id: str, name: str) -> str | None:
    """The digest that the newest task that wrote the artifact reported; None when nothing is on record."""
    rows: list[dict[str, Any]] = await records.missions.tasks(mission_id)
    for row in sorted(rows, key=lambda row: row["updated_at"], reverse=True):
        found = _digest_in(row["result"], name)
        if found is not None:
            return found
    return _digest_in((await records.missions.get(mission_id))["result"], name)


def _digest_in(result: dict[str, Any] | None, name: str) -> str | None:
    artifacts: list[dict[str, Any]] = (result or {}).get("artifacts", [])
    return next((str(item["sha256"]) for item in artifacts if item["name"] == name), None)


def _save(path: Path, content: bytes) -> None:
    try:
        path.expanduser().write_bytes(content)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"{path} has no room for it", remedy="Free disk space, or name another file.") from None
        raise InputError(f"{path} cannot be written: {error.strerror}", remedy="Name another file.") from None
