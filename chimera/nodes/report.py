"""Report: what a team hands back to its mission."""

from typing import Any

from chimera.core.contracts import Evidence, Plan, TaskResult
from chimera.core.state import Plain, TeamState
from chimera.nodes.evidence import one_list
from chimera.nodes.questions import failures


async def report(state: TeamState) -> dict[str, Any]:
    """The answers of the tasks that no other task builds on, and what is missing."""
    plan, states = Plan.model_validate(state["plan"]), state.get("states", {})
    results = {
        task.id: TaskResult.model_validate(state["outcomes"][task.id])
        for task in plan.tasks
        if states.get(task.id) == "done"
    }
    inner = {need for task in plan.tasks for need in task.depends_on if task.id in results}
    answers, evidence = one_list((result.answer, _may_cite(name, plan, results)) for name, result in results.items())
    last = [answer for name, answer in zip(results, answers, strict=True) if name not in inner]
    problem = state.get("problem")
    missing = [
        *plan.unmet,
        *(f"{task.title}: not done" for task in plan.tasks if task.id not in results and not state.get("dry_run")),
    ]
    confidence = [float(found["confidence"]) for name, found in state.get("verdicts", {}).items() if name in results]
    found: Plain = {
        "team": state["team"]["name"],
        "planned": len(plan.tasks),
        "done": len(results),
        "answer": "\n\n".join(filter(None, last)),
        "artifacts": [item.plain() for result in results.values() for item in result.artifacts],
        "evidence": [piece.plain() for piece in evidence],
        "unmet": missing,
        "reasons": _reasons(state, problem, all_done=not missing),
        "refused": bool(problem) and not (problem or {}).get("accepted"),
        "context_version": state.get("context_version", ""),
        "plan_round": state["plan_round"],
        "confidence": min(confidence, default=plan.confidence if state.get("dry_run") else 0.0),
        "provider": ", ".join(sorted({result.provider for result in results.values() if result.provider})),
    }
    return {"reports": [found]}


def _may_cite(task_id: str, plan: Plan, results: dict[str, TaskResult]) -> list[Evidence]:
    """The evidence of a task and of what it builds on; its own counts where both have an id."""
    return [piece for name in (task_id, *plan.before(task_id)) for piece in results[name].evidence]


def _reasons(state: TeamState, problem: Plain | None, *, all_done: bool) -> list[str]:
    """What went wrong; of earlier plans too, unless the last one made it good."""
    _, reasons = failures(state)
    earlier = [] if all_done else state.get("setbacks", [])
    ended = [f"{problem['code']} {problem['message']}"] if problem else []
    return list(dict.fromkeys([*ended, *earlier, *reasons]))
