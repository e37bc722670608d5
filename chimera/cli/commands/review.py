"""``chimera review``: the questions that wait for a human, and their answers."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.attending import Showing
from chimera.cli.commands.review_bands import bands_command, calibrate_command, report_command
from chimera.cli.commands.review_work import (
    Grace,
    Version,
    ask_command,
    bulk_command,
    claim_command,
    escalate_command,
    guidance_command,
    reassign_command,
    release_command,
    undo_command,
)
from chimera.cli.opening import open_records
from chimera.cli.options import By, Json, Quiet
from chimera.cli.running import Stop, run
from chimera.cli.view.output import emit, interactive, show, tell
from chimera.cli.view.text import short
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.cli.opening import Records
    from chimera.core.contracts import ReviewItem
    from chimera.guards.decisions import Answered

app = typer.Typer(help="The questions that wait for a human.", no_args_is_help=True)
for name, command in {
    "claim": claim_command,
    "release": release_command,
    "ask": ask_command,
    "reassign": reassign_command,
    "escalate": escalate_command,
    "undo": undo_command,
    "bulk": bulk_command,
    "guidance": guidance_command,
    "bands": bands_command,
    "calibrate": calibrate_command,
    "report": report_command,
}.items():
    app.command(name)(command)

Item = Annotated[str, typer.Argument(metavar="ITEM", help="Id of a review item, or its first digits.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; goes on the record and back to the planner.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the mission at once.")]


@app.command("ls")
def ls_command(
    mission: Annotated[str | None, typer.Option(metavar="MISSION", help="Only those of this mission.")] = None,
    point: Annotated[str | None, typer.Option(metavar="NAME", help="content, finance, policy, ...")] = None,
    kind: Annotated[str | None, typer.Option(metavar="NAME", help="plan, result, call, payment, ...")] = None,
    mine: Annotated[str | None, typer.Option("--assigned", metavar="WHOM", help="A person, or role:NAME.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant; default: all, in turn.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 200,
    json: Json = False,
) -> None:
    """List the open questions, the most urgent first, and why."""
    run(_ls(mission, point, kind, mine, tenant, limit, json))


async def _ls(
    mission: str | None,
    point: str | None,
    kind: str | None,
    mine: str | None,
    tenant: str | None,
    limit: int,
    json: bool,
) -> None:
    from chimera.review.work import Which, Work

    async with open_records() as records:
        mission_id = await records.missions.find(mission) if mission else None
        which = Which(point, kind, mission_id, [mine] if mine else None)
        cards = await Work(records.pool).listed(tenant, which, limit=limit)
    if json:
        emit({"reviews": [card.plain() for card in cards]})
    elif not cards:
        tell("Nothing waits for a human.")
    else:
        from chimera.cli.view.tables import reviews_table

        show(reviews_table(cards))


@app.command("show")
def show_command(item: Item, json: Json = False) -> None:
    """Show a question with all that is needed to answer it."""
    run(_show(item, json))


async def _show(item: str, json: bool) -> None:
    from chimera.review.moves import Moves
    from chimera.review.work import Work

    async with open_records() as records:
        card = await Work(records.pool).card((await records.reviews.find(item)).id)
        found, decision = card.item, card.decision
        notes = await Moves(records.pool).notes(found.id)
        now = await _changes_now(records, found) if decision is None else {}
    if json:
        asked = [asdict(note) for note in notes]
        emit({**card.plain(), "notes": asked, **({"now": now} if now else {})})
        return
    from chimera.cli.view.question import policy_changes, question, standing

    show(question(found))
    if now:
        tell("Since it was put forward another policy came in force. Compared with that one:")
        show(policy_changes({**found.payload, **now}))
    for told in standing(card, notes):
        tell(told)
    if decision:
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
    item: Item,
    reason: Reason = "",
    version: Version = None,
    grace: Grace = 0.0,
    by: By = None,
    resume: Resume = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Say yes to exactly what was shown."""
    _decide(_Said(item, "approve", reason, by, version, grace), Showing(quiet=quiet, json=json), resume=resume)


