"""``chimera doctor``: what is used, what is wrong, and what helps."""

import typer

from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, stderr

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
        from rich.text import Text

        wide = max(len(found.name) for found in findings)
        for found in findings:
            mark, style = MARKS[found.state]
            show(
                Text.assemble(
                    (mark, style), f" {found.name.ljust(wide)}  ", (found.detail, "red" if found in wrong else "")
                )
            )
            if found.remedy:
                show(Text(f"{' ' * (wide + 4)}-> {found.remedy}", style="yellow"))
        show("", f"{len(wrong)} problem{'s' if len(wrong) > 1 else ''} found." if wrong else "Everything works.")
    raise typer.Exit(1 if wrong else 0)
