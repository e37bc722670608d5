"""The questions that a team puts to a human: about its plan, about a result, about giving up.

The id of a question is derived from where it is asked and from what is shown: the same question asked again is one
question, and an answer never counts for something else than what was shown.
"""

import json

from chimera.core.contracts import Plan, ReviewItem, ReviewPoint, TaskResult, Verdict
from chimera.core.errors import GuardRejected
from chimera.core.ids import derived_id, digest
from chimera.core.state import Plain, TeamState
from chimera.nodes.banding import point_of

BLIND = 0.5
"""What a question says of confidence where nothing may be said."""


def about_plan(state: TeamState, plan: Plan, plan_round: int) -> ReviewItem:
    """Whether to begin with a plan."""
    return _item(
        state,
        plan_round,
        point=ReviewPoint.QUALITY,
        question=f"Is this plan of {len(plan.tasks)} tasks right?",
        payload={"kind": "plan", "plan": plan.plain()},
        confidence=plan.confidence,
        reasons=[plan.rationale] if plan.rationale else [],
    )


def about_result(
    state: TeamState, result: TaskResult, verdict: Verdict, *, blocking: bool, blind: bool = False
) -> ReviewItem:
    """Whether a result counts. The work waits for the answer when the question is ``blocking``.

    Who is asked ``blind`` is not told what the machine thinks of it: his answer is what the machine is held against.
    """
    title = next(item["title"] for item in state["plan"]["tasks"] if item["id"] == result.task_id)
    question = f"Is this result of {title!r} good enough?"
    if result.status == "failed":
        question = f"Nobody knows whether {title!r} took effect. Is it done?"
    return _item(
        state,
        state["plan_round"],
        point=point_of(result),
        question=question[:2_000],
        payload={
            "kind": "result",
            "task": result.task_id,
            "attempt": state["attempts"][result.task_id],
            "answer": result.answer,
            "artifacts": [artifact.plain() for artifact in result.artifacts],
            "blocking": blocking,
        },
        confidence=BLIND if blind else verdict.confidence,
        reasons=[] if blind else verdict.reasons,
    )


def about_giving_up(state: TeamState, failed: list[str], reasons: list[str]) -> ReviewItem:
    """Whether to go on with what there is."""
    return _item(
        state,
        state["plan_round"],
        point=ReviewPoint.QUALITY,
        question=f"{len(failed)} tasks failed after every retry and a new plan. Go on with what there is?",
        payload={"kind": "give_up", "failed": failed, "blocking": True},
        confidence=0.0,
        reasons=reasons,
    )


def about_refusal(state: TeamState, plan_round: int, error: GuardRejected) -> ReviewItem:
    """Whether to plan again, when guards let nothing go to the planner's model."""
    return _item(
        state,
        plan_round,
        point=ReviewPoint.SECURITY,
        question="The guards let nothing go to the planner's model. Plan again?",
        payload={"kind": "refused", "refused": str(error), "blocking": True},
        confidence=0.0,
        reasons=[str(error)],
    )


def failures(state: TeamState) -> tuple[list[str], list[str]]:
    """The ids of the tasks that failed for good, and why."""
    failed = [task_id for task_id, what in state.get("states", {}).items() if what == "failed"]
    return failed, [f"{name}: {reason}" for name in failed for reason in state.get("feedback", {}).get(name, [])]


def _item(state: TeamState, plan_round: int, *, payload: Plain, **fields: object) -> ReviewItem:
    shown = digest(json.dumps(payload, sort_keys=True))
    name = derived_id("review", state["mission_id"], state["team"]["name"], plan_round, shown)
    return ReviewItem.model_validate({"id": name, "mission_id": state["mission_id"], "payload": payload, **fields})
