"""The agent step of a team: hands one task to the fleet and waits for what comes back."""

from typing import Any

from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from chimera.core.contracts import TaskResult
from chimera.core.errors import ChimeraError, StoreError
from chimera.core.state import AgentState, Plain
from chimera.fleet.dispatch import AgentOutcome, AgentRun
from chimera.nodes.context import Context

STEPS_PER_TURN = 8
"""Supersteps of one model turn at most: worker, guards, tool, and a review with its own steps."""


async def agent(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Run the task's agent. Its failure is a result like any other: it never takes its siblings with it."""
    task_id = str(state["task"]["id"])
    try:
        result = await _run(state, runtime.context)
    except (GraphBubbleUp, StoreError):
        raise  # a question on its way to a human, or a database that cannot even record a failure
    except Exception as error:  # noqa: BLE001 - whatever broke, it is this task that failed
        result = _failed(state, error)
    return {"outcomes": {task_id: result}}


async def _run(state: AgentState, context: Context) -> Plain:
    place = f"{state['mission_id']}/{state['team']}/{state['plan_round']}/{state['task']['id']}/{state['attempt']}"
    run = AgentRun(
        thread_id=place, state={**state}, recursion_limit=context.settings.max_steps * STEPS_PER_TURN + STEPS_PER_TURN
    )
    outcome: AgentOutcome = await context.dispatch.run(run, context)
    while outcome.questions:
        asked, item = next(iter(outcome.questions.items()))
        answer = interrupt(item)
        # This step runs again from its top for every answer, and is given the earlier ones again, in order.
        if isinstance(answer, dict) and answer.get("item_id", item["id"]) == item["id"]:
            outcome = await context.dispatch.run(run, context, {asked: answer})
    if outcome.result is None:
        raise ChimeraError("the agent ended without a result")
    return outcome.result


def _failed(state: AgentState, error: Exception) -> Plain:
    known = error if isinstance(error, ChimeraError) else ChimeraError(f"the agent broke: {type(error).__name__}")
    return TaskResult(
        task_id=state["task"]["id"],
        status="failed",
        error={**known.as_dict(), "retryable": known.retryable or not isinstance(error, ChimeraError)},
        context_version=state["context_version"],
    ).plain()
