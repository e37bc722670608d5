"""One node of one thread: its input, its config, its function, its retries, and what it writes."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import patch_config, run_in_executor, var_child_runnable_config
from langgraph.constants import START
from langgraph.errors import GraphBubbleUp, NodeCancelledError
from langgraph.runtime import ExecutionInfo, Runtime

from chimera.core.contexts import within
from chimera.fleet.lean import internals as lg
from chimera.fleet.lean.plan import Call, NodePlan, Route, Write
from chimera.fleet.lean.thread import Done

if TYPE_CHECKING:
    from chimera.fleet.lean.run import Run

_LOG = logging.getLogger(__name__)
_MISSING: Any = lg.MISSING


class HandOver(GraphBubbleUp):
    """A node did what only stock LangGraph can do; it runs the thread from its last checkpoint on."""


class Task:
    """A node that is due. Its id is the one that stock LangGraph gives it at this checkpoint."""

    __slots__ = ("_run", "id", "input", "name", "namespace", "node", "plan", "writes")

    def __init__(self, run: "Run", node: NodePlan) -> None:
        thread = run.thread
        self._run = run
        self.node = node
        self.plan = run.plan
        self.name = node.name
        checkpoint = bytes.fromhex(str(thread.parent).replace("-", ""))
        self.id = lg.hash_id(checkpoint, node.name, str(thread.step), node.name, lg.PULL, *node.triggers)
        self.namespace = f"{node.name}:{self.id}"
        self.writes: list[Write] = []
        values = thread.read(node.channels)
        self.input: Any = values[START] if node.name == START else values
        if node.proc.mapper is not None:
            self.input = node.proc.mapper(values)

    @property
    def done(self) -> Done:
        """What it says at the end of its step."""
        return Done(self.name, self.node.triggers, self.writes, self.node.path)

    @property
    def config(self) -> RunnableConfig:
        """What LangGraph's functions for its streams ask of a task: only whether it is hidden."""
        return {"tags": list(self.node.proc.tags or ())}

    async def perform(self) -> None:
        """Run the node until it succeeds, or its retry policies are used up.

        Each try has a context of its own: what a node sets there, nobody else sees.

        Raises:
            GraphBubbleUp: it interrupts, or has to be handed over. Exception: what the node raised.
        """
        first = time.time()
        attempt = 1
        while True:
            self.writes.clear()
            try:
                await within(copy_context(), self._attempt(attempt, first))
            except (GraphBubbleUp, NodeCancelledError):
                raise
            except Exception as error:
                error.add_note(f"During task with name '{self.name}' and id '{self.id}'")
                policy = next((one for one in self.node.retries if lg.may_retry(one, error)), None)
                if policy is None or attempt >= policy.max_attempts:
                    raise
                pause = min(policy.max_interval, policy.initial_interval * policy.backoff_factor ** (attempt - 1))
                pause += random.uniform(0, 1) if policy.jitter else 0  # noqa: S311 - spreads retries, keeps no secret
                _LOG.info("node %s failed (%s), again in %.2f s", self.name, type(error).__name__, pause)
            else:
                return
            await asyncio.sleep(pause)
            attempt += 1

    async def begin(self) -> None:
        """Pass the input of a run on to the state: what the start does where no conditional edge leads out of it."""
        await self._write(self.input, {}, self._run.runtime(None))

    async def _attempt(self, attempt: int, first: float) -> None:
        run = self._run
        runtime = run.runtime(
            ExecutionInfo(
                checkpoint_id=str(run.thread.parent),
                checkpoint_ns=self.namespace,
                task_id=self.id,
                thread_id=run.thread_id,
                run_id=run.run_id,
                node_attempt=attempt,
                node_first_attempt_time=first,
            )
        )
        config = self._config(runtime)
        try:
            if run.manager is not None and self.node.proc.node is not None:  # somebody listens: LangGraph tells them
                await self.node.proc.node.ainvoke(self.input, config)
                return
            var_child_runnable_config.set(config)
            result = self.input
            if self.node.call is not None:
                result = await called(self.node.call, self.input, config, runtime, run.threads)
            await self._write(result, config, runtime)
        except asyncio.CancelledError as error:
            if lg.is_own_cancel():
                raise NodeCancelledError(self.name) from error
            raise

    def _config(self, runtime: "Runtime[Any]") -> RunnableConfig:
        run, step = self._run, self._run.thread.step
        config: RunnableConfig = {
            **run.config,
            "metadata": {
                **run.config.get("metadata", {}),
                "langgraph_step": step,
                "langgraph_node": self.name,
                "langgraph_triggers": self.node.triggers,
                "langgraph_path": (lg.PULL, self.name),
                "langgraph_checkpoint_ns": self.namespace,
                **self.node.metadata,
            },
            "run_name": self.name,
            "configurable": {
                **run.config.get("configurable", {}),
                lg.CONFIG_KEY_TASK_ID: self.id,
                lg.CONFIG_KEY_SEND: self.writes.extend,
                lg.CONFIG_KEY_READ: self._read,
                lg.CONFIG_KEY_CHECKPOINTER: run.saver,
                lg.CONFIG_KEY_CHECKPOINT_MAP: {"": run.thread.parent},
                lg.CONFIG_KEY_CHECKPOINT_ID: None,
                lg.CONFIG_KEY_CHECKPOINT_NS: self.namespace,
                lg.CONFIG_KEY_SCRATCHPAD: _scratchpad(step, run.stop),
                lg.CONFIG_KEY_RUNTIME: runtime,
                lg.CONFIG_KEY_CALL: _hand_over,
            },
        }
        if self.node.proc.tags:
            config["tags"] = [*run.config.get("tags", []), *self.node.proc.tags]
        if run.manager is None:
            return config
        config.pop("run_id", None)
        return patch_config(config, callbacks=run.manager.get_child(f"graph:step:{step}"), run_name=self.name)

    def _read(self, select: str | Sequence[str], fresh: bool = False) -> Any:
        names = [select] if isinstance(select, str) else select
        values = self._run.thread.read(names, self.writes if fresh else ())
        return values.get(select) if isinstance(select, str) else values

    async def _write(self, value: Any, config: RunnableConfig, runtime: "Runtime[Any]") -> None:
        for writer in self.node.writers:
            if isinstance(writer, tuple):
                self.writes.append(cast("Write", writer))
            elif isinstance(writer, Route):
                await self._choose(writer, value, config, runtime)
            elif found := writer(value):
                self.writes.extend(found)

    async def _choose(self, route: Route, value: Any, config: RunnableConfig, runtime: "Runtime[Any]") -> None:
        seen = value
        if route.select is not None:
            seen = self._read(route.select, fresh=True)
            if route.mapper is not None:
                seen = route.mapper(seen)
            if isinstance(seen, dict) and isinstance(value, dict) and route.spec.input_schema is None:
                seen = {**value, **seen}
        # A choice runs in the loop, also where its function is not async: it is no place to work in.
        chosen = (
            await route.spec.path.ainvoke(seen, config)
            if route.call is None
            else await called(route.call, seen, config, runtime, None)
        )
        route.spec._finish(  # pyright: ignore[reportPrivateUsage] - LangGraph's way from a choice to writes
            route.writer, value, chosen, {"configurable": {lg.CONFIG_KEY_SEND: self.writes.extend}}
        )


