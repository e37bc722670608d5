"""How long the parts of agents' steps take, as a table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from chimera.cli.view.tables import table
from chimera.cli.view.text import line

if TYPE_CHECKING:
    from rich.table import Table

_FIGURES = ("p50", "p95", "p99")


def latencies(measured: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> "Table":
    """A row for each pool and part that was measured, of :class:`chimera.store.latencies.LatencyStore`."""
    made = table("pool", "part", "times", *_FIGURES, right=("times", *_FIGURES))
    for pool, parts in measured.items():
        for part, figures in parts.items():
            times = (_time(figures[f"{name}_s"]) for name in _FIGURES)
            made.add_row(Text(line(pool, 64)), part, f"{figures['n']:,}", *times)
    return made


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1_000:.2f} ms"
