"""The plan as a tree: teams, their tasks, what each task's agent does and what the guards said."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from chimera.cli.view.progress import GLIMPSE, Progress, TaskProgress, TeamProgress, ToolUse
from chimera.cli.view.text import count, line, short

MARKS = {
    "planned": ("·", "dim"),
    "running": ("▸", "cyan"),
    "retry": ("↻", "yellow"),
    "waiting": ("?", "magenta"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "void": ("∅", "dim"),
}
DECISIONS = {"allow": "green", "edit": "yellow", "escalate": "magenta", "reject": "red"}
STATUS = {
    "done": "green",
    "partial": "yellow",
    "waiting": "magenta",
    "failed": "red",
    "rejected": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "stopped": "yellow",
}
TASKS_SHOWN = 30


def status_of(mission: Mapping[str, Any]) -> str:
    """How a mission stands, from its row: ``stopped`` when nobody runs it any more and it has not ended."""
    status = str(mission["status"])
    return "stopped" if status == "running" and not mission["attended"] else status


def plan_tree(progress: Progress, *, spin: str = "") -> Tree:
    """The mission with its teams and tasks. ``spin`` is the mark of what runs now, if it is to move."""
    head = Text.assemble(("◆ ", "bold cyan"), (line(progress.goal or "…", 100), "bold"))
    tree = Tree(head, guide_style="dim")
    for team in progress.teams.values():
        branch = tree.add(_team_line(team))
        for failure in team.failures[-GLIMPSE:]:
            branch.add(Text.assemble(("✗ ", "red"), ("before: ", "dim"), line(failure, 160)))
        for task in _most_telling(team):
            branch.add(_task_lines(task, spin))
        hidden = len(team.tasks) - TASKS_SHOWN
        if hidden > 0:
            branch.add(Text(f"and {count(hidden, 'more task')}", style="dim"))
        for missing in team.unmet:
            branch.add(Text.assemble(("! ", "yellow"), ("not covered: ", "yellow"), line(missing, 120)))
    for item, question in progress.reviews_open.items():
        tree.add(Text.assemble(("? ", "bold magenta"), line(question, 110), (f"  review {short(item)}", "dim")))
    return tree


def summary(progress: Progress, seconds: str, model: str) -> Text:
    """One line of totals: guards, reviews, model, tokens, cost, time."""
    guards = ", ".join(f"{number} {_PAST.get(action, action)}" for action, number in sorted(progress.guards.items()))
    usage = progress.usage
    parts = [
        f"guards: {guards or 'none asked yet'}",
        *([f"reviews: {progress.reviews_answered} answered"] if progress.reviews_answered else []),
        model,
        f"{count(usage.calls, 'call')}, {count(usage.tokens_in + usage.tokens_out, 'token')}, {usage.cost}",
        seconds,
    ]
    return Text(" │ ".join(line(part, 80) for part in parts if part), style="dim")


_PAST = {"allow": "allowed", "edit": "edited", "escalate": "escalated", "reject": "rejected"}


def _most_telling(team: TeamProgress) -> list[TaskProgress]:
    """The tasks to show of a large team: those that do something before those that wait or are done."""
    tasks = list(team.tasks.values())
    if len(tasks) <= TASKS_SHOWN:
        return tasks
    order = {"running": 0, "waiting": 1, "retry": 2, "failed": 3}
    chosen = sorted(tasks, key=lambda task: order.get(task.state, 4))[:TASKS_SHOWN]
    return [task for task in tasks if task in chosen]


def _team_line(team: TeamProgress) -> Text:
    text = Text.assemble(("team ", "dim"), (line(team.name, 60), "bold"))
    if team.round:
        done = sum(task.state == "done" for task in team.tasks.values())
        text.append(f"  plan {team.round}, {done} of {count(len(team.tasks), 'task')} done", style="dim")
        if team.confidence is not None:
            text.append(f", confidence {team.confidence:.2f}", style="dim")
    else:
        text.append("  planning", style="cyan")
    return text


def _task_lines(task: TaskProgress, spin: str) -> RenderableType:
    mark, style = MARKS.get(task.state, ("·", "dim"))
    head = Text.assemble((f"{spin if spin and task.state == 'running' else mark} ", style), (f"{task.id} ", "dim"))
    head.append(line(task.title, 90))
    if task.state == "planned" and task.needs:
        head.append(f"  after {', '.join(task.needs)}", style="dim")
    if task.limits:
        may = (f"{line(tool, 60)} ×{limit}" for tool, limit in task.limits.items())
        head.append(f"  may call {', '.join(may)}", style="dim")
    if task.state == "running":
        again = f", attempt {task.attempt}" if task.attempt > 1 else ""
        head.append(f"  agent: turn {task.turn}{again}", style="cyan")
    if task.confidence is not None:
        head.append(f"  judge: {_JUDGED.get(task.state, task.state)} {task.confidence:.2f}", style=style)
    below = [_use_line(use) for use in task.uses[-GLIMPSE:]]
    if task.why:
        below.append(Text(f"  {line(task.why, 110)}", style="yellow"))
    return Group(head, *below) if below else head


_JUDGED = {"done": "approved", "retry": "sent back", "waiting": "for a human", "failed": "failed"}


def _use_line(use: ToolUse) -> Text:
    text = Text.assemble(("  ⚙ ", "dim"), (line(use.name, 60), ""), ("  guard: ", "dim"))
    text.append(use.decision or "…", style=DECISIONS.get(use.decision, "dim"))
    if use.rules:
        text.append(f" ({line(', '.join(use.rules), 60)})", style="dim")
    if use.state == "failed":
        text.append(f"  {line(use.why, 80)}", style="red")
    return text
