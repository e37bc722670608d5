"""``chimera eval injection``: measure, print, and say whether every goal holds."""

import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chimera.core.figures import print_json
from chimera.core.errors import InputError
from chimera.evals.injection.figures import GOALS, Evaluated, evaluate_injection


def main_injection(data: Path | None, *, quick: bool, as_json: bool) -> int:
    """Evaluate and print; the exit code is 0 when every goal holds, else 1.

    Raises:
        InputError: there is no usable data.
    """
    evaluated = evaluate_injection(data or _default_folder(), quick=quick)
    if as_json:
        print_json(evaluated.measured.plain())
    else:
        print_evaluated(evaluated, Console())
    return 1 if evaluated.measured.missed else 0


def print_evaluated(evaluated: Evaluated, console: Console) -> None:
    """The figures, by source and by obfuscation."""
    figures = Table(title="Injection filter", title_justify="left")
    for name in ("figure", "value", "goal"):
        figures.add_column(name)
    for key, value in evaluated.figures.items():
        op, goal = GOALS.get(key, ("", ""))
        figures.add_row(key, f"{value:g}", f"{op} {goal}".strip())
    console.print(figures)
    sources = Table(title="By source, each scored by a model that never saw it", title_justify="left")
    for name in evaluated.sources[0]:
        sources.add_column(name.replace("_at_", " at "), justify="left" if name == "source" else "right")
    for line in evaluated.sources:
        sources.add_row(*("" if value is None else f"{value}" for value in line.values()))
    console.print(sources)
    changed = Table(title="Recall of the same attacks under obfuscation", title_justify="left")
    for name in ("obfuscation", "recall"):
        changed.add_column(name)
    changed.add_row("none", f"{evaluated.conditions['obfuscations_plain_recall']:g}")
    for name, value in evaluated.obfuscations.items():
        changed.add_row(name, f"{value:g}")
    console.print(changed)
    missed = evaluated.measured.missed
    console.print(f"[bold red]FAIL[/] {', '.join(missed)}" if missed else "[bold green]PASS[/]")


def _default_folder() -> Path:
    root = os.environ.get("CHIMERA_DATA")
    if not root:
        raise InputError("no labelled texts", remedy="Name a folder with --data, or set CHIMERA_DATA.")
    return Path(root) / "security"
