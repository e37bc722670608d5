"""The result of a mission: for people on stdout, for machines as a document, for shells as an exit code."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chimera.cli.view.output import show, write_text
from chimera.cli.view.text import clean, count, line, short, size
from chimera.cli.view.tree import STATUS
from chimera.core.contracts import Artifact, Evidence, MissionResult, MissionStatus

EXITS = {
    MissionStatus.DONE: 0,
    MissionStatus.FAILED: 1,
    MissionStatus.CANCELLED: 1,
    MissionStatus.WAITING: 3,
    MissionStatus.REJECTED: 6,
    MissionStatus.PARTIAL: 8,
}
SOURCES_SHOWN = 8
CFO_SAID = {"approve": "approved it", "escalate": "asked for a human", "reject": "rejected it"}
HEADLINE = {
    MissionStatus.DONE: "Done",
    MissionStatus.PARTIAL: "Partly done",
    MissionStatus.FAILED: "Failed",
    MissionStatus.REJECTED: "Refused",
    MissionStatus.CANCELLED: "Cancelled",
    MissionStatus.WAITING: "Waits for a human",
}


def exit_code(result: MissionResult) -> int:
    """What the shell gets."""
    return EXITS.get(result.status, 1)


def present(
    result: MissionResult,
    artifacts: Path,
    *,
    notes: Iterable[str] = (),
    payments: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Show the result: a panel on a terminal, plain paragraphs in a pipe. ``notes`` go above it."""
    facts = _facts(result, artifacts / result.mission_id, payments)
    if not sys.stdout.isatty():
        _plain(result, facts, notes)
        return
    style = STATUS.get(result.status, "white")
    parts: list[RenderableType] = [Text(clean(note), style="bold yellow") for note in notes]
    if result.answer:
        parts += [Text()] if parts else []
        parts += [Markdown(clean(result.answer), hyperlinks=False), Text()]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, lines in facts:
        table.add_row(name, Group(*(Text(text) for text in lines)))
    parts.append(table)
    title = Text(f" {_headline(result)} ", style=f"bold {style}")
    show(Panel(Group(*parts), title=title, title_align="left", border_style=style, padding=(1, 2)))


def badge(provider: str) -> str:
    """Who did the work, and plainly when it was no model."""
    if not provider:
        return ""
    return (
        f"{line(provider, 100)}  [offline rules: no language model was used]"
        if "offline" in provider
        else line(provider, 100)
    )


def _headline(result: MissionResult) -> str:
    return HEADLINE.get(result.status, str(result.status))


def _plain(result: MissionResult, facts: list[tuple[str, list[str]]], notes: Iterable[str]) -> None:
    paragraphs = [f"{_headline(result)}: mission {short(result.mission_id)}", *map(clean, notes)]
    if result.answer:
        paragraphs += ["", clean(result.answer).rstrip(), ""]
    for name, lines in facts:
        paragraphs += [f"{name}: {lines[0]}"] if len(lines) == 1 else [f"{name}:", *(f"  {text}" for text in lines)]
    write_text("\n".join(paragraphs))


def _facts(result: MissionResult, folder: Path, payments: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    usage = result.usage
    tokens = f"{count(usage.calls, 'model call')}, {usage.tokens_in:,} tokens in, {usage.tokens_out:,} out"
    facts = [
        ("Artifacts", [_artifact(item, folder) for item in result.artifacts]),
        ("Sources", _sources(result.evidence)),
        ("Missing", [line(text, 300) for text in result.unmet]),
        ("Reasons", [line(text, 400) for text in result.reasons]),
        ("Confidence", [f"{result.confidence:.2f}"] if result.answer else []),
        ("Made by", [badge(result.provider)] if result.provider else []),
        ("Cost", [f"{usage.cost} ({tokens})"]),
        ("Payments", [text for one in payments for text in payment_lines(one)]),
        ("Trail", [result.trail] if result.trail else []),
        ("Mission", [result.mission_id]),
    ]
    return [(name, lines) for name, lines in facts if lines]


def payment_lines(one: Mapping[str, Any]) -> list[str]:
    """A payment in a few lines: how far it came, who decided, and where it can be seen."""
    made = one["state"] in ("captured", "delivered", "paid_undelivered", "refunded")
    head = f"{one['amount']} to {line(one['payee'], 60)}: {str(one['state']).replace('_', ' ')}"
    why = "" if made or not one["why"] else f" ({line(one['why'], 200)})"
    agreed = f"; agreed: {', '.join(line(name, 60) for name in one['agreed'])}" if one["agreed"] else ""
    verdict = CFO_SAID.get(one["cfo"], "gave no verdict")
    lines = [head + why, f"  the CFO {verdict}{agreed}"]
    if one["transaction"]:
        lines.append(f"  transaction {line(one['transaction'], 70)}{' on the local chain' if one['local'] else ''}")
    return [*lines, *(["  a chain on this machine: its money is worth nothing"] if one["local"] and made else [])]


def _artifact(item: Artifact, folder: Path) -> str:
    return f"{line(item.name, 64)}  {size(item.size)}  {line(folder / item.name, 400)}"


def _sources(evidence: Iterable[Evidence]) -> list[str]:
    """Each source once, with the pieces of it that the answer rests on."""
    pieces: dict[str, list[str]] = {}
    digests: dict[str, str] = {}
    for item in evidence:
        pieces.setdefault(item.source, []).append(item.id)
        digests.setdefault(item.source, item.sha256)
    return [
        f"{line(source, 300)}  {count(len(ids), 'piece')}, {line(ids[0], 60)}{' …' if len(ids) > 1 else ''}"
        f"{f'  sha256 {digests[source][:12]}' if digests[source] else ''}"
        for source, ids in list(pieces.items())[:SOURCES_SHOWN]
    ] + ([f"and {count(len(pieces) - SOURCES_SHOWN, 'more source')}"] if len(pieces) > SOURCES_SHOWN else [])
