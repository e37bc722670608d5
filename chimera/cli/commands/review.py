"""``chimera review``: the questions that wait for a human, and their answers."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.attending import Showing
from chimera.cli.opening import open_records
from chimera.cli.options import By, Json, Quiet
from chimera.cli.running import Stop, run
from chimera.cli.view.output import emit, interactive, show, tell
from chimera.cli.view.text import short
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.cli.opening import Records
    from chimera.core.contracts import ReviewItem

app = typer.Typer(help="The questions that wait for a human.", no_args_is_help=True)

Item = Annotated[str, typer.Argument(metavar="ITEM", help="Id of a review item, or its first digits.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; goes on the record and back to the planner.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the mission at once.")]


@app.command("ls")
def ls_command(
    mission: Annotated[str | None, typer.Option(metavar="MISSION", help="Only those of this mission.")] = None,
    json: Json = False,
) -> None:
    """List the open questions, oldest first."""
    run(_ls(mission, json))


async def _ls(mission: str | None, json: bool) -> None:
    async with open_records() as records:
        mission_id = await records.missions.find(mission) if mission else None
        items = await records.reviews.pending(mission_id)
    if json:
        emit({"reviews": [item.plain() for item in items]})
    elif not items:
        tell("Nothing waits for a human.")
    else:
        from chimera.cli.view.tables import reviews_table

        show(reviews_table(items))


@app.command("show")
def show_command(item: Item, json: Json = False) -> None:
    """Show a question with all that is needed to answer it."""
    run(_show(item, json))


async def _show(item: str, json: bool) -> None:
    async with open_records() as records:
        found = await records.reviews.find(item)
        decision = await records.reviews.decision(found.id)
        now = await _changes_now(records, found) if decision is None else {}
    if json:
        emit({**found.plain(), "decision": decision.plain() if decision else None, **({"now": now} if now else {})})
        return
    from chimera.cli.view.question import policy_changes, question

    show(question(found))
    if now:
        tell("Since it was put forward another policy came in force. Compared with that one:")
        show(policy_changes({**found.payload, **now}))
    if decision:
        tell(f"Answered: {decision.action} by {decision.reviewer} {decision.reason}")
        return
    given = short(found.id)
    from chimera.review.answers import editable

    edit = [] if editable(found) is None else [f"edit {given}"]
    for command in (f"approve {given}", *edit, f"reject {given} --reason WHY"):
        tell(f"  chimera review {command}")


async def _changes_now(records: "Records", item: "ReviewItem") -> dict[str, Any]:
    """What a policy would change by now, if that is something else than what the question shows."""
    if item.payload.get("kind") != "policy":
        return {}
    now = await records.oversight().proposals.now(str(item.payload["digest"]))
    return now if now["compared_with"] != item.payload.get("compared_with") else {}


@app.command("approve")
def approve_command(
    item: Item, reason: Reason = "", by: By = None, resume: Resume = False, quiet: Quiet = False, json: Json = False
) -> None:
    """Say yes to exactly what was shown."""
    _decide(item, "approve", reason, by, Showing(quiet=quiet, json=json), resume=resume)


@app.command("reject")
def reject_command(
    item: Item, reason: Reason = "", by: By = None, resume: Resume = False, quiet: Quiet = False, json: Json = False
) -> None:
    """Say no, and why."""
    if not reason.strip():
        raise InputError("a rejection needs a reason", remedy="Give --reason; the planner and the record use it.")
    _decide(item, "reject", reason, by, Showing(quiet=quiet, json=json), resume=resume)


@app.command("edit")
def edit_command(
    item: Item,
    payload: Annotated[
        str | None, typer.Option(metavar="FILE", help="The edited payload as JSON; - is stdin. Default: $EDITOR.")
    ] = None,
    reason: Reason = "",
    by: By = None,
    resume: Resume = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Change what was shown, and say yes to that."""
    if payload is None and not interactive():
        raise InputError("there is no terminal to edit in", remedy="Give the edited payload with --payload FILE.")
    text = _read(payload) if payload is not None else None
    _decide(item, "edit", reason, by, Showing(quiet=quiet, json=json), resume=resume, text=text)


def _decide(
    item: str, action: str, reason: str, by: str | None, showing: Showing, *, resume: bool, text: str | None = None
) -> None:
    found, status = run(_record(item, action, reason, by, text))
    goes_on = status in ("running", "waiting")
    if resume and goes_on:
        from chimera.cli.commands.resuming import resume as resume_mission

        stop = Stop()
        run(resume_mission(str(found.mission_id), showing, stop), stop)
    elif showing.json:
        emit({"item": found.id, "mission_id": found.mission_id, "action": action, "mission_status": status})
    else:
        tell(f"Recorded: {action} on review {short(found.id)}.")
        if goes_on:
            tell(f"Go on with the mission: chimera resume {short(found.mission_id)}")


async def _record(
    item: str, action: str, reason: str, by: str | None, text: str | None
) -> tuple["ReviewItem", str | None]:
    """Give the answer; return the item and the status of its mission, if it has one."""
    from chimera.cli.reviewing import edited, read_payload
    from chimera.cli.typing_in import TypedLines
    from chimera.core.contracts import ReviewDecision
    from chimera.guards.permissions.first import local_user

    async with open_records() as records:
        found = await records.reviews.find(item)
        changed = None
        if action == "edit":
            changed = await edited(found, TypedLines()) if text is None else read_payload(found, text)
        decision = ReviewDecision.model_validate(
            {
                "action": action,
                "reviewer": (by or local_user())[:200],
                "reason": reason.strip()[:4_000],
                "payload": changed,
            }
        )
        await records.oversight().decisions.answer(found.id, decision)
        mission = await records.missions.get(found.mission_id) if found.mission_id else None
        return found, str(mission["status"]) if mission else None


def _read(source: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{source} cannot be read: {why}", remedy="Give a JSON file with --payload.") from None
