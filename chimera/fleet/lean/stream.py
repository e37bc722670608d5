"""What a run tells while it runs: the chunks of LangGraph's stream modes "values", "updates" and "custom"."""

import asyncio
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.types import Interrupt

from chimera.fleet.lean.internals import INTERRUPT, map_output_updates
from chimera.fleet.lean.plan import Write
from chimera.fleet.lean.thread import Thread

if TYPE_CHECKING:
    from chimera.fleet.lean.task import Task

MODES = frozenset({"values", "updates", "custom"})
Chunk = tuple[str, Any]


class Sink:
    """Takes what a run has to tell. Without modes it only remembers whether the state was ever shown.

    A run waits at the end of each step until what it has told is taken: whoever stops listening stops it there.
    """

    __slots__ = ("_modes", "_owner", "queue", "shown")

    def __init__(self, modes: Collection[str] = ()) -> None:
        self._modes = frozenset(modes)
        self.queue: asyncio.Queue[Chunk | None] | None = asyncio.Queue() if modes else None
        self._owner = (threading.get_ident(), asyncio.get_running_loop())
        self.shown = False

    @property
    def modes(self) -> frozenset[str]:
        """What somebody listens to."""
        return self._modes

    def tell(self, mode: str, chunk: Any) -> None:
        """Hand on a chunk to whoever listens to its mode."""
        if mode in self._modes and self.queue is not None:
            self.queue.put_nowait((mode, chunk))

    def custom(self, chunk: Any) -> None:
        """Hand on what a node wrote to the stream, from whichever thread."""
        ident, loop = self._owner
        if "custom" not in self._modes:
            return
        if threading.get_ident() == ident:
            self.tell("custom", chunk)
        else:
            loop.call_soon_threadsafe(self.tell, "custom", chunk)

    def values(self, thread: Thread, writes: Sequence[Write] | None) -> None:
        """Show the state; ``writes`` are those of the step, and None shows it whatever they were."""
        plan = thread.plan
        if writes is not None and not any(channel in plan.outputs for channel, _ in writes):
            return
        self.shown = True
        if "values" in self._modes:
            self.tell("values", thread.read(plan.output))

    def updates(self, task: "Task", *, cached: bool = False) -> None:
        """Show what a node has written."""
        if "updates" in self._modes and not task.node.hidden and task.writes:
            output: list[str] = list(task.plan.output)
            tasks: list[tuple[Any, Sequence[Write]]] = [(task, task.writes)]
            for chunk in map_output_updates(output, tasks, cached):
                self.tell("updates", chunk)
        elif "updates" in self._modes and not task.node.hidden:
            self.tell("updates", {task.name: None})

    def interrupted(self, thread: Thread, interrupts: tuple[Interrupt, ...]) -> None:
        """Show what a node asks."""
        self.shown = True
        self.tell("updates", {INTERRUPT: interrupts})
        if "values" in self._modes:
            self.tell("values", {**thread.read(thread.plan.output), INTERRUPT: interrupts})

    async def told(self) -> None:
        """Wait until everything is taken."""
        if self.queue is not None:
            await self.queue.join()


def output(thread: Thread, sink: Sink, interrupts: Sequence[Interrupt]) -> Any:
    """What an invocation returns: the state that was last shown, and what its nodes ask."""
    found: Mapping[str, Any] | None = thread.read(thread.plan.output) if sink.shown else None
    return {**(found or {}), INTERRUPT: list(interrupts)} if interrupts else found
