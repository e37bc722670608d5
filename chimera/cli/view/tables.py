"""The tables of the listing commands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from chimera.cli.view.text import line, moment, short
from chimera.cli.view.tree import STATUS, status_of
from chimera.core.contracts import Usage

if TYPE_CHECKING:
    from chimera.review.work import Card


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A plain table that stays readable in a pipe: only the last column gives way when there is no room."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        justify = "right" if name in right else "left"
        made.add_column(name, justify=justify, no_wrap=name != columns[-1], overflow="fold")
    return made


def one_row(text: str) -> Text:
    """A cell of the last column that is cut to fit instead of wrapped."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def missions_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Missions as ``chimera ls`` lists them."""
    made = table("mission", "status", "started", "tokens", "cost", "goal", right=("tokens", "cost"))
    for row in rows:
        status = status_of(row)
        usage = Usage.model_validate((row["result"] or {}).get("usage") or {})
        made.add_row(
            short(row["id"]),
            Text(status, style=STATUS.get(status, "")),
            moment(row["created_at"]),
            f"{usage.tokens_in + usage.tokens_out:,}" if row["result"] else "",
            str(usage.cost) if row["result"] else "",
            one_row(line(row["goal"], 160)),
        )
    return made


def reviews_table(cards: "Iterable[Card]") -> Table:
    """Open questions as ``chimera review ls`` lists them: the most urgent first, with what makes each so."""
    names = ("item", "mission", "point", "sure", "priority", "when", "question")
    made = table(*names, right=("sure", "priority"))
    for card in cards:
        item = card.item
        # What waits is no mission, but it waits.
        own = item.payload.get("kind") in ("policy", "incident", "changed_tools")
        when = "afterwards" if item.payload.get("blocking") is False and not own else "overdue" if card.overdue else ""
        has = f"{card.claimed_by} has it" if card.claimed_by else (card.assigned_to or "").removeprefix("role:")
        made.add_row(
            short(item.id),
            short(item.mission_id or ""),
            str(item.point),
            "" if own else f"{item.confidence:.2f}",
            f"{card.priority.score:.2g}",
            Text.assemble(when or ("waiting", "magenta"), f"\n{line(has, 40)}" if has else ""),
            Text.assemble(line(item.question, 160), ("\n" + line(card.priority.words(), 200), "dim")),
        )
    return made


def guidance_table(lines: Iterable[Mapping[str, Any]]) -> Table:
    """What planners and workers are told of earlier reviews, newest first."""
    made = table("line", "persona", "said", "by", "text")
    for one in lines:
        about = line(one["about"], 40) or "(none)"
        made.add_row(short(one["id"]), about, str(one["created_at"])[:16], line(one["said_by"], 40), line(one["text"]))
    return made


def audit_table(events: Iterable[Mapping[str, Any]], *, missions: bool = True) -> Table:
    """Events of the audit log, oldest first, a line each; ``missions``: whether to say whose they are."""
    names = ("seq", "at", *(("mission",) if missions else ()), "event", "by", "hash", "data")
    made = table(*names, right=("seq",))
    for event in events:
        made.add_row(
            str(event["seq"]),
            moment(event["at"]),
            *([short(event["mission_id"] or "")] if missions else []),
            Text(line(event["kind"], 40)),
            Text(line(event["actor"], 40)),
            Text(str(event["hash"])[:8], style="dim"),
            one_row(line(" ".join(_pairs(event["data"])), 200)),
        )
    return made


def _pairs(data: Mapping[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        if isinstance(value, list):
            parts: list[Any] = value
            plain = not any(isinstance(part, dict | list) for part in parts)
            shown = ",".join(map(str, parts)) if plain else str(len(parts))
        else:
            shown = short(value) if name == "item" else str(value)
        if value not in (None, "", [], {}):
            yield f"{name}={shown}"


def checkpoints_table(checkpoints: Iterable[Any]) -> Table:
    """Checkpoints as ``chimera history`` lists them."""
    made = table("checkpoint", "saved", "step", "of", "next", right=("step",))
    for item in checkpoints:
        place = "/".join(part.partition(":")[0] for part in item.place.split("|")) or "mission"
        made.add_row(item.id, moment(item.at), str(item.step), Text(line(place, 60)), Text(", ".join(item.next)))
    return made
