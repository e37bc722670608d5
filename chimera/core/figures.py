"""The one JSON object that every benchmark and evaluation gives: conditions, figures, goals, and whether they hold."""

import json
import operator
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

Goal = tuple[str, float]
"""A sign and a number: what a figure has to be."""
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}


@dataclass(frozen=True)
class Measured:
    """What a run measured, under which conditions, and what it has to reach."""

    name: str
    conditions: Mapping[str, Any]
    figures: Mapping[str, float]
    goals: Mapping[str, Goal]

    @property
    def missed(self) -> list[str]:
        """The goals that do not hold."""
        return missed(self.figures, self.goals)

    def plain(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return {
            "name": self.name,
            "conditions": dict(self.conditions),
            "figures": dict(self.figures),
            "goals": {name: list(goal) for name, goal in self.goals.items()},
            "pass": not self.missed,
        }

    def table(self) -> str:
        """The same for people: a line per figure, with its goal."""
        wide = max((len(name) for name in self.figures), default=0)
        lines = [f"{self.name}: {self.conditions.get('machine')}, {self.conditions.get('cores')} cores"]
        for name, value in self.figures.items():
            sign, wanted = self.goals.get(name, ("", 0.0))
            goal = f"  {sign} {wanted:,g}{'  MISSED' if name in self.missed else ''}" if sign else ""
            lines.append(f"  {name:<{wide}}  {_shown(value):>12}{goal}")
        lines += [f"  {name:<{wide}}  {'absent':>12}  MISSED" for name in self.missed if name not in self.figures]
        return "\n".join([*lines, "FAIL" if self.missed else "PASS"])


def missed(figures: Mapping[str, float], goals: Mapping[str, Goal]) -> list[str]:
    """The goals that do not hold; one whose figure is absent, or no number, does not."""
    return [
        name for name, (sign, wanted) in goals.items() if name not in figures or not _SIGNS[sign](figures[name], wanted)
    ]


def print_json(plain: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(plain, ensure_ascii=False) + "\n")


def report(found: Measured, *, as_json: bool) -> int:
    """Print what was measured; the exit code is 0 when every goal holds, else 1."""
    if as_json:
        print_json(found.plain())
    else:
        sys.stdout.write(found.table() + "\n")
    return 1 if found.missed else 0


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """The conditions that every run has: machine, cores, Python, and the versions of packages that are installed."""
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "python": platform.python_version(),
        "versions": {name: version for name in packages if (version := _version(name))},
    }


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.4g}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
