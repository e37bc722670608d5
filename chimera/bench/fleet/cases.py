"""What ``chimera bench fleet`` can put on two workers, and what it has to reach."""

from dataclasses import dataclass

from chimera.bench.fleet.model import CALLS
from chimera.core.figures import Goal

CALL_MEAN = 1.083
"""Of a log-normal time with median 1 and sigma 0.4."""


@dataclass(frozen=True)
class Case:
    """``in_flight``: what arrivals and calls come to when nothing is late. ``waves``: for how many runs' length agents
    arrive; 0: all at once. ``http``: the model is behind HTTP, and asked by LangChain's client. ``crew``: the workers
    are real ``chimera worker`` processes, which are killed, or wake up agents that are parked.
    """

    median_s: float
    in_flight: int
    waves: float
    goals: dict[str, Goal]
    http: bool = False
    crew: bool = False

    @property
    def length_s(self) -> float:
        """Seconds that the calls of a run take on average; one that nobody judges has a call less."""
        return (CALLS - self.crew) * self.median_s * CALL_MEAN


SURE: dict[str, Goal] = {"lost": ("==", 0), "duplicated": ("==", 0)}
RATIOS: dict[str, Goal] = {
    "cpu_ratio_bare": ("<=", 1.5),
    "cpu_ratio_stock": (">=", 5.0),
    "throughput_ratio_stock": (">=", 5.0),
}
_SMALL: Goal = ("<=", 15)
CASES: dict[str, Case] = {
    "10s": Case(
        10.0, 10_000, 10.0, {"added_p50_ms": ("<=", 250), "added_p99_ms": ("<", 1_000), "kb_per_agent": _SMALL}
    ),
    "2s": Case(2.0, 10_000, 3.0, {"added_p99_ms": ("<", 2_000), "kb_per_agent": _SMALL}),
    "20k": Case(10.0, 20_000, 3.0, {"added_p99_ms": ("<", 2_000), "kb_per_agent": _SMALL}),
    "burst": Case(2.0, 10_000, 0.0, {}),
    "http": Case(10.0, 10_000, 3.0, {"added_p99_ms": ("<", 2_000)}, http=True),
    "parked": Case(0.0, 100_000, 0.0, {"added_p99_ms": ("<", 1_000)}, http=True, crew=True),
    "storm": Case(2.0, 30, 140.0, {"kills": (">=", 100), "unfinished": ("==", 0)}, http=True, crew=True),
}
