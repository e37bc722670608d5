"""What is known of a mission while it runs: a small model that its events build up. No drawing here."""

from dataclasses import dataclass, field
from typing import Any

from chimera.core.contracts import Event, Usage

GLIMPSE = 3


@dataclass
class ToolUse:
    """One call of a tool: asked for, decided on, made."""

    name: str
    decision: str = ""
    rules: list[str] = field(default_factory=list[str])
    state: str = "asked"
    why: str = ""


@dataclass
class TaskProgress:
    """One task of a team's current plan."""

    id: str
    title: str
    tools: list[str] = field(default_factory=list[str])
    needs: list[str] = field(default_factory=list[str])
    limits: dict[str, int] = field(default_factory=dict[str, int])
    state: str = "planned"
    turn: int = 0
    attempt: int = 0
    uses: list[ToolUse] = field(default_factory=list[ToolUse])
    confidence: float | None = None
    why: str = ""

    def use(self, name: str) -> ToolUse:
        """The last call of a tool that has not ended, or a new one."""
        for found in reversed(self.uses):
            if found.name == name and found.state in ("asked", "allowed", "held"):
                return found
        self.uses.append(ToolUse(name))
        return self.uses[-1]


@dataclass
class TeamProgress:
    """One team, with the tasks of its newest plan, and why those of earlier plans failed."""

    name: str
    round: int = 0
    confidence: float | None = None
    unmet: list[str] = field(default_factory=list[str])
    failures: list[str] = field(default_factory=list[str])
    tasks: dict[str, TaskProgress] = field(default_factory=dict[str, TaskProgress])


@dataclass
class Progress:
    """A mission, as its events tell it."""

    mission_id: str
    goal: str = ""
    status: str = "starting"
    teams: dict[str, TeamProgress] = field(default_factory=dict[str, TeamProgress])
    guards: dict[str, int] = field(default_factory=dict[str, int])
    reviews_open: dict[str, str] = field(default_factory=dict[str, str])
    reviews_answered: int = 0
    reviewers: list[str] = field(default_factory=list[str])
    usage: Usage = field(default_factory=Usage)

    def apply(self, event: Event) -> None:
        """Take in one event. Kinds that are not known change nothing."""
        handler = _HANDLERS.get(event.kind)
        if handler is not None:
            handler(self, event.data)

    def team(self, name: str) -> TeamProgress:
        """The team of that name."""
        return self.teams.setdefault(name, TeamProgress(name))

    def task(self, data: dict[str, Any]) -> TaskProgress:
        """The task that an event's data name."""
        tasks = self.team(str(data.get("team", ""))).tasks
        name = str(data.get("task", ""))
        return tasks.setdefault(name, TaskProgress(name, ""))


def _started(progress: Progress, data: dict[str, Any]) -> None:
    progress.goal = str(data.get("goal", progress.goal))
    progress.status = "running"


def _teams(progress: Progress, data: dict[str, Any]) -> None:
    for name in data.get("teams", []):
        progress.team(str(name))


def _plan(progress: Progress, data: dict[str, Any]) -> None:
    team = progress.team(str(data.get("team", "")))
    team.round = int(data.get("round", 1))
    team.confidence = data.get("confidence")
    team.failures += [f"{task.title}: {task.why}" for task in team.tasks.values() if task.why and task.state != "done"]
    team.unmet = list(data.get("unmet", []))
    team.tasks = {
        task["id"]: TaskProgress(
            task["id"], task["title"], list(task["tools"]), list(task["needs"]), dict(task.get("limits", {}))
        )
        for task in data.get("tasks", [])
    }


def _agent(progress: Progress, data: dict[str, Any]) -> None:
    task = progress.task(data)
    task.state = "running"
    task.turn, task.attempt = int(data.get("turn", 0)), int(data.get("attempt", 0))
    progress.status = "running"


def _guard(progress: Progress, data: dict[str, Any]) -> None:
    action = str(data.get("action", ""))
    progress.guards[action] = progress.guards.get(action, 0) + 1
    use = progress.task(data).use(str(data.get("capability", "")))
    use.decision, use.rules = action, list(data.get("rules", []))
    use.state = {"allow": "allowed", "edit": "allowed", "escalate": "held"}.get(action, "rejected")


def _tool(progress: Progress, data: dict[str, Any]) -> None:
    progress.task(data).use(str(data.get("capability", ""))).state = "called"


def _tool_failed(progress: Progress, data: dict[str, Any]) -> None:
    task, name = progress.task(data), str(data.get("capability", ""))
    use = next((found for found in reversed(task.uses) if found.name == name), None) or task.use(name)
    use.state, use.why = "failed", f"{data.get('code', '')} {data.get('message', '')}".strip()


def _verdict(progress: Progress, data: dict[str, Any]) -> None:
    task = progress.task(data)
    task.confidence = data.get("confidence")
    task.why = "; ".join(str(reason) for reason in data.get("reasons", []))
    outcome = str(data.get("outcome", ""))
    task.state = {"approve": "done", "retry": "retry", "escalate": "waiting"}.get(outcome, outcome)


def _void(progress: Progress, data: dict[str, Any]) -> None:
    tasks = progress.team(str(data.get("team", ""))).tasks
    for name in data.get("tasks", []):
        if name in tasks:
            tasks[name].state = "void"


def _asked(progress: Progress, data: dict[str, Any]) -> None:
    progress.reviews_open[str(data.get("item", ""))] = str(data.get("question", ""))
    progress.status = "waiting"


def _answered(progress: Progress, data: dict[str, Any]) -> None:
    progress.reviews_open.pop(str(data.get("item", "")), None)
    progress.reviews_answered += 1
    reviewer = str(data.get("reviewer", ""))
    if reviewer and reviewer not in progress.reviewers:
        progress.reviewers.append(reviewer)
    progress.status = "running"


def _finished(progress: Progress, data: dict[str, Any]) -> None:
    progress.status = str(data.get("status", ""))


_HANDLERS = {
    "mission.started": _started,
    "teams": _teams,
    "plan": _plan,
    "agent": _agent,
    "guard": _guard,
    "tool": _tool,
    "tool.failed": _tool_failed,
    "verdict": _verdict,
    "void": _void,
    "review.asked": _asked,
    "review.answered": _answered,
    "mission.finished": _finished,
    "result": _finished,
}
