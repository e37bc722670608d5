"""One plain line per event, for pipes, logs and terminals that cannot draw."""

from collections.abc import Callable
from typing import Any

from chimera.cli.view.text import count, line, moment, short
from chimera.core.contracts import Event

Data = dict[str, Any]


def event_line(event: Event) -> str:
    """The event as ``12:30:05  task t1  …``, safe to show."""
    told = _TOLD.get(event.kind)
    if event.kind == "mission.started":
        text = f"mission {short(event.mission_id)} started: {event.data.get('goal', '')}"
    else:
        text = told(event.data) if told else f"{event.kind}  {_pairs(event.data)}"
    return line(f"{moment(event.at)[11:]}  {text}", 300)


def _pairs(data: Data) -> str:
    return " ".join(f"{key}={value}" for key, value in data.items())


def _task(data: Data) -> str:
    team = str(data.get("team", ""))
    return f"{team + '/' if team else ''}{data.get('task', '')}"


def _plan(data: Data) -> str:
    tasks = data.get("tasks", [])
    names = ", ".join(f"{task['id']} {task['title']}" for task in tasks)
    unmet = f"; not covered: {'; '.join(data['unmet'])}" if data.get("unmet") else ""
    return f"plan {data.get('round', 1)} of {data.get('team', '')}: {count(len(tasks), 'task')}: {names}{unmet}"


def _guard(data: Data) -> str:
    rules = f" ({', '.join(data['rules'])})" if data.get("rules") else ""
    return f"guard {_task(data)}: {data.get('action', '')} {data.get('capability', '')}{rules}"


def _verdict(data: Data) -> str:
    why = f": {'; '.join(data['reasons'])}" if data.get("reasons") else ""
    return f"judge {_task(data)}: {data.get('outcome', '')}, confidence {float(data.get('confidence', 0)):.2f}{why}"


def _answered(data: Data) -> str:
    reason = f": {data['reason']}" if data.get("reason") else ""
    return f"review {short(data.get('item', ''))}: {data.get('action', '')} by {data.get('reviewer', '')}{reason}"


def _failed(data: Data) -> str:
    return f"tool {_task(data)}: {data.get('capability', '')} failed: {data.get('code', '')} {data.get('message', '')}"


def _extracted(data: Data) -> str:
    found = f"{data.get('capability', '')} (threat {data.get('threat', '')})"
    if "records" in data:
        return f"guard {_task(data)}: {data['records']} of {count(data.get('of', 0), 'record')} of {found} withheld"
    return f"guard {_task(data)}: the text of {found} is withheld, its typed values are shown"


def _payment(data: Data) -> str:
    amount = f"{data['amount']} " if data.get("amount") else ""
    state = str(data.get("status", "")).replace("_", " ")
    return f"payment {_task(data)}: {amount}{state} ({short(data.get('intent', ''))})"


_TOLD: dict[str, Callable[[Data], str]] = {
    "teams": lambda data: f"teams: {', '.join(map(str, data.get('teams', [])))}",
    "plan": _plan,
    "agent": lambda data: f"agent {_task(data)}: turn {data.get('turn', 1)}, attempt {data.get('attempt', 1)}",
    "guard": _guard,
    "tool": lambda data: f"tool {_task(data)}: {data.get('capability', '')}",
    "tool.failed": _failed,
    "extracted": _extracted,
    "payment": _payment,
    "verdict": _verdict,
    "void": lambda data: f"void: the mission was changed; {', '.join(data.get('tasks', []))} is planned anew",
    "review.asked": lambda data: f"review {short(data.get('item', ''))}: {data.get('question', '')}",
    "review.answered": _answered,
    "review.refused": lambda data: f"review {short(data.get('item', ''))}: not answered: {data.get('reason', '')}",
    "mission.amended": lambda _: "mission amended",
    "mission.forked": lambda data: f"forked from {short(data.get('source', ''))}",
    "mission.finished": lambda data: f"mission {data.get('status', '')}",
}
