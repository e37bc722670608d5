"""``chimera eval discovery``: measure, print, and say whether every goal holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from chimera.core.figures import report
from chimera.evals.discovery.figures import evaluate_discovery

_METHODS = ("bm25", "mix", "words", "dense")


def main_discovery(folders: Sequence[Path], *, quick: bool, as_json: bool) -> int:
    """Evaluate and print; the exit code is 0 when every goal holds, else 1.

    Raises:
        InputError: there is no set, or one cannot be read.
    """
    measured = evaluate_discovery(folders, quick=quick)
    if not as_json:
        table = Table(title="nDCG@10/R@5", title_justify="left", box=SIMPLE)
        for heading in ("set", "weights", *_METHODS):
            table.add_column(heading, no_wrap=True)
        for name, told in measured.conditions["sets"].items():
            table.add_row(
                name,
                "shipped" if told["weights"] == "as shipped" else "held out",
                *(_shown(told, method) for method in _METHODS),
            )
        console = Console()
        console.print(table)
        console.print(f"dense model: {measured.conditions['dense_model']}", markup=False)
    return report(measured, as_json=as_json)


def _shown(told: Mapping[str, Any], method: str) -> str:
    gain, recall = told.get(f"ndcg10_{method}"), told.get(f"recall5_{method}")
    return "" if gain is None else f"{gain:.3f}/{recall:.3f}"
