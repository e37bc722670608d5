"""``chimera tools add``, ``pin`` and ``doctor``: the servers of the registry, their versions and what is pinned."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import By, Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.core.settings import Settings
    from chimera.guards.decisions import Decisions
    from chimera.tools.registry.formats.reading import Read
    from chimera.tools.registry.gate import PinGate
    from chimera.tools.registry.registry import Registered, Registry

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Name of a registered server.")]


@dataclass(frozen=True)
class Opened:
    """What the commands work with."""

    settings: "Settings"
    registry: "Registry"
    gate: "PinGate"
    decisions: "Decisions"


@asynccontextmanager
async def opened() -> AsyncGenerator[Opened]:
    """The registry of this installation, on its database."""
    from chimera.core.clock import SystemClock
    from chimera.tools.registry.gate import PinGate
    from chimera.tools.registry.registry import Registry

    async with open_records() as records:
        clock, oversight = SystemClock(), records.oversight()
        changes = oversight.tool_changes
        gate = PinGate(records.pool, changes.pins, records.audit, clock, changes)
        yield Opened(records.settings, Registry(records.pool, records.audit, clock), gate, oversight.decisions)


def add_command(
    source: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A file of servers, or a name of the catalogue.")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="What a single server is called here.")] = "",
    version: Annotated[str, typer.Option(help="For files that name no version.")] = "",
    by: By = None,
    json: Json = False,
) -> None:
    """Register tool servers: from server.json, mcpServers, Docker's or toolsdk's form, or by catalogue name."""
    read = _read(source, name, version)
    added, known = run(_add(read, by))
    if json:
        refused = [item.plain() for item in read.refused]
        emit({"form": read.form, "added": added, "known": known, "refused": refused})
        return
    for server in added:
        show(f"{server['name']} {server['version']} was added; it comes from {server['identity']}.")
        if server["needs"]:
            tell(f"  it needs {', '.join(server['needs'])} in the environment of Chimera")
    for server in known:
        show(f"{server['name']} {server['version']} was there before.")
    for item in read.refused:
        tell(f"not added: {item.entry}: {item.why} {item.remedy}")
    if added:
        tell(f"  chimera tools doctor {added[0]['name']} --start")


def _read(source: str, name: str, version: str) -> "Read":
    from chimera.tools.catalogue.loading import listed
    from chimera.tools.registry.formats.reading import Read, read_file

    path = Path(source)
    if path.is_file() or path.suffix in (".json", ".jsonl") or "/" in source.lstrip("@").partition("/")[2]:
        return read_file(path, version=version, name=name)
    entry = listed(source).entry()
    return Read("catalogue", [entry.model_copy(update={"name": name}) if name else entry])


async def _add(read: "Read", by: str | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from chimera.guards.permissions.first import local_user
    from chimera.tools.registry.serving import missing

    added: list[dict[str, Any]] = []
    known: list[dict[str, Any]] = []
    async with opened() as parts:
        who = local_user() if by is None else by
        await parts.decisions.may_change_tools(who)
        for entry in read.entries:
            is_new = await parts.registry.add(entry, who)
            told = {"name": entry.name, "version": entry.version, "identity": entry.identity, "needs": missing(entry)}
            (added if is_new else known).append(told)
    return added, known


def pin_command(
    name: Server,
    version: Annotated[str | None, typer.Argument(help="Let this version serve.")] = None,
    share: Annotated[float | None, typer.Option(metavar="PERCENT", help="Try it with a share of the agents.")] = None,
    back: Annotated[bool, typer.Option("--back", help="End a trial, or go back to the version before.")] = False,
    ask: Annotated[bool, typer.Option("--ask", help="Start it, and ask again about what is held back.")] = False,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Let agents use it, or not.")] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Show what is pinned of a server; choose the version that serves, try another one, or go back."""
    if sum((version is not None, back, ask, on is not None)) > 1 or (share is not None and version is None):
        raise InputError("one thing at a time", remedy="Give a version (and --share), or --back, --ask, --on, --off.")
    server, rows, changes = run(_pin(name, version, share, back, ask, on, by))
    if json:
        pins = [{key: row[key] for key in ("version", "tool", "digest", "pinned_by", "pinned_at")} for row in rows]
        shown = ("version", "state", "review_id", "digest", "changes", "decided_by")
        emit({**server.plain(), "pins": pins, "changes": [{key: row[key] for key in shown} for row in changes]})
        return
    _present(server, rows)
    for row in (found for found in changes if found["state"] == "proposed"):
        tell(f"held back: {row['server']} {row['version']} changed: chimera review show {str(row['review_id'])[:8]}")


async def _pin(
    name: str, version: str | None, share: float | None, back: bool, ask: bool, on: bool | None, by: str | None
) -> tuple["Registered", list[dict[str, Any]], list[dict[str, Any]]]:
    from chimera.guards.permissions.first import local_user

    async with opened() as parts:
        who = local_user() if by is None else by
        if version is not None or back or ask or on is not None:
            await parts.decisions.may_change_tools(who)
        if version is not None:
            await parts.registry.choose(name, version, who, share=share)
        elif back:
            await parts.registry.rollback(name, who)
        elif on is not None:
            await parts.registry.enable(name, who, enabled=on)
        server = await parts.registry.find(name)
        if ask:
            await started(parts, server, again=True)
        return server, await parts.gate.pins.rows(server.identity), await parts.gate.pins.changes(server.identity)


