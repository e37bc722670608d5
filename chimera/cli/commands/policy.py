"""``chimera policy``: which guards stand where, and who said so."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import By, Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.guards.oversight import Oversight
    from chimera.guards.policy.document import Policy
    from chimera.guards.policy.watch import PolicyWatch

app = typer.Typer(help="The security policy: which guards stand at which edge.", no_args_is_help=True)

Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="Of the policy, or its first digits.")]
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
    policy = _tried(file)
    if json:
        emit(_plain(policy))
    else:
        _present(policy)


@app.command("propose")
def propose_command(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A policy.")],
    by: By = None,
    json: Json = False,
) -> None:
    """Put a policy file forward in your name: where four eyes are asked for, somebody else approves it."""
    run(_propose(file, by, json))


async def _propose(file: Path, by: str | None, json: bool) -> None:
    from chimera.guards.permissions.first import local_user

    policy = _tried(file)
    async with _opened() as (watch, oversight):
        await watch.chains()
        await oversight.decisions.propose(policy, local_user() if by is None else by)
        row = await oversight.proposals.store.find(policy.digest)
    if json:
        emit(_row(row))
        return
    show(f"{row['digest']} ({row['title']}) is {row['state']}.")
    if row["state"] == "proposed":
        tell(f"  chimera review show {str(row['review_id'])[:8]}")


def _tried(file: Path) -> "Policy":
    """The policy in a file, with its guards made once to see that they can be."""
    from chimera.core.settings import load_settings
    from chimera.guards.policy.document import read_policy
    from chimera.guards.policy.registry import Parts, build_chains

    policy = read_policy(file.read_bytes().decode("utf-8", "replace"))
    build_chains(policy, Parts(load_settings()))
    return policy


@app.command("approve")
def approve_command(digest: Digest, by: By = None, reason: Reason = "", json: Json = False) -> None:
    """Put a policy in force that was put forward; running processes take it within a second."""
    run(_decide(digest, True, by, reason, json))


@app.command("reject")
def reject_command(digest: Digest, by: By = None, reason: Reason = "", json: Json = False) -> None:
    """Refuse a policy that was put forward."""
    if not reason.strip():
        raise InputError("a rejection needs a reason", remedy="Give --reason; it goes on the record.")
    run(_decide(digest, False, by, reason, json))


async def _decide(digest: str, approve: bool, by: str | None, reason: str, json: bool) -> None:
    from chimera.guards.permissions.first import local_user

    async with _opened() as (watch, oversight):
        await watch.chains()  # puts the file forward, if nobody has yet
        name = local_user() if by is None else by
        decided = await oversight.decisions.about_policy(digest, approve=approve, by=name, reason=reason)
    if json:
        emit(_row(decided))
    else:
        show(f"{decided['digest']} ({decided['title']}) is {decided['state']} by {decided['decided_by']}.")


@app.command("history")
def history_command(json: Json = False) -> None:
    """List the policies that were put forward, newest first."""
    run(_history(json))


async def _history(json: bool) -> None:
    async with _opened() as (watch, oversight):
        await watch.chains()
        rows = await oversight.proposals.store.history()
    if json:
        emit({"policies": [_row(row) for row in rows]})
        return
    from rich.text import Text

    from chimera.cli.view.tables import moment, table
    from chimera.cli.view.text import line, short

    made = table("digest", "state", "proposed", "by", "decided by", "question", "title")
    for row in rows:
        made.add_row(
            row["digest"],
            row["state"],
            moment(row["proposed_at"]),
            Text(line(row["proposed_by"] or "", 40)),
            Text(line(row["decided_by"] or "", 40)),
            short(row["review_id"] or ""),
            Text(line(row["title"], 80)),
        )
    show(made)


@asynccontextmanager
async def _opened() -> "AsyncGenerator[tuple[PolicyWatch, Oversight]]":
    from chimera.guards.policy.registry import Parts
    from chimera.guards.policy.watch import PolicyWatch

    async with open_records() as records:
        oversight = records.oversight()
        yield PolicyWatch(Parts(records.settings), oversight.proposals), oversight


def _plain(policy: "Policy") -> dict[str, Any]:
    return {"digest": policy.digest, **policy.model_dump(mode="json")}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    times = {key: row[key].isoformat() if row[key] else None for key in ("proposed_at", "decided_at")}
    kept = {key: row[key] for key in ("digest", "title", "state", "proposed_by", "decided_by", "reason")}
    return {**kept, **times, "review": str(row["review_id"]) if row["review_id"] else None}


def _present(policy: "Policy") -> None:
    from chimera.cli.view.tables import table

    needs = f"{policy.changes.approval}{', four eyes' if policy.changes.four_eyes else ''}"
    show(f"{policy.title}  ({policy.digest}; a change needs {needs})")
    made = table("edge", "together within", "guards, in order")
    for edge, part in policy.edges.items():
        made.add_row(str(edge), f"{part.deadline_s:g} s", ", ".join(part.guards))
    show(made)