async def called(call: Call, given: Any, config: RunnableConfig, runtime: "Runtime[Any]", threads: Any) -> Any:
    """Call a function with what it asks for; one that is not async in one of ``threads``, or here without any."""
    keywords = dict(call.fixed)
    for name, (attribute, default) in call.accepts.items():
        if name not in keywords:
            keywords[name] = _keyword(name, attribute, default, config, runtime)
    if call.asynchronous is not None:
        result = await call.asynchronous(given, **keywords)
    elif call.synchronous is not None and threads is not None:
        result = await run_in_executor(threads, copy_context().run, partial(call.synchronous, given, **keywords))
    elif call.synchronous is not None:
        result = call.synchronous(given, **keywords)
    else:
        raise HandOver
    return await result.ainvoke(given, config) if isinstance(result, Runnable) else result


def _keyword(name: str, attribute: str, default: Any, config: RunnableConfig, runtime: "Runtime[Any]") -> Any:
    known: Mapping[str, Any] = {"config": config, "runtime": runtime, "error": default}
    return known[name] if name in known else getattr(runtime, attribute)


def _scratchpad(step: int, stop: int) -> lg.PregelScratchpad:
    counters = (lg.LazyAtomicCounter(), lg.LazyAtomicCounter(), lg.LazyAtomicCounter())
    return lg.PregelScratchpad(
        step=step,
        stop=stop,
        call_counter=counters[0],
        interrupt_counter=counters[1],
        get_null_resume=_nothing,
        resume=[],
        subgraph_counter=counters[2],
    )


def _nothing(consume: bool = False) -> None:
    """No answer: a thread that is resumed with one runs on stock LangGraph."""


def _hand_over(*_: Any, **__: Any) -> Any:
    raise HandOver