@app.command("reject")
def reject_command(
    item: Item,
    reason: Reason = "",
    version: Version = None,
    grace: Grace = 0.0,
    by: By = None,
    resume: Resume = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Say no, and why."""
    if not reason.strip():
        raise InputError("a rejection needs a reason", remedy="Give --reason; the planner and the record use it.")
    _decide(_Said(item, "reject", reason, by, version, grace), Showing(quiet=quiet, json=json), resume=resume)


@app.command("edit")
def edit_command(
    item: Item,
    payload: Annotated[
        str | None, typer.Option(metavar="FILE", help="The edited payload as JSON; - is stdin. Default: $EDITOR.")
    ] = None,
    reason: Reason = "",
    version: Version = None,
    grace: Grace = 0.0,
    by: By = None,
    resume: Resume = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Change what was shown, and say yes to that."""
    if payload is None and not interactive():
        raise InputError("there is no terminal to edit in", remedy="Give the edited payload with --payload FILE.")
    text = _read(payload) if payload is not None else None
    _decide(_Said(item, "edit", reason, by, version, grace, text), Showing(quiet=quiet, json=json), resume=resume)


@dataclass(frozen=True)
class _Said:
    """A decision as it was typed. ``text``: the edited payload; None: it is asked for."""

    item: str
    action: str
    reason: str
    by: str | None
    version: int | None
    grace_s: float
    text: str | None = None


def _decide(said: _Said, showing: Showing, *, resume: bool) -> None:
    answered, status = run(_record(said))
    found = answered.item
    goes_on = status in ("running", "waiting") and answered.state == "decided" and not said.grace_s
    if resume and goes_on:
        from chimera.cli.commands.resuming import resume as resume_mission

        stop = Stop()
        run(resume_mission(str(found.mission_id), showing, stop), stop)
    elif showing.json:
        told = {"item": found.id, "mission_id": found.mission_id, "action": said.action, "mission_status": status}
        until = answered.acts_at.isoformat() if answered.acts_at and said.grace_s else None
        emit({**told, "state": answered.state, "missing": answered.missing, "undo_until": until})
    else:
        tell(f"Recorded: {said.action} on review {short(found.id)}.{_what_comes(answered, status)}")
        if said.grace_s and answered.state == "decided":
            tell(f"Within {said.grace_s:g} s it can be taken back: chimera review undo {short(found.id)}")
        if goes_on:
            tell(f"Go on with the mission: chimera resume {short(found.mission_id)}")


def _what_comes(answered: "Answered", status: str | None) -> str:
    if answered.state == "agreed":
        return f" {answered.missing} more of other people have to agree."
    if answered.state == "late":
        return f" It came too late, as the mission is {status} or went on: nothing comes of it."
    return ""


async def _record(said: _Said) -> tuple["Answered", str | None]:
    """Give the answer; return what became of it and the status of its mission, if it has one."""
    from chimera.cli.reviewing import edited, read_payload
    from chimera.cli.typing_in import TypedLines
    from chimera.core.contracts import ReviewDecision
    from chimera.guards.permissions.first import local_user

    async with open_records() as records:
        found = await records.reviews.find(said.item)
        changed = None
        if said.action == "edit":
            typed = said.text is None
            changed = await edited(found, TypedLines()) if typed else read_payload(found, said.text or "")
        decision = ReviewDecision.model_validate(
            {
                "action": said.action,
                "reviewer": (said.by or local_user())[:200],
                "reason": said.reason.strip()[:4_000],
                "payload": changed,
            }
        )
        answered = await records.oversight().decisions.answer(
            found.id, decision, version=said.version, grace_s=said.grace_s
        )
        mission = await records.missions.get(found.mission_id) if found.mission_id else None
        return answered, str(mission["status"]) if mission else None


def _read(source: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{source} cannot be read: {why}", remedy="Give a JSON file with --payload.") from None
