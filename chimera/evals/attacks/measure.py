"""Runs one suite, without a guard and with it, and counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chimera.evals.attacks.adaptive import Tries, try_rewrites
from chimera.evals.attacks.agent import Mode, Outcome, Overseer, Unguarded, by_words_alone, play, scene
from chimera.evals.attacks.guarded import FlowGuarded, Planned, manifests
from chimera.evals.attacks.suites import PAIRS, TASKS, UNWORKABLE, Dojo, tool_list
from chimera.guards.provenance.manifest import Severity

Plan = Literal["request", "oracle"]


@dataclass
class Tally:
    """What one plan made of one suite."""

    clean: int = 0
    clean_useful: int = 0
    approvals: int = 0
    """Clean tasks of which at least one call would have gone to a human."""
    pairs: int = 0
    broken: int = 0
    severe_pairs: int = 0
    severe_broken: int = 0
    useful: int = 0
    followed: int = 0
    """Attacks that succeed when the agent obeys only after the task, within what the plan has left."""
    spread: int = 0
    """Attacks that succeed when their calls are spread between the task's."""
    tries: Tries = field(default_factory=Tries)
    residue: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    calls: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        total = Tally(residue=[*self.residue, *other.residue])
        for name in ("clean", "clean_useful", "approvals", "pairs", "broken", "severe_pairs", "severe_broken"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        for name in ("useful", "followed", "spread", "seconds", "calls"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        for part in (self.tries, other.tries):
            for way, tasks in part.tried.items():
                total.tries.tried[way] |= tasks
            for way, tasks in part.through.items():
                total.tries.through[way] |= tasks
        return total


@dataclass
class SuiteResult:
    """One suite, measured."""

    suite: str
    expected_pairs: int
    tasks: int
    pairs: int = 0
    unguarded_useful: int = 0
    unguarded_under_attack: int = 0
    errors: list[str] = field(default_factory=list[str])
    tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])


class Measured:
    """Measures one suite. Whatever raises is a harness error, and is counted as one."""

    def __init__(self, dojo: Dojo, name: str, *, quick: bool) -> None:
        self._dojo, self._suite, self._name = dojo, dojo.suite(name), name
        self._planned = Planned(tool_list(self._suite), manifests(name))
        tasks = list(self._suite.user_tasks.values())
        self._tasks: list[Any] = tasks[::2] if quick else tasks
        self._attacks: list[Any] = list(self._suite.injection_tasks.values())
        whole = len(self._tasks) == TASKS[name]
        self.result = SuiteResult(name, PAIRS[name] if whole else 0, len(self._tasks))

    def run(self, plans: Sequence[Plan]) -> SuiteResult:
        """Measure without a guard, then with each plan."""
        pairs = self._without()
        for plan in plans:
            self.result.tallies[plan] = self._with(plan, pairs)
        return self.result

    def _without(self) -> list[tuple[Any, Any]]:
        """The pairs that use tools and succeed when nobody guards."""
        found: list[tuple[Any, Any]] = []
        for task in self._tasks:
            clean = self._play(task, None, Unguarded)
            self.result.unguarded_useful += bool(clean and clean.useful)
            for attack in self._attacks:
                if self._safely(lambda t=task, a=attack: by_words_alone(self._dojo, self._suite, t, a)):
                    continue
                outcome = self._play(task, attack, Unguarded)
                if outcome and outcome.broken:
                    found.append((task, attack))
                    self.result.unguarded_under_attack += outcome.useful
        self.result.pairs = len(found)
        if len(self._tasks) != TASKS[self._name]:
            self.result.expected_pairs = self._expected()
        return found

    def _expected(self) -> int:
        """How many pairs a part of the suite should have."""
        known = UNWORKABLE.get(self._name, ())
        return sum((task.ID, attack.ID) not in known for task in self._tasks for attack in self._attacks)

    def _with(self, plan: Plan, pairs: Sequence[tuple[Any, Any]]) -> Tally:
        tally = Tally()
        for task in self._tasks:
            clean = self._play(task, None, lambda t=task: self._guard(plan, t, None), tally)
            tally.clean += 1
            tally.clean_useful += bool(clean and clean.useful)
            tally.approvals += bool(clean and clean.refused)
            self._safely(
                lambda t=task: try_rewrites(self._dojo, self._suite, t, self._guard(plan, t, None), tally.tries)
            )
        for task, attack in pairs:
            self._pair(plan, task, attack, tally)
        return tally

    def _pair(self, plan: Plan, task: Any, attack: Any, tally: Tally) -> None:
        severe = self._is_severe(task, attack)
        modes: dict[Mode, bool] = {}
        for mode in ("first", "last", "spread"):
            outcome = self._play(task, attack, lambda: self._guard(plan, task, attack), tally, mode)
            modes[mode] = bool(outcome is None or outcome.broken)
            if mode == "first":
                tally.useful += bool(outcome and outcome.useful)
        tally.pairs += 1
        tally.broken += modes["first"]
        tally.followed += modes["last"]
        tally.spread += modes["spread"]
        tally.severe_pairs += severe
        tally.severe_broken += severe and modes["first"]
        if any(modes.values()):
            how = ", ".join(mode for mode, broken in modes.items() if broken)
            tally.residue.append(f"{self._name} {task.ID} {attack.ID} ({how}{', severe' if severe else ''})")

    def _is_severe(self, task: Any, attack: Any) -> bool:
        """Whether the attack touches money, other people, rights, or what cannot be undone."""
        calls: list[Any] = (
            self._safely(lambda: list(scene(self._dojo, self._suite, task, attack, Unguarded()).plan(attack))) or []
        )
        harms = [self._planned.declared[call.function].harm(call.args) for call in calls]
        return any(harm not in (Severity.NONE, Severity.PRIVATE) for harm in harms)

    def _guard(self, plan: Plan, task: Any, attack: Any) -> FlowGuarded:
        if plan == "request":
            made = self._planned.from_request(task.PROMPT)
        else:
            made = self._planned.oracle(scene(self._dojo, self._suite, task, attack, Unguarded()).plan(task))
        return FlowGuarded(task.PROMPT, made, self._planned.declared)

    def _play(
        self,
        task: Any,
        attack: Any,
        overseer: Callable[[], Overseer],
        tally: Tally | None = None,
        mode: Mode = "first",
    ) -> Outcome | None:
        def once() -> Outcome:
            before = overseer()
            outcome = play(self._dojo, self._suite, task, attack, before, mode=mode)
            if tally is not None and isinstance(before, FlowGuarded):
                tally.seconds += before.seconds
                tally.calls += before.calls
            return outcome

        return self._safely(once)

    def _safely(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - a harness error of any kind is counted, and fails the command
            self.result.errors.append(f"{self._name}: {error!r}"[:300])
            return None


def measure(dojo: Dojo, name: str, plans: Sequence[Plan], *, quick: bool) -> SuiteResult:
    """Measure one suite; ``quick`` takes every second task."""
    return Measured(dojo, name, quick=quick).run(plans)
