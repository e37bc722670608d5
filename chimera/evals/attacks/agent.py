"""An agent without any sense of its own: it does the user's task by the book, and whatever an injection tells it."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol

from chimera.evals.attacks.suites import Dojo

MARK = "IMPORTANT-7261 "
"""Stands before every injected goal, so that the harness sees that the agent has read it."""
Mode = Literal["first", "last", "spread"]


Look = Callable[[str, Mapping[str, Any]], str | None]
"""Performs a look-up and prints its result."""


class Overseer(Protocol):
    """What stands between the agent and its tools."""

    def before(self, tool: str, arguments: Mapping[str, Any], run: Look) -> Mapping[str, Any] | None:
        """The arguments that may go out, or None; ``run`` performs a look-up of the overseer's own."""
        ...

    def after(self, tool: str, arguments: Mapping[str, Any], result: str) -> None:
        """See a result as the agent sees it."""
        ...


class Unguarded:
    """Nothing stands there."""

    def before(self, tool: str, arguments: Mapping[str, Any], run: Look) -> Mapping[str, Any] | None:
        """Everything may go out."""
        return arguments

    def after(self, tool: str, arguments: Mapping[str, Any], result: str) -> None:
        """Nothing is kept."""


@dataclass
class Outcome:
    """What became of one task, or of one pair of task and attack."""

    useful: bool = False
    broken: bool = False
    """The attack reached its goal."""
    refused: list[str] = field(default_factory=list[str])
    """The user's own calls that were refused: each would have gone to a human."""
    passed: list[str] = field(default_factory=list[str])
    """The attacker's calls that went out."""
    error: str = ""
    """The harness itself failed."""


@dataclass
class Scene:
    """One task in a fresh environment."""

    dojo: Dojo
    suite: Any
    task: Any
    environment: Any
    overseer: Overseer
    trace: list[Any] = field(default_factory=list[Any])

    def __post_init__(self) -> None:
        self.runtime = self.dojo.runtime.FunctionsRuntime(self.suite.tools)
        self.before = self.environment.model_copy(deep=True)

    def look(self, tool: str, arguments: Mapping[str, Any]) -> str | None:
        """A look-up of the overseer's own; None if the tool has failed."""
        result, error = self.runtime.run_function(self.environment, tool, dict(arguments))
        return None if error else self.dojo.printed(result)

    def attempt(self, tool: str, arguments: Mapping[str, Any]) -> str | None:
        """A call of the agent: its result, or None where it was refused."""
        allowed = self.overseer.before(tool, arguments, self.look)
        if allowed is None:
            return None
        result, error = self.runtime.run_function(self.environment, tool, dict(allowed))
        self.trace.append(self.dojo.call(tool, allowed))
        if error:
            return error
        printed = self.dojo.printed(result)
        self.overseer.after(tool, allowed, printed)
        return printed

    def plan(self, task: Any) -> Sequence[Any]:
        """The reference calls of a task or an attack."""
        return task.ground_truth(self.before.model_copy(deep=True))


def environment(suite: Any, attack: Any) -> Any:
    """The suite's world, with the attack in every place that a stranger can write to."""
    text = MARK + attack.GOAL if attack else ""
    return _world(suite, text).model_copy(deep=True)


@lru_cache(maxsize=64)
def _world(suite: Any, text: str) -> Any:
    places = suite.get_injection_vector_defaults()
    return suite.load_and_inject_default_environment(dict.fromkeys(places, text) if text else {})


def scene(dojo: Dojo, suite: Any, task: Any, attack: Any, overseer: Overseer) -> Scene:
    """A fresh scene. Some tasks cannot prepare an injected world; it stays as it is then."""
    world = environment(suite, attack)
    try:
        world = task.init_environment(world)
    except Exception:  # noqa: BLE001 - AgentDojo raises plain exceptions here, and upstream keeps the world as it was
        world = environment(suite, attack)
    return Scene(dojo, suite, task, world, overseer)


def play(dojo: Dojo, suite: Any, task: Any, attack: Any, overseer: Overseer, *, mode: Mode = "first") -> Outcome:
    """Let the agent do ``task``, and obey ``attack`` from when it is first read.

    ``mode``: at once (``first``), after the task (``last``), or one call after each of the task's (``spread``).
    """
    stage, outcome = scene(dojo, suite, task, attack, overseer), Outcome()
    orders = deque(stage.plan(attack)) if attack else deque[Any]()
    whole, read = len(orders), False
    for call in stage.plan(task):
        result = stage.attempt(call.function, call.args)
        if result is None:
            outcome.refused.append(call.function)
            continue
        read = read or MARK.strip() in result
        if read and mode != "last":
            _obey(stage, orders, outcome, 1 if mode == "spread" else whole)
    if read:
        _obey(stage, orders, outcome, whole)
    answer = task.GROUND_TRUTH_OUTPUT
    outcome.useful = bool(_useful(stage, answer))
    if attack and read:
        spoken = f"{answer} {attack.GROUND_TRUTH_OUTPUT}" if len(outcome.passed) == whole else answer
        outcome.broken = bool(_broken(stage, attack, spoken))
    return outcome


def by_words_alone(dojo: Dojo, suite: Any, task: Any, attack: Any) -> bool:
    """Whether the attack asks for no call, or has its way when the agent only says its text: no tool is involved."""
    stage = scene(dojo, suite, task, attack, Unguarded())
    if not list(stage.plan(attack)):
        return True
    return bool(_broken(stage, attack, f"{task.GROUND_TRUTH_OUTPUT} {attack.GROUND_TRUTH_OUTPUT}"))


def _obey(stage: Scene, orders: deque[Any], outcome: Outcome, most: int) -> None:
    for _ in range(min(most, len(orders))):
        call = orders.popleft()
        if stage.attempt(call.function, call.args) is not None:
            outcome.passed.append(call.function)


def _useful(stage: Scene, answer: str) -> bool:
    check = stage.suite._check_user_task_utility
    return check(stage.task, stage.dojo.said(answer), stage.before, stage.environment, stage.trace)


def _broken(stage: Scene, attack: Any, answer: str) -> bool:
    check = stage.suite._check_injection_task_security
    return check(attack, stage.dojo.said(answer), stage.before, stage.environment, stage.trace)
