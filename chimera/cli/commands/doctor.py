"""``chimera doctor``: what is used, what is wrong, and what helps."""

from typing import TYPE_CHECKING

import typer

from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, stderr
from chimera.cli.view.text import count

if TYPE_CHECKING:
    from chimera.cli.checks import Finding

MARKS = {"ok": ("✓", "green"), "note": ("·", "dim"), "problem": ("✗", "bold red")}


def doctor_command(json: Json = False) -> None:
    """Check settings, servers, model and tools, each with its own remedy. Works when they are broken."""
    from contextlib import nullcontext

    from chimera.cli.checks import examine

    console = stderr()
    with console.status("looking …") if console.is_terminal and not json else nullcontext():
        findings = run(examine())
    wrong = [found for found in findings if found.state == "problem"]
    if json:
        emit({"ok": not wrong, "checks": [vars(found) for found in findings]})
    else:
        _present(findings, len(wrong))
    raise typer.Exit(1 if wrong else 0)


def _present(findings: "list[Finding]", wrong: int) -> None:
    from rich.table import Table
    from rich.text import Text

    report = Table.grid(padding=(0, 2, 0, 0))
    report.add_column(no_wrap=True)
    report.add_column(no_wrap=True)
    report.add_column(overflow="fold")
    for found in findings:
        mark, style = MARKS[found.state]
        report.add_row(Text(mark, style), found.name, Text(found.detail, "red" if found.state == "problem" else ""))
        if found.remedy:
            report.add_row("", "", Text(f"-> {found.remedy}", "yellow"))
    show(report, "", f"{count(wrong, 'problem')} found." if wrong else "Everything works.")
