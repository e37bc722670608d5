"""The commands of ``chimera review`` with which people share questions: claim, ask, hand on, decide many, take back."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import By, Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.cli.view.text import line, short
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.cli.opening import Records
    from chimera.guards.decisions import Decisions

Item = Annotated[str, typer.Argument(metavar="ITEM", help="Id of a review item, or its first digits.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; goes on the record.")]
Version = Annotated[
    int | None, typer.Option("--version", metavar="N", min=1, help="Only if it still is this version, as `show` said.")
]
Grace = Annotated[
    float,
    typer.Option("--grace", metavar="SECONDS", min=0, max=3_600, help="How long it can be taken back; default: not."),
]


def claim_command(item: Item, by: By = None, json: Json = False) -> None:
    """Have a question for some minutes; nobody else answers it meanwhile."""

    async def work(decisions: "Decisions", who: str, _: "Records") -> dict[str, Any]:
        until = await decisions.desk.claim(item, who)
        return {"item": item, "claimed_by": who, "claimed_until": until.isoformat()}

    _done(work, by, json, lambda told: f"It is yours until {told['claimed_until'][:19]}Z.")


def release_command(item: Item, by: By = None, json: Json = False) -> None:
    """Let go of a question that you have."""

    async def work(decisions: "Decisions", who: str, _: "Records") -> dict[str, Any]:
        return {"item": item, "released": await decisions.desk.release(item, who)}

    _done(work, by, json, lambda told: "Anybody can take it." if told["released"] else "You did not have it.")


def ask_command(
    item: Item,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What you want to know.")],
    by: By = None,
    json: Json = False,
) -> None:
    """Ask whoever did the work; the mission goes on once to answer, and the question is open again."""

    async def work(decisions: "Decisions", who: str, _: "Records") -> dict[str, Any]:
        number = await decisions.desk.ask(item, who, question)
        card = await decisions.desk.card(item)
        return {"item": card.item.id, "mission_id": card.item.mission_id, "number": number}

    _done(
        work, by, json, lambda told: f"Asked. A server answers soon; else: chimera resume {short(told['mission_id'])}"
    )


def reassign_command(
    item: Item,
    to: Annotated[str, typer.Argument(metavar="WHOM", help="A person, or role:NAME.")],
    reason: Why = "",
    version: Version = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Hand a question to a person or a role."""

    async def work(decisions: "Decisions", who: str, _: "Records") -> dict[str, Any]:
        handed = await decisions.desk.reassign(item, who, to, reason, version=version)
        return {"item": item, "assigned_to": handed.to, "version": handed.version}

    _done(work, by, json, lambda told: f"It is with {told['assigned_to']} now.")


def escalate_command(item: Item, reason: Why = "", version: Version = None, by: By = None, json: Json = False) -> None:
    """Hand a question to the next of its chain."""

    async def work(decisions: "Decisions", who: str, _: "Records") -> dict[str, Any]:
        handed = await decisions.desk.escalate(item, who, reason, version=version)
        return {"item": item, "assigned_to": handed.to, "version": handed.version}

    _done(work, by, json, lambda told: f"It is with {told['assigned_to']} now.")


def undo_command(
    item: Annotated[str | None, typer.Argument(metavar="ITEM", help="A question; or give --batch.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", metavar="ID", help="A bulk decision.")] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Take a decision back that nobody has acted upon."""
    if (item is None) == (batch is None):
        raise InputError("name one question, or one bulk decision", remedy="`undo ITEM`, or `undo --batch ID`.")

    async def work(decisions: "Decisions", who: str, _: "Records") -> dict[str, Any]:
        return {"undone": await decisions.desk.undo(who, item_id=item, batch=batch)}

    _done(work, by, json, lambda told: f"Open again: {', '.join(short(one) for one in told['undone'])}")


def bulk_command(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="approve or reject.")],
    point: Annotated[str, typer.Option("--point", metavar="NAME", help="content, quality, security, ...")],
    kind: Annotated[str, typer.Option("--kind", metavar="NAME", help="result, plan, call, give_up, ...")],
    amount: Annotated[
        int | None,
        typer.Option("--below", metavar="UNITS", min=0, help="Most money of each; never above the settings."),
    ] = None,
    mission: Annotated[str | None, typer.Option(metavar="MISSION", help="Only those of this mission.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 1_000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which they are.")] = False,
    reason: Why = "",
    grace: Grace = 0.0,
    tenant: Tenant = "default",
    by: By = None,
    json: Json = False,
) -> None:
    """Approve or reject all open questions of one point and one kind that are about little."""
    if action not in ("approve", "reject"):
        raise InputError(f"{action[:40]!r} is neither approve nor reject", remedy="Edits are made one by one.")

    async def work(decisions: "Decisions", who: str, records: "Records") -> dict[str, Any]:
        from chimera.guards.bulk import Alike

        mission_id = await records.missions.find(mission) if mission else None
        alike = Alike(tenant, point, kind, amount, mission_id, limit=limit)
        if dry_run:
            found = [asked.item.id for asked in await decisions.bulk.found(alike, who)]
            return {"batch": None, "action": action, "items": found, "left": []}
        verdict = "approve" if action == "approve" else "reject"
        done = await decisions.bulk.decide(alike, verdict, who, reason, grace_s=grace)
        return {"batch": done.batch, "action": action, "items": done.items, "left": done.left}

    def told(done: dict[str, Any]) -> str:
        if done["batch"] is None:
            return f"{len(done['items'])} would be decided: {', '.join(short(one) for one in done['items'][:20])}"
        left = f", {len(done['left'])} were changed meanwhile and stay open" if done["left"] else ""
        undo = f" To take it back: chimera review undo --batch {done['batch']}" if grace else ""
        return f"Recorded: {action} on {len(done['items'])} questions{left}.{undo}"

    _done(work, by, json, told)


def guidance_command(
    remove: Annotated[str | None, typer.Option("--remove", metavar="ID", help="Remove this line.")] = None,
    tenant: Tenant = "default",
    by: By = None,
    json: Json = False,
) -> None:
    """List what planners and workers are told of earlier reviews, or remove a line of it."""
    if remove is None:
        run(_guidance(tenant, json))
        return

    async def work(decisions: "Decisions", who: str, _: "Records") -> dict[str, Any]:
        return {"removed": await decisions.desk.remove_guidance(tenant, remove, who)}

    _done(work, by, json, lambda told: f"Nobody is told any more: {line(told['removed'])}")


async def _guidance(tenant: str, json: bool) -> None:
    from chimera.review.guidance import Guidance

    async with open_records() as records:
        lines = await Guidance(records.pool).listed(tenant)
    if json:
        emit({"guidance": [{**one, "created_at": one["created_at"].isoformat()} for one in lines]})
    elif not lines:
        tell("Nobody is told anything: no rejection and no edit had a reason.")
    else:
        from chimera.cli.view.tables import guidance_table

        show(guidance_table(lines))


Done = Callable[["Decisions", str, "Records"], Coroutine[Any, Any, dict[str, Any]]]


def _done(work: Done, by: str | None, json: bool, words: Callable[[dict[str, Any]], str]) -> None:
    """Do something in somebody's name, and say what came of it."""
    told = run(_work(work, by))
    if json:
        emit(told)
    else:
        tell(words(told))


async def _work(work: Done, by: str | None) -> dict[str, Any]:
    from chimera.guards.permissions.first import local_user

    async with open_records() as records:
        decisions, who = records.oversight().decisions, (by or local_user())[:200]
        return await work(decisions, who, records)
