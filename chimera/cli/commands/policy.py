"""``chimera policy``: which guards stand where, and who said so."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell

if TYPE_CHECKING:
    from chimera.guards.policy.document import Policy
    from chimera.guards.policy.registry import Parts
    from chimera.guards.policy.watch import PolicyWatch
    from chimera.store.policies import PolicyStore

app = typer.Typer(help="The security policy: which guards stand at which edge.", no_args_is_help=True)

Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="Of the policy, or its first digits.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides: a human.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it goes on the record.")]


@app.command("show")
def show_command(json: Json = False) -> None:
    """Show the policy in force, and what keeps a changed file from being it."""
    run(_show(json))


async def _show(json: bool) -> None:
    from chimera.guards.policy.document import shipped_policy

    async with _opened() as (watch, _):
        await watch.chains()
    policy = watch.policy or shipped_policy()
    if json:
        emit({**_plain(policy), "problem": watch.problem})
        return
    _present(policy)
    if watch.problem:
        tell(f"the file is not in force: {watch.problem}")


@app.command("check")
def check_command(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A policy.")], json: Json = False
) -> None:
    """Try a policy file without putting it in force."""
    from chimera.core.settings import load_settings
    from chimera.guards.policy.document import read_policy
    from chimera.guards.policy.registry import Parts, build_chains

    policy = read_policy(file.read_bytes().decode("utf-8", "replace"))
    build_chains(policy, Parts(load_settings()))
    if json:
        emit(_plain(policy))
    else:
        _present(policy)


@app.command("approve")
def approve_command(digest: Digest, by: By, reason: Reason = "", json: Json = False) -> None:
    """Put a policy in force that was put forward; running processes take it within a second."""
    run(_decide(digest, True, by, reason, json))


@app.command("reject")
def reject_command(digest: Digest, by: By, reason: Reason = "", json: Json = False) -> None:
    """Refuse a policy that was put forward."""
    run(_decide(digest, False, by, reason, json))


async def _decide(digest: str, approve: bool, by: str, reason: str, json: bool) -> None:
    async with _opened() as (watch, store):
        await watch.chains()  # puts the file forward, if nobody has yet
        decided = await store.decide(digest, approve=approve, by=by, reason=reason)
    if json:
        emit(_row(decided))
    else:
        show(f"{decided['digest']} ({decided['title']}) is {decided['state']} by {decided['decided_by']}.")


@app.command("history")
def history_command(json: Json = False) -> None:
    """List the policies that were put forward, newest first."""
    run(_history(json))


async def _history(json: bool) -> None:
    async with _opened() as (watch, store):
        await watch.chains()
        rows = await store.history()
    if json:
        emit({"policies": [_row(row) for row in rows]})
        return
    from rich.text import Text

    from chimera.cli.view.tables import moment, table
    from chimera.cli.view.text import line

    made = table("digest", "state", "proposed", "decided by", "title")
    for row in rows:
        made.add_row(
            row["digest"],
            row["state"],
            moment(row["proposed_at"]),
            Text(line(row["decided_by"] or "", 40)),
            Text(line(row["title"], 80)),
        )
    show(made)


@asynccontextmanager
async def _opened() -> "AsyncGenerator[tuple[PolicyWatch, PolicyStore]]":
    from chimera.core.clock import SystemClock
    from chimera.guards.policy.watch import PolicyWatch
    from chimera.store.policies import PolicyStore

    async with open_records() as records:
        store = PolicyStore(records.pool, records.audit, SystemClock())
        yield PolicyWatch(Parts(records.settings), store), store


def _plain(policy: "Policy") -> dict[str, Any]:
    return {"digest": policy.digest, **policy.model_dump(mode="json")}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    times = {key: row[key].isoformat() if row[key] else None for key in ("proposed_at", "decided_at")}
    return {**{key: row[key] for key in ("digest", "title", "state", "decided_by", "reason")}, **times}


def _present(policy: "Policy") -> None:
    from chimera.cli.view.tables import table

    show(f"{policy.title}  ({policy.digest}; a change needs {policy.changes.approval})")
    made = table("edge", "together within", "guards, in order")
    for edge, part in policy.edges.items():
        made.add_row(str(edge), f"{part.deadline_s:g} s", ", ".join(part.guards))
    show(made)
