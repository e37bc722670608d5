"""One question to a human, with all that is needed to answer it."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chimera.cli.view.text import clean, line, short
from chimera.core.contracts import Plan, ReviewItem

if TYPE_CHECKING:
    from chimera.review.moves import Note
    from chimera.review.work import Card

PAYLOAD_SHOWN = 6_000


def question(item: ReviewItem) -> Panel:
    """The question with its payload and reasons."""
    parts: list[RenderableType] = [Text(clean(item.question), style="bold"), Text()]
    parts.append(payload(item.payload))
    parts += [Text.assemble(("because ", "dim"), line(reason, 400)) for reason in item.reasons]
    if item.payload.get("kind") not in ("policy", "incident", "changed_tools"):
        parts.append(Text(f"confidence {item.confidence:.2f}", style="dim"))
    title = Text(f"{item.point} review {short(item.id)}", style="bold magenta")
    return Panel(Group(*parts), title=title, title_align="left", border_style="magenta")


def standing(card: "Card", notes: "Sequence[Note]") -> list[str]:
    """How a question stands, in lines: its version and urgency, who has it, what was asked back, what was answered."""
    told = [f"Version {card.version}; priority {card.priority.score:.2g}: {card.priority.words()}"]
    if card.claimed_by:
        told.append(f"{line(card.claimed_by, 60)} has it until {card.claimed_until:%H:%M:%S} UTC.")
    elif card.assigned_to and card.decision is None:
        late = " Nobody of its chain answered in time." if card.overdue else ""
        told.append(f"It is with {line(card.assigned_to, 60)}, due {card.due_at:%Y-%m-%d %H:%M} UTC.{late}")
    if card.needs > 1 and card.decision is None:
        told.append(f"{card.agreed} of {card.needs} people have agreed.")
    for note in notes:
        told.append(f"{line(note.asked_by, 60)} asked: {line(note.question, 400)}")
        told.append(f"  {line(note.replied_by, 60)}: {line(note.reply, 1_000)}" if note.reply else "  no answer yet")
    if card.decision:
        said = card.decision
        late = " It came too late, and nothing comes of it." if card.state == "late" else ""
        told.append(f"Answered: {said.action} by {line(said.reviewer, 60)} {line(said.reason, 400)}".rstrip() + late)
        if card.undo_until:
            told.append(
                f"It can be taken back until {card.undo_until:%H:%M:%S} UTC: chimera review undo {short(card.item.id)}"
            )
    return told


def payload(content: dict[str, Any]) -> RenderableType:
    """What is to be approved: a plan as a table, an answer as text, a tool call with its arguments, else JSON.

    A policy is shown as what it changes, an incident as what happened, tools as what they say now and said before.
    """
    if content.get("kind") == "plan":
        return plan_table(Plan.model_validate(content["plan"]))
    if content.get("kind") == "result":
        return Text(_cut(str(content.get("answer", ""))))
    if content.get("kind") == "policy":
        return policy_changes(content)
    if content.get("kind") == "incident":
        return incident_table(content)
    if content.get("kind") == "changed_tools":
        return tool_changes(content)
    if "capability" in content:
        call = Text.assemble(("tool ", "dim"), (line(content["capability"], 120), "bold"))
        return Group(call, Text(_cut(_json(content.get("arguments", {})))))
    return Text(_cut(_json(content)))


def plan_table(plan: Plan) -> Table:
    """The tasks of a plan: what, with which tools and how often, after which others, at what estimated cost."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("task", "title", "tools", "after", "tokens", "confidence"):
        right = name in ("tokens", "confidence")
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "task", overflow="fold")
    for task in plan.tasks:
        table.add_row(
            Text(task.id),
            Text(line(task.title, 120)),
            Text(", ".join(allowance(task.plain())) or "none"),
            Text(", ".join(task.depends_on)),
            Text(f"~{task.cost_tokens:,}" if task.cost_tokens else "-"),  # nought is no estimate
            Text(f"{task.confidence:.2f}"),
        )
    for missing in plan.unmet:
        table.add_row(Text("!", style="yellow"), Text(f"not covered: {line(missing, 200)}", style="yellow"))
    return table


def allowance(task: dict[str, Any]) -> list[str]:
    """The tools of a task, and how often it may call those that have an effect: ``desk__send ×2``."""
    limits: dict[str, int] = task.get("limits") or {}
    return [line(tool, 80) + (f" ×{limits[tool]}" if tool in limits else "") for tool in task["tools"]]


def policy_changes(content: dict[str, Any]) -> RenderableType:
    """What a policy changes of the one that was in force when it was put forward: a line for each thing."""
    found = Table(box=None, pad_edge=False, header_style="dim")
    found.add_column("in the policy", no_wrap=True)
    found.add_column("what changes", overflow="fold")
    changes: Mapping[str, Sequence[str]] = content.get("changes") or {}
    for place, lines in changes.items():
        for number, said in enumerate(lines):
            found.add_row(Text("" if number else line(place, 60)), Text(line(said, 400)))
    compared = line(content.get("compared_with", ""), 8)
    about = Text(f"policy {line(content.get('digest', ''), 32)}, compared with {compared}", style="dim")
    return Group(found, about)


def tool_changes(content: dict[str, Any]) -> RenderableType:
    """What a tool server says now, beside what was pinned of it: a line for each part of each tool."""
    found = Table(box=None, pad_edge=False, header_style="dim")
    found.add_column("tool", no_wrap=True)
    found.add_column("what changed", overflow="fold")
    changes: Sequence[Mapping[str, Any]] = content.get("changes") or []
    for change in changes:
        style = "yellow" if change.get("held") else "dim"
        found.add_row(Text(line(change.get("tool", ""), 60), style=style), Text(line(change.get("said", ""), 300)))
        parts: Mapping[str, Mapping[str, Any]] = change.get("parts") or {}
        for part, texts in parts.items():
            for when in ("before", "now"):
                if texts.get(when) is not None:
                    found.add_row("", Text.assemble((f"{part} {when} ", "dim"), _cut(str(texts[when]))))
    about = f"server {line(content.get('server', ''), 60)} {line(content.get('version', ''), 40)}"
    return Group(found, Text(f"{about}, which is {line(content.get('identity', ''), 200)}", style="dim"))


def incident_table(content: dict[str, Any]) -> Table:
    """What happened, and who is held back for it."""
    found = Table(box=None, pad_edge=False, show_header=False)
    for name in ("incident", "agent", "pool", "edge", "rule", "threat"):
        found.add_row(Text(name, style="dim"), Text(line(content.get(name, ""), 200)))
    held: Sequence[Any] = content.get("quarantined") or ["nobody"]
    found.add_row(Text("held back", style="dim"), Text(line(", ".join(map(str, held)), 400)))
    return found


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2)


def _cut(text: str) -> str:
    safe = clean(text)
    more = len(safe) - PAYLOAD_SHOWN
    return safe if more <= 0 else f"{safe[:PAYLOAD_SHOWN]}\n… {more:,} characters more: `chimera review show` has all"
