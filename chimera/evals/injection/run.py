"""``chimera eval injection``: measure, print, and say whether every goal holds."""

import os
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from chimera.core.errors import InputError
from chimera.core.figures import print_json
from chimera.core.settings import load_settings
from chimera.evals.injection.figures import Evaluated, evaluate_injection
from chimera.evals.injection.peers import chosen_peers

_COLUMNS = {
    "auc": "AUC",
    "own_fpr": "own FPR",
    "own_recall": "recall",
    "ours_at_own_fpr": "ours",
    "recall_at_1fpr": "at our 1%",
    "recall_at_5fpr": "at our 5%",
    "ms": "ms",
}


def main_injection(data: Path | None, *, quick: bool, as_json: bool, peers: str = "") -> int:
    """Evaluate and print; the exit code is 0 when every goal holds, else 1.

    ``peers`` names other detectors to ask, see :func:`.chosen_peers`; their environments are made in the data folder.

    Raises:
        InputError: there is no usable data, or no such detector.
    """
    asked = chosen_peers(peers)
    folder = load_settings().home / "peers" if asked else None
    evaluated = evaluate_injection(data or _default_folder(), quick=quick, peers=asked, peer_folder=folder)
    if as_json:
        print_json(evaluated.measured.plain())
    else:
        print_evaluated(evaluated, Console())
    return 1 if evaluated.measured.missed else 0


def print_evaluated(evaluated: Evaluated, console: Console) -> None:
    """The figures, by source, by obfuscation and by detector."""
    figures = _table("Injection filter", "figure", "value", "goal")
    for key, value in evaluated.figures.items():
        op, goal = evaluated.goals.get(key, ("", ""))
        figures.add_row(key, f"{value:g}", f"{op} {goal}".strip())
    console.print(figures)
    heads = [name.replace("_at_", " at ") for name in evaluated.sources[0]]
    sources = _table("By source, each scored by a model that never saw it", *heads)
    for line in evaluated.sources:
        sources.add_row(*("" if value is None else f"{value}" for value in line.values()))
    console.print(sources)
    changed = _table("Recall of the same attacks under obfuscation", "obfuscation", "recall")
    changed.add_row("none", f"{evaluated.conditions['obfuscations_plain_recall']:g}")
    for name, value in evaluated.obfuscations.items():
        changed.add_row(name, f"{value:g}")
    console.print(changed)
    if evaluated.peers:
        _print_detectors(evaluated, console)
    missed = evaluated.measured.missed
    console.print(f"[bold red]FAIL[/] {', '.join(missed)}" if missed else "[bold green]PASS[/]")


def _print_detectors(evaluated: Evaluated, console: Console) -> None:
    table = _table("Other detectors on the same texts, thresholds out of fold", "detector", *_COLUMNS.values())
    for line in evaluated.detectors:
        shown = [f"{line[key]:.3f}" if key in line else "" for key in _COLUMNS]
        table.add_row(line["detector"], *shown)
    console.print(table)
    for line in evaluated.detectors:
        if line["unanswered"]:
            failures = evaluated.peers[line["detector"]]["failures"]
            said = ", ".join(f"{count} x {what}" for what, count in failures.items())
            console.print(f"{line['detector']} left {line['unanswered']} texts unanswered: {said}", markup=False)
    for name, peer in evaluated.peers.items():
        if "not_run" in peer:
            console.print(f"{name} was not run: {peer['not_run']}", markup=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    return table


def _default_folder() -> Path:
    root = os.environ.get("CHIMERA_DATA")
    if not root:
        raise InputError("no labelled texts", remedy="Name a folder with --data, or set CHIMERA_DATA.")
    return Path(root) / "security"
