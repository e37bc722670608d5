"""What the answers of the frameworks come to: a row for each of them and each size, and ratios to bare LangGraph."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chimera.bench.peers.asking import Load, Seen
from chimera.bench.peers.known import BARE, OURS, Peer
from chimera.core.figures import Goal

OK, LATE, FAILED, NOT_TRIED = "ok", "time limit", "failed", "not tried"
MEMORY_FROM = 10
"""Agents in flight from which on the growth of a process says something about one of them."""
_COLUMNS = (
    "in flight",
    "framework",
    "CPU ms/run",
    "x",
    "runs/s",
    "x",
    "added p50",
    "added p99",
    "KB/agent",
    "x",
    "calls",
)


@dataclass(frozen=True)
class Row:
    """One framework with ``size`` agents in flight. ``state``: whether all runs ended, and well, or what came between.

    Figures are CPU milliseconds and model calls per run, runs per second, milliseconds beyond the model's own time, and
    kilobytes of resident memory per agent in flight; none where not all runs ended, as half a run says nothing of one.
    """

    peer: str
    size: int
    state: str
    why: str = ""
    runs: int = 0
    done: int = 0
    wrong: int = 0
    errors: int = 0
    cpu_ms: float = 0.0
    runs_per_s: float = 0.0
    added_p50_ms: float = 0.0
    added_p99_ms: float = 0.0
    kb_per_agent: float = 0.0
    calls: float = 0.0
    machine_load: float = 0.0


def row_of(peer: Peer, load: Load, seen: Seen, machine_load: float = 0.0) -> Row:
    """The row of one answer; ``machine_load``: the load average of the machine before it."""
    late = seen.timed_out and not seen.errors
    reached = seen.done == load.runs and not seen.errors and not seen.wrong
    state = OK if reached else LATE if late else FAILED
    row = Row(
        peer=peer.name,
        size=load.in_flight,
        state=state,
        why=seen.error or (f"{seen.done} of {load.runs} runs within {load.limit_s:.0f} s" if late else ""),
        runs=load.runs,
        done=seen.done,
        wrong=seen.wrong,
        errors=seen.errors,
        machine_load=round(machine_load, 2),
    )
    if not reached or len(seen.added_ms) < 2:
        return row
    return replace(
        row,
        cpu_ms=round(seen.cpu_s / seen.done * 1_000, 3),
        runs_per_s=round(seen.done / seen.clock_s, 2),
        added_p50_ms=round(seen.added_ms[0], 1),
        added_p99_ms=round(seen.added_ms[1], 1),
        kb_per_agent=round(seen.peak_kb / load.in_flight, 1) if load.in_flight >= MEMORY_FROM else 0.0,
        calls=round(seen.calls / seen.done, 2),
    )


def ratios(row: Row, bare: Row | None) -> dict[str, float]:
    """How often bare LangGraph's figure goes into that of a row; nothing where one of the two did not end well."""
    if bare is None or row.state != OK or bare.state != OK:
        return {}
    pairs = {
        "cpu_ratio": (row.cpu_ms, bare.cpu_ms),
        "rate_ratio": (row.runs_per_s, bare.runs_per_s),
        "kb_ratio": (row.kb_per_agent, bare.kb_per_agent),
    }
    return {name: round(own / other, 2) for name, (own, other) in pairs.items() if other}


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """Every figure under ``FRAMEWORK_SIZE_FIGURE``, and over all rows what went wrong."""
    bare = _bare(rows)
    found: dict[str, float] = {}
    for row in rows:
        if row.state == OK:
            own = {
                "cpu_ms": row.cpu_ms,
                "runs_per_s": row.runs_per_s,
                "added_p50_ms": row.added_p50_ms,
                "added_p99_ms": row.added_p99_ms,
                "calls": row.calls,
                **({"kb_per_agent": row.kb_per_agent} if row.size >= MEMORY_FROM else {}),
                **ratios(row, bare.get(row.size)),
            }
            found |= {f"{row.peer}_{row.size}_{name}": value for name, value in own.items()}
    ours = [row for row in rows if row.peer == OURS]
    return {
        **found,
        "rows": len(rows),
        "rows_ok": sum(row.state == OK for row in rows),
        "wrong_results": sum(row.wrong for row in rows),
        **({"chimera_errors": sum(row.errors for row in ours)} if ours else {}),
    }


def goals(rows: Iterable[Row]) -> dict[str, Goal]:
    """No framework gave a wrong result, and Chimera no error: a peer's speed is nobody's goal."""
    ours: dict[str, Goal] = {"chimera_errors": ("==", 0)} if any(row.peer == OURS for row in rows) else {}
    return {"wrong_results": ("==", 0), **ours}


def table(rows: Sequence[Row], peers: Sequence[Peer], conditions: Mapping[str, Any]) -> str:
    """The rows for people, and beside each framework what it leaves out."""
    bare = _bare(rows)
    cells = [_COLUMNS, *(_cells(row, ratios(row, bare.get(row.size))) for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(_COLUMNS))]
    lines = [
        f"peers: {conditions['cpu']}, {conditions['cores']} cores, load {conditions['load_at_start']} at the start",
        f"x: to {BARE} at the same size in this run. Times in milliseconds, beyond the model's own.",
    ]
    for row, line in zip([None, *rows], cells, strict=True):
        padded = [
            text.ljust(width) if at == 1 else text.rjust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(padded) + (f"  {row.state}: {row.why}" if row and row.state != OK else ""))
    for peer in peers:
        version = conditions["peers"][peer.name]["version"]
        lines += ["", f"{peer.title} {version}".strip()]
        lines += [f"  {what}: {words}" for what, words in peer.missing().items() if words]
    return "\n".join(lines)


def _bare(rows: Iterable[Row]) -> dict[int, Row]:
    return {row.size: row for row in rows if row.peer == BARE}


def _cells(row: Row, own: Mapping[str, float]) -> tuple[str, ...]:
    if row.state != OK:
        return (f"{row.size:,}", row.peer, *["-"] * (len(_COLUMNS) - 2))
    times = {name: f"{own[name]:.2f}" if name in own else "-" for name in ("cpu_ratio", "rate_ratio", "kb_ratio")}
    return (
        f"{row.size:,}",
        row.peer,
        f"{row.cpu_ms:.2f}",
        times["cpu_ratio"],
        f"{row.runs_per_s:,.1f}",
        times["rate_ratio"],
        f"{row.added_p50_ms:,.0f}",
        f"{row.added_p99_ms:,.0f}",
        f"{row.kb_per_agent:,.1f}" if row.size >= MEMORY_FROM else "-",
        times["kb_ratio"],
        f"{row.calls:g}",
    )
