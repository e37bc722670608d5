"""Where an agent's run happens: a small port, and the engine that runs it in this process.

Whatever the engine, a run has the same thread id and the same checkpoints, so any process can go on with it.
"""

import asyncio
import contextvars
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command, Interrupt

from chimera.core import timing
from chimera.core.contexts import within
from chimera.core.seats import Seats
from chimera.core.state import Plain
from chimera.fleet.lean import LeanRunner


@dataclass(frozen=True)
class AgentRun:
    """One attempt at one task. ``thread_id`` is derived from the attempt, so asking twice runs it once."""

    thread_id: str
    state: Plain
    recursion_limit: int


@dataclass(frozen=True)
class AgentOutcome:
    """A finished run has a result; a run that waits for humans has questions, by interrupt id."""

    result: Plain | None
    questions: Mapping[str, Plain]


class Dispatch(Protocol):
    """Runs agents somewhere and waits for them."""

    async def run(self, run: AgentRun, context: Any, answers: Mapping[str, Any] | None = None) -> AgentOutcome:
        """Start or continue a run; ``answers`` resume the questions of an earlier outcome, by interrupt id."""
        ...


class LocalDispatch:
    """Runs agents in this process, at most ``limit`` at a time, on the runner that the settings name."""

    def __init__(self, graph: "CompiledStateGraph[Any, Any, Any, Any]", limit: int, seats: Seats | None = None) -> None:
        self._graph = graph
        self._lean = LeanRunner(graph)
        self._slots = asyncio.Semaphore(limit)
        self._seats = seats or Seats()

    async def run(
        self,
        run: AgentRun,
        context: Any,
        answers: Mapping[str, Any] | None = None,
        *,
        control: RunControl | None = None,
    ) -> AgentOutcome:
        """Run until the agent is done, waits for a human, or was asked by ``control`` to stop.

        Raises:
            GraphDrained: it stopped after a step because it was asked to.
        """
        async with self._slots:
            # An empty contextvars context: inside the caller's, LangGraph would take this run for one of its subgraphs
            # and keep its checkpoints under the parent's thread.
            apart = contextvars.Context()
            apart.run(timing.carry, timing.watch())
            return await within(apart, self._step(run, context, answers, control))

    async def _step(
        self, run: AgentRun, context: Any, answers: Mapping[str, Any] | None, control: RunControl | None
    ) -> AgentOutcome:
        config: RunnableConfig = {
            "configurable": {"thread_id": run.thread_id},
            "recursion_limit": run.recursion_limit,
        }
        async with self._seats.taken():
            return await self._run(run, config, context, answers, control)

    async def _run(
        self,
        run: AgentRun,
        config: RunnableConfig,
        context: Any,
        answers: Mapping[str, Any] | None,
        control: RunControl | None,
    ) -> AgentOutcome:
        runner: Any = self._graph
        if context.settings.agent_runner == "lean":
            runner, saved = self._lean, await self._lean.last(config)
            if saved is None:
                found = await self._lean.ainvoke(run.state, config, context=context, control=control, saved=None)
                return _outcome(found, found.get("__interrupt__", ()))
        how: dict[str, Any] = {"context": context, "control": control, "durability": "sync"}
        before = await self._graph.aget_state(config)
        # `tasks`, not `next`: that one leaves out a step whose result is kept while the checkpoint after it is not.
        if not before.values and not before.tasks:
            await runner.ainvoke(run.state, config, **how)
        elif before.interrupts and answers:
            known = {found.id for found in before.interrupts}
            given = {key: value for key, value in answers.items() if key in known}
            if given:
                await runner.ainvoke(Command(resume=given), config, **how)
        elif before.tasks and not before.interrupts:
            await runner.ainvoke(None, config, **how)
        after = await self._graph.aget_state(config)
        return _outcome(after.values, after.interrupts)


def _outcome(values: Mapping[str, Any], interrupts: Sequence[Interrupt]) -> AgentOutcome:
    questions = {found.id: found.value for found in interrupts}
    return AgentOutcome(result=None if questions else values.get("result"), questions=questions)
