"""The agent step of a team: hands one task to the fleet and waits for what comes back."""

import json
from typing import Any

from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from chimera.core.contracts import TaskResult
from chimera.core.errors import ChimeraError, StoreError
from chimera.core.ids import digest
from chimera.core.state import AgentState, Plain
from chimera.fleet.dispatch import AgentOutcome, AgentRun
from chimera.nodes.briefing import advised, advised_by_people, heard
from chimera.nodes.context import Context

STEPS_PER_TURN = 8
"""Supersteps of one model turn at most: worker, guards, tool, and a review with its own steps."""


async def agent(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Run the task's agent. Its failure is a result like any other: it never takes its siblings with it.

    An agent that has a question ends this step with it; a later step of its own asks it and goes on with the answer.
    One question a step: so an answer can never count for another question, whoever sends it and however often.
    """
    task_id = str(state["task"]["id"])
    asked = state.get("asked")
    answers = {asked["interrupt"]: interrupt(asked["item"])} if asked else None
    try:
        outcome = await _run(state, runtime.context, answers)
    except (GraphBubbleUp, StoreError):
        raise  # a question on its way to a human, or a database that cannot even record a failure
    except Exception as error:  # noqa: BLE001 - whatever broke, it is this task that failed
        outcome = AgentOutcome(result=_failed(state, error), questions={})
    if outcome.questions:
        found, item = next(iter(outcome.questions.items()))
        return {"asking": {task_id: {"interrupt": found, "item": item}}}
    return {"outcomes": {task_id: outcome.result}, "asking": {task_id: None}}


async def _run(state: AgentState, context: Context, answers: dict[str, Any] | None) -> AgentOutcome:
    told = {key: value for key, value in state.items() if key != "asked"}
    if not answers:  # an answer finds it told already
        told |= {"earlier": await heard(state, context), "feedback": await advised(state, context)}
        told["guidance"] = await advised_by_people(state, context)
    run = AgentRun(
        thread_id=_thread(state),
        state=told,
        recursion_limit=context.settings.max_steps * STEPS_PER_TURN + STEPS_PER_TURN,
    )
    outcome: AgentOutcome = await context.dispatch.run(run, context, answers)
    if outcome.result is None and not outcome.questions:
        raise ChimeraError("the agent ended without a result")
    return outcome


def _thread(state: AgentState) -> str:
    """Where the attempt is kept. A replay may plan other work in the same place: that is another attempt."""
    work = [state["task"], state.get("earlier", []), state.get("feedback", []), state["context_version"]]
    place = f"{state['mission_id']}/{state['team']}/{state['plan_round']}/{state['task']['id']}/{state['attempt']}"
    return f"{place}/{digest(json.dumps(work, sort_keys=True))[:16]}"


def _failed(state: AgentState, error: Exception) -> Plain:
    known = error if isinstance(error, ChimeraError) else ChimeraError(f"the agent broke: {type(error).__name__}")
    return TaskResult(
        task_id=state["task"]["id"],
        status="failed",
        error={**known.as_dict(), "retryable": known.retryable or not isinstance(error, ChimeraError)},
        context_version=state["context_version"],
    ).plain()
