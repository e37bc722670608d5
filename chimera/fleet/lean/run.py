"""One run of one thread: superstep after superstep, each on disk before the next."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun
from langchain_core.runnables import RunnableConfig
from langgraph.errors import (
    ErrorCode,
    GraphBubbleUp,
    GraphDrained,
    GraphInterrupt,
    GraphRecursionError,
    create_error_message,
)
from langgraph.runtime import ExecutionInfo, RunControl, Runtime
from langgraph.store.base import BaseStore
from langgraph.types import Interrupt

from chimera.core.tasks import stop
from chimera.core.timing import step_ended
from chimera.fleet.lean import internals as lg
from chimera.fleet.lean.journal import Journal
from chimera.fleet.lean.plan import GraphPlan
from chimera.fleet.lean.stream import Sink
from chimera.fleet.lean.task import HandOver, Task
from chimera.fleet.lean.thread import Done, Thread
from chimera.store.checkpoints import GroupCommitSaver


@dataclass(slots=True)
class Run:
    """What a run has and knows. ``stop``: the last step that it may take; ``manager``: there when somebody listens."""

    plan: GraphPlan
    saver: GroupCommitSaver
    thread: Thread
    thread_id: str
    journal: Journal
    config: RunnableConfig
    stop: int
    context: Any
    store: BaseStore | None
    control: RunControl
    threads: Executor
    sink: Sink
    manager: AsyncCallbackManagerForChainRun | None = None
    run_id: str | None = None
    waiting: bool = False
    interrupts: list[Interrupt] = field(default_factory=list[Interrupt])

    def runtime(self, info: ExecutionInfo | None) -> "Runtime[Any]":
        """What a node sees as its runtime."""
        return Runtime(
            context=self.context,
            store=self.store,
            stream_writer=self.sink.custom,
            execution_info=info,
            control=self.control,
        )

    def begin(self, given: Any) -> None:
        """Apply an input, and leave what an earlier one has left undone.

        Raises:
            InvalidUpdateError: the input cannot be applied.
        """
        thread, plan = self.thread, self.plan
        left = [Task(self, plan.nodes[name]).done for name in thread.due(None)]
        start = str(plan.graph.input_channels)
        thread.updated = thread.apply([*left, Done(lg.INPUT, (), [(start, given)])], self.journal.next_version())
        self.journal.take("input", thread.updated)

    async def go_on(self, finished: "Mapping[str, Sequence[tuple[str, Any]]] | None" = None) -> bool:
        """Take steps until nothing is due. ``finished``: writes of tasks that are kept from before, by their ids.

        Returns:
            Whether the thread is at its end; else it has come to something that stock LangGraph has to do.

        Raises:
            GraphRecursionError, GraphDrained: as in LangGraph. StoreError: a step could not be saved.
            Exception: what a node raised.
        """
        thread, finished = self.thread, finished or {}
        while True:
            if thread.step > self.stop:
                raise GraphRecursionError(_too_many(self.config))
            if thread.values.get(lg.TASKS):
                return False
            names = thread.due(thread.updated)
            if not names:
                return True
            nodes = [self.plan.nodes[name] for name in names]
            if any(node.outside for node in nodes):
                return False
            if self.control.drain_requested:
                await self.journal.commit()
                raise GraphDrained(self.control.drain_reason or "shutdown")
            tasks = [Task(self, node) for node in nodes]
            for task in tasks:
                task.writes.extend(finished.get(task.id, ()))
            try:
                await self._perform(tasks)
            except HandOver:
                return False
            if self.interrupts:
                self._stand_still(tasks)
                return True
            await self._end_step(tasks)

    async def _end_step(self, tasks: Sequence[Task]) -> None:
        thread = self.thread
        thread.updated = thread.apply([task.done for task in tasks], self.journal.next_version())
        if not thread.updated.isdisjoint(self.plan.outputs):
            self.sink.values(thread, [write for task in tasks for write in task.writes])
        self.journal.take("loop", thread.updated)
        await self.journal.commit()  # the step of the start together with the one of the input
        step_ended()
        await self.sink.told()

    async def _perform(self, tasks: Sequence[Task]) -> None:
        open_tasks = [task for task in tasks if not task.writes]
        for task in tasks:
            if task.writes:
                self.sink.updates(task, cached=True)
        if len(tasks) == 1:
            for task in open_tasks:
                await self._alone(task)
        elif open_tasks:
            await self._together(open_tasks)

    async def _alone(self, task: Task) -> None:
        try:
            if task.node.call is None and not task.node.chooses:
                await task.begin()
                return
            await task.perform()
        except Exception as error:  # noqa: BLE001 - kept with the step, and raised there
            await self._failed(task, error)
        else:
            self.sink.updates(task)

    async def _together(self, tasks: Sequence[Task]) -> None:
        """Run several at once. What one has done is kept, whatever the others do; the first failure ends them."""
        await self.journal.commit()
        running = {asyncio.create_task(self._kept(task)): task for task in tasks}
        pending = set(running)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
        except Exception:
            for one in pending:
                await stop(one)
            for one in [one for one in pending if one.cancelled()]:  # marked as LangGraph marks them
                task = running[one]
                await self.journal.note(task.id, task.name, [*task.writes, (lg.ERROR, asyncio.CancelledError())])
            raise
        finally:
            for one in running:
                await stop(one)

    async def _kept(self, task: Task) -> None:
        try:
            await task.perform()
        except Exception as error:  # noqa: BLE001 - kept with the step, and raised there
            await self._failed(task, error)
        else:
            await self.journal.note_done(task.id, task.name, task.writes)
            self.sink.updates(task)

    async def _failed(self, task: Task, error: Exception) -> None:
        """Keep why a task has stopped. A question waits for the other tasks; everything else is raised."""
        if isinstance(error, GraphInterrupt) and error.args[0]:
            found = tuple(error.args[0])
            resumed = [write for write in task.writes if write[0] == lg.RESUME]
            await self.journal.note(task.id, task.name, [(lg.INTERRUPT, found), *resumed])
            task.writes.clear()
            self.interrupts.extend(found)
            self.sink.interrupted(self.thread, found)
            return
        await self.journal.commit()
        if isinstance(error, GraphBubbleUp):
            raise error
        await self.journal.note(task.id, task.name, [*task.writes, (lg.ERROR, error)])
        raise error

    def _stand_still(self, tasks: Sequence[Task]) -> None:
        """Show the state with what the finished tasks have written, as LangGraph does; it is saved beside the step."""
        finished = [task for task in tasks if task.writes]
        if finished:
            updated = self.thread.apply([task.done for task in tasks], self.journal.next_version())
            if not updated.isdisjoint(self.plan.outputs):
                self.sink.values(self.thread, [write for task in finished for write in task.writes])


def _too_many(config: RunnableConfig) -> str:
    return create_error_message(
        message=(
            f"Recursion limit of {config.get('recursion_limit')} reached without hitting a stop condition. You can "
            "increase the limit by setting the `recursion_limit` config key."
        ),
        error_code=ErrorCode.GRAPH_RECURSION_LIMIT,
    )
