"""The lean runner: takes a compiled graph, runs what it can of it, and hands the rest to stock LangGraph.

It knows ``ainvoke``, ``astream`` and ``aget_state`` as a compiled graph does. Each step is on disk before the next.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_async_callback_manager_for_config, patch_config
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.runtime import RunControl
from langgraph.types import Command, StateSnapshot

from chimera.core.tasks import stop
from chimera.fleet.lean import internals as lg
from chimera.fleet.lean.journal import Journal
from chimera.fleet.lean.lookup import Lookup
from chimera.fleet.lean.plan import Graph, GraphPlan
from chimera.fleet.lean.run import Run
from chimera.fleet.lean.stream import MODES, Chunk, Sink, output
from chimera.fleet.lean.thread import Thread
from chimera.store.checkpoints import GroupCommitSaver
from chimera.store.postgres import Pool

_LOG = logging.getLogger(__name__)
THREADS = 64
"""Nodes that are not async and run at the same time, in threads; a further one waits, and async nodes never do."""
UNKNOWN: Any = object()
_STARTED = frozenset({lg.INTERRUPT, lg.RESUME, lg.ERROR_SOURCE_NODE})
"""Marks on a checkpoint that a resume has to mind, and that stock LangGraph knows how to."""


class LeanRunner:
    """Runs the threads of one graph, whose checkpointer has to be a :class:`GroupCommitSaver`.

    What it does not run itself goes to the graph's own ``ainvoke`` or ``astream``: a whole run where that is known
    beforehand, else the thread from its last checkpoint on, and to the end of the run.
    """

    def __init__(self, graph: Graph, threads: Executor | None = None) -> None:
        self.graph = graph
        self.plan = GraphPlan(graph)
        self._threads = threads or _threads()
        self._lookup: Lookup | None = None

    async def ainvoke(
        self,
        given: Any,
        config: RunnableConfig | None = None,
        *,
        context: Any = None,
        control: RunControl | None = None,
        saved: CheckpointTuple | None = UNKNOWN,
        **options: Any,
    ) -> Any:
        """Run a thread until its end or its next question; the result is that of the graph's own ``ainvoke``.

        ``saved``: the thread's last checkpoint where the caller has it already; None says that the thread is new.

        Raises:
            StoreError: a step could not be saved. Exception: what the graph's own ``ainvoke`` would raise.
        """
        whole = lg.ensure_config(self.graph.config, config)
        reason = self._outside(given, whole, options)
        if reason is None and saved is UNKNOWN:
            saved = await self.last(whole)
        reason = reason or _why_not_from(given, whole, saved)
        if reason is not None:
            _LOG.debug("stock LangGraph runs this: %s", reason)
            return await self.graph.ainvoke(given, config, context=context, control=control, **options)
        return await self._drive(self._run(whole, saved, context, control, Sink()), given, saved)

    async def astream(
        self,
        given: Any,
        config: RunnableConfig | None = None,
        *,
        context: Any = None,
        control: RunControl | None = None,
        stream_mode: Any = None,
        **options: Any,
    ) -> AsyncGenerator[Any]:
        """Run a thread and yield what it tells, as the graph's own ``astream`` does.

        Raises:
            StoreError: a step could not be saved. Exception: what the graph's own ``astream`` would raise.
        """
        wanted = self.graph.stream_mode if stream_mode is None else stream_mode
        modes = cast("Sequence[str]", [wanted] if isinstance(wanted, str) else wanted)
        whole = lg.ensure_config(self.graph.config, config)
        reason = self._outside(given, whole, options) or (None if MODES.issuperset(modes) else "an unusual stream mode")
        saved = await self.last(whole) if reason is None else None
        reason = reason or _why_not_from(given, whole, saved)
        if reason is not None:
            async for chunk in self.graph.astream(
                given, config, context=context, control=control, stream_mode=stream_mode, **options
            ):
                yield chunk
            return
        run = self._run(whole, saved, context, control, Sink(modes))
        async for mode, chunk in self._told(run, given, saved):
            yield chunk if isinstance(wanted, str) else (mode, chunk)

    async def last(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A thread's last checkpoint, for :meth:`ainvoke`; None where there is none.

        Raises:
            StoreError: it cannot be read.
        """
        if self._lookup is None:
            self._lookup = Lookup(cast("Pool", self._saver.conn))
        known = await self._lookup.known(str(config.get("configurable", {})["thread_id"]))
        return await self._saver.aget_tuple(config) if known else None

    async def aget_state(self, config: RunnableConfig) -> StateSnapshot:
        """A thread's state, as stock LangGraph tells it."""
        return await self.graph.aget_state(config)

    @property
    def _saver(self) -> GroupCommitSaver:
        return cast("GroupCommitSaver", self.graph.checkpointer)

    def _outside(self, given: Any, config: RunnableConfig, options: Mapping[str, Any]) -> str | None:
        """Why stock LangGraph has to do a whole run; None where that is not so."""
        place = config.get("configurable", {})
        if self.plan.outside is not None:
            return self.plan.outside
        if not isinstance(self.graph.checkpointer, GroupCommitSaver):
            return "no group commit"
        if isinstance(given, Command):
            return "a command"
        if any(name.startswith("__pregel") for name in place) or place.get("checkpoint_ns"):
            return "inside another graph"
        if place.get("checkpoint_id") or place.get("thread_id") is None:
            return "not the end of a thread"
        if config.get("recursion_limit", 1) < 1 or config.get("max_concurrency"):
            return "a limit"
        odd = [name for name, value in options.items() if (name, value) not in (("durability", "sync"), (name, None))]
        return f"the option {odd[0]}" if odd else None

    def _run(
        self,
        config: RunnableConfig,
        saved: CheckpointTuple | None,
        context: Any,
        control: RunControl | None,
        sink: Sink,
    ) -> Run:
        thread = Thread(self.plan) if saved is None else Thread.loaded(self.plan, saved)
        place, graph = config.get("configurable", {}), self.graph
        thread_id = str(place["thread_id"])
        return Run(
            plan=self.plan,
            saver=self._saver,
            thread=thread,
            thread_id=thread_id,
            journal=Journal(self._saver, thread, thread_id, config),
            # What nodes are given is made of it at every step: plain dictionaries are faster than LangGraph's chains.
            config={**config, "metadata": dict(config.get("metadata", {}))},
            stop=thread.step + config.get("recursion_limit", 1) + 1,
            context=lg.coerce_context(graph.context_schema, context),
            store=graph.store,
            control=control or RunControl(),
            threads=self._threads,
            sink=sink,
            run_id=str(run_id) if (run_id := config.get("run_id")) else None,
        )

    async def _drive(self, run: Run, given: Any, saved: CheckpointTuple | None) -> Any:
        """Run, and tell the callbacks of the config when it starts, ends and fails."""
        callbacks = get_async_callback_manager_for_config(run.config)
        if not callbacks.handlers and not callbacks.inheritable_handlers:
            return await self._steps(run, given, saved)
        name = run.config.get("run_name") or self.graph.get_name()
        callbacks.add_metadata({"ls_integration": "langgraph"})
        run.manager = await callbacks.on_chain_start(None, given, name=name, run_id=run.config.get("run_id"))
        try:
            found = await self._steps(run, given, saved)
        except BaseException as error:
            await asyncio.shield(run.manager.on_chain_error(error))
            raise
        await run.manager.on_chain_end(found)
        return found

    async def _steps(self, run: Run, given: Any, saved: CheckpointTuple | None) -> Any:
        kept: Mapping[str, Sequence[tuple[str, Any]]] = {}
        if given is None and saved is not None:
            pending = [(str(task_id), channel, value) for task_id, channel, value in saved.pending_writes or ()]
            kept = {task_id: status.output for task_id, status in lg.read_task_statuses(pending).items()}
            run.thread.proceed()
            run.sink.values(run.thread, None)
        else:
            run.begin(given)
        if await run.go_on(kept):
            found = output(run.thread, run.sink, run.interrupts)
        else:
            await run.journal.commit()
            found = await self._hand_over(run)
        await run.sink.told()
        return found

    async def _hand_over(self, run: Run) -> Any:
        """Let stock LangGraph run the thread from its last checkpoint on, with the steps that are left."""
        _LOG.debug("stock LangGraph goes on with %s at step %s", run.thread_id, run.thread.step)
        config: RunnableConfig = {**run.config, "recursion_limit": max(1, run.stop - run.thread.step - 1)}
        if run.manager is not None:
            config = patch_config(config, callbacks=run.manager.get_child())
        options: dict[str, Any] = {"context": run.context, "control": run.control, "durability": "sync"}
        if not run.sink.modes:
            return await self.graph.ainvoke(None, config, **options)
        repeated = run.sink.shown  # a resume begins with the state, which has been told already
        async for mode, chunk in self._rest(config, run.sink.modes, options):
            if mode == "values" and repeated:
                repeated = False
                continue
            run.sink.tell(mode, chunk)
            await run.sink.told()
        return None

    def _rest(
        self, config: RunnableConfig, modes: Collection[str], options: Mapping[str, Any]
    ) -> AsyncGenerator[Chunk]:
        streams: Any = self.graph.astream
        return streams(None, config, stream_mode=sorted(modes), **options)

    async def _told(self, run: Run, given: Any, saved: CheckpointTuple | None) -> AsyncGenerator[Chunk]:
        queue = cast("asyncio.Queue[Chunk | None]", run.sink.queue)

        async def drive() -> None:
            try:
                await self._drive(run, given, saved)
            finally:
                queue.put_nowait(None)

        driven = asyncio.create_task(drive())
        try:
            while (chunk := await queue.get()) is not None:
                yield chunk
                queue.task_done()
            await driven
        finally:
            await stop(driven)


def _why_not_from(given: Any, config: RunnableConfig, saved: CheckpointTuple | None) -> str | None:
    """Why stock LangGraph has to go on from a checkpoint; None where that is not so."""
    if saved is None:
        return "nothing to go on with" if given is None else None
    if saved.checkpoint["v"] != lg.LATEST_VERSION:
        return "an older checkpoint"
    if saved.checkpoint["channel_values"].get(lg.TASKS):
        return "tasks of Send are due"
    if "run_id" in config.get("metadata", {}):
        return "perhaps the same run again"
    pending = saved.pending_writes or ()
    marks = {write[1] for write in pending}
    if any(str(write[0]) == lg.NULL_TASK_ID for write in pending):
        return "a command is under way"
    return "a question is open" if given is None and marks & _STARTED else None


@cache
def _threads() -> Executor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="chimera-node")
