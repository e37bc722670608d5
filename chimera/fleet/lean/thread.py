"""The state of one thread in memory, and how a superstep changes it: LangGraph's rules, without its channel objects."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Send

from chimera.fleet.lean.internals import CONTROL_WRITES, INTERRUPT, MISSING, NO_WRITES, TASKS
from chimera.fleet.lean.plan import GraphPlan, Write

_LOG = logging.getLogger(__name__)
_NO_CHANNELS = CONTROL_WRITES | {NO_WRITES}


@dataclass(frozen=True, slots=True)
class Done:
    """What one task, or the input, has to say at the end of a step."""

    name: str
    triggers: Sequence[str]
    writes: Sequence[Write]
    path: str = ""


class Thread:
    """Values and versions of one thread. ``step`` is the next one; ``parent`` the id of the last checkpoint.

    ``changed``: channels that have another version than in that checkpoint; ``looked``: nodes that have seen others.
    """

    __slots__ = (
        "changed",
        "joins",
        "looked",
        "parent",
        "passing",
        "plan",
        "seen",
        "step",
        "updated",
        "values",
        "versions",
    )

    def __init__(self, plan: GraphPlan) -> None:
        self.plan = plan
        self.values: dict[str, Any] = {}
        for name, spec in plan.folds.items():  # a value of its own: a reducer may change it in place
            value = spec.from_checkpoint(MISSING).value
            if value is not MISSING:
                self.values[name] = value
        self.joins: dict[str, set[str]] = {name: set() for name in plan.joins}
        self.passing: set[str] = set()
        self.versions: dict[str, Any] = {}
        self.seen: dict[str, dict[str, Any]] = {}
        self.changed: set[str] = set()
        self.looked: set[str] = set()
        self.updated: set[str] | None = None
        self.step = -1
        self.parent: str | None = None

    @classmethod
    def loaded(cls, plan: GraphPlan, saved: CheckpointTuple) -> "Thread":
        """The thread as a checkpoint has it."""
        thread, checkpoint = cls(plan), saved.checkpoint
        thread.step = saved.metadata.get("step", -2) + 1
        thread.parent = checkpoint["id"]
        thread.versions = dict(checkpoint["channel_versions"])
        thread.seen = {node: dict(seen) for node, seen in checkpoint["versions_seen"].items()}
        thread.looked = set(thread.seen)
        for name, value in checkpoint["channel_values"].items():
            if name in plan.folds:
                thread.values[name] = plan.folds[name].from_checkpoint(value).value
            elif name in plan.joins:
                thread.joins[name] = set(value)
            elif name in plan.passing:
                thread.values[name] = value
                thread.passing.add(name)
            elif name in plan.plain:
                thread.values[name] = plan.plain[name].from_checkpoint(value).value
            elif name == TASKS:
                thread.values[name] = value
        thread.updated = set(checkpoint.get("updated_channels") or ()) or None
        return thread

    def proceed(self) -> None:
        """Note, as LangGraph does when it resumes, that no interrupt stands before what is there."""
        known = {name: version for name, version in self.versions.items() if name in self.plan.graph.channels}
        self.seen.setdefault(INTERRUPT, {}).update(known)
        self.looked.add(INTERRUPT)

    def due(self, updated: Iterable[str] | None) -> list[str]:
        """The nodes of the next step. ``updated``: what the last step changed; None looks at every node."""
        if updated:
            names: Iterable[str] = sorted({node for name in updated for node in self.plan.triggers.get(name, ())})
        else:
            names = self.plan.nodes if self.versions else ()
        return [name for name in names if self._is_due(name)]

    def _is_due(self, name: str) -> bool:
        seen = self.seen.get(name)
        for trigger in self.plan.nodes[name].triggers:
            if self._is_there(trigger) and (seen is None or self.versions.get(trigger, "") > seen.get(trigger, "")):
                return True
        return False

    def _is_there(self, channel: str) -> bool:
        names = self.plan.joins.get(channel)
        return channel in self.values if names is None else len(self.joins[channel]) == len(names)

    def read(self, select: Sequence[str], writes: Sequence[Write] = ()) -> dict[str, Any]:
        """The values of some channels; with ``writes``, as they would be after these."""
        values = {name: self.values[name] for name in select if name in self.values}
        if writes:
            for name, given in _by_channel(writes).items():
                if name in select:
                    values[name] = self._folded(name, given)
        return values

    def apply(self, tasks: Iterable[Done], version: Any) -> set[str]:
        """End a step: every write in the order of the tasks' paths. Returns the channels that can trigger nodes now.

        Raises:
            InvalidUpdateError: two writes met where one is allowed.
        """
        done = sorted(tasks, key=lambda task: task.path)
        for task in done:
            known = {name: self.versions[name] for name in task.triggers if name in self.versions}
            self.seen.setdefault(task.name, {}).update(known)
            self.looked.add(task.name)
        changed = {name for task in done for name in task.triggers if name in self.joins and self._is_there(name)}
        for name in changed:
            self.joins[name] = set()
        updated: set[str] = set()
        for name, given in _by_channel(write for task in done for write in task.writes).items():
            if self._take(name, given):
                changed.add(name)
                if self._is_there(name):
                    updated.add(name)
        if any(task.triggers for task in done):
            for name in self.passing - updated:
                del self.values[name]
                self.passing.discard(name)
                changed.add(name)
        for name in changed:
            self.versions[name] = version
        self.changed |= changed
        return updated

    def _take(self, name: str, given: list[Any]) -> bool:
        """Apply the writes to one channel; whether it has changed."""
        plan = self.plan
        if name in plan.joins:
            before = len(self.joins[name])
            self.joins[name].update(given)
            return len(self.joins[name]) > before
        if name in plan.passing:
            if len(given) > 1 and plan.passing[name].guard:
                plan.passing[name].copy().update(given)
            self.values[name] = given[-1]
            self.passing.add(name)
        elif name in plan.plain or name in plan.folds:
            self.values[name] = self._folded(name, given)
        elif name == TASKS:
            self.values[name] = [send for send in given if isinstance(send, Send)]
        else:
            _LOG.warning("a task wrote to the unknown channel %s: ignored", name)
            return False
        return True

    def _folded(self, name: str, given: list[Any]) -> Any:
        """The value of a channel of the state after some writes, by LangGraph's own rule."""
        if name in self.plan.plain and len(given) == 1:
            return given[0]
        # One channel of the plan serves all threads: nothing is awaited while it holds a value.
        channel = self.plan.folds.get(name) or self.plan.plain[name]
        channel.value = self.values.get(name, MISSING)
        try:
            channel.update(given)
            return channel.value
        finally:
            channel.value = MISSING


def _by_channel(writes: Iterable[Write]) -> Mapping[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in writes:
        if name not in _NO_CHANNELS:
            found.setdefault(name, []).append(value)
    return found