def _present(server: "Registered", rows: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from chimera.cli.view.tables import moment, table
    from chimera.cli.view.text import line

    tried = f", {server.canary} is tried with {server.canary_bp / 100:g} %" if server.canary else ""
    show(f"{server.name}  ({server.current} serves{tried}{'' if server.enabled else ', switched off'})")
    if not rows:
        tell(f"Nothing is pinned yet; that is done at first use: chimera tools doctor {server.name} --start")
        return
    made = table("version", "tool", "SHA-256", "pinned by", "pinned")
    for row in rows:
        pinned = (Text(line(row["tool"], 60)), row["digest"][:12], Text(line(row["pinned_by"], 40)))
        made.add_row(row["version"], *pinned, moment(row["pinned_at"]))
    show(made)


def doctor_command(
    names: Annotated[list[str] | None, typer.Argument(metavar="[SERVER]...", help="Default: all.")] = None,
    start: Annotated[
        bool, typer.Option("--start", help="Start each one, pin what is new, and note its health.")
    ] = False,
    json: Json = False,
) -> None:
    """Check registered servers: what each needs, whether it can be run, and with --start whether it runs."""
    found = run(_doctor(names or [], start))
    if json:
        emit({"servers": found})
    elif found:
        _diagnose(found)
    else:
        tell("No tool server is registered: `chimera tools catalogue` lists some, `chimera tools add NAME` takes one.")
    if any(server["problems"] for server in found):
        raise typer.Exit(1)


async def _doctor(names: list[str], start: bool) -> list[dict[str, Any]]:
    async with opened() as parts:
        servers = [await parts.registry.find(name) for name in names] if names else await parts.registry.all()
        return [await _examined(parts, server, start) for server in servers]


async def _examined(parts: Opened, server: "Registered", start: bool) -> dict[str, Any]:
    import shutil

    from chimera.core.errors import ChimeraError
    from chimera.tools.registry.serving import to_spec

    told: dict[str, Any] = {"name": server.name, "version": server.current, "tools": None, "held": {}, "problems": []}
    try:
        spec = to_spec(server.entries[server.current])
        if spec.command and shutil.which(spec.command) is None:
            told["problems"] = [f"{spec.command} is not installed"]
        elif start:
            told |= await started(parts, server)
        else:
            told["problems"] = [
                _unwell(found) for found in server.replicas[server.current] if found["health"] == "down"
            ]
    except ChimeraError as error:
        told["problems"] = [error.message]
    return told


def _unwell(replica: dict[str, Any]) -> str:
    where = replica["place"] or "it"
    return f"{where} was found not to be well at {str(replica['checked_at'])[:19]}: {replica['reason']}"


async def started(parts: Opened, server: "Registered", *, again: bool = False) -> dict[str, Any]:
    """Start a server's current version for a moment: how many tools may be used, what is held, what is wrong."""
    from chimera.core.clock import SystemClock
    from chimera.tools.mesh.mesh import ToolMesh
    from chimera.tools.registry.serving import to_spec

    entry = server.entries[server.current]
    async with ToolMesh([to_spec(entry)], parts.settings) as mesh:
        tools = await mesh.capabilities()
        (status,) = mesh.status()
    up = status.state == "up"
    place = entry.urls[0] if entry.urls else ""
    await parts.registry.store.seen(
        server.name, server.current, place, "up" if up else "down", status.error, SystemClock().now()
    )
    if not up:
        return {"problems": [f"it does not run: {status.error}"]}
    admitted = await parts.gate.admit(server.name, server.identity, server.current, tools, again=again)
    problems = [f"{tool} is held back: {why}" for tool, why in admitted.held.items()]
    return {"tools": len(admitted.tools), "held": admitted.held, "problems": [*problems, *status.dropped]}


def _diagnose(found: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from chimera.cli.view.tables import table
    from chimera.cli.view.text import line

    made = table("server", "version", "tools", "state", right=("tools",))
    for server in found:
        good = not server["problems"]
        state = (
            Text("runs" if server["tools"] is not None else "can be run") if good else Text("problem", style="yellow")
        )
        count = "" if server["tools"] is None else str(server["tools"])
        made.add_row(Text(server["name"]), Text(line(server["version"], 30)), count, state)
        for problem in server["problems"]:
            made.add_row("", "", "", Text(line(problem, 300)))
    show(made)


async def registered() -> "list[Registered]":
    """Every registered server."""
    async with opened() as parts:
        return await parts.registry.all()


async def registered_one(name: str) -> tuple["Registered", list[dict[str, Any]]]:
    """A registered server, and what its current version offers as far as anybody said."""
    async with opened() as parts:
        server = await parts.registry.find(name)
        return server, await parts.registry.store.capabilities(name, server.current)
