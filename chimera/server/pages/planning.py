"""A plan as a form, and a form as a plan: its tasks changed, left out and added before any of them is begun."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast, get_args

from pydantic import ValidationError

from chimera.core.contracts import Criterion, Plan, ReviewItem, Task
from chimera.core.errors import InputError
from chimera.core.invalid import first_problem
from chimera.review.answers import kind_of
from chimera.server.pages.words import as_line

_TASK = re.compile(r"(t[0-9]{1,4})\.title")
_LISTED = re.compile(r"[\s,]+")


def shown_plan(item: ReviewItem) -> Plan | None:
    """The plan that a question is about; None where it is about something else, or about no plan that holds."""
    if kind_of(item) != "plan":
        return None
    try:
        return Plan.model_validate(item.payload.get("plan"))
    except ValidationError:
        return None


def edited_plan(item: ReviewItem, form: Mapping[str, str], known: Iterable[str]) -> dict[str, Any]:
    """What an edit of a plan by its form replaces the question's payload with.

    A task is there under each name ``tN.title``, and left out with ``tN.out``; what waited for it then waits for what
    it waited for itself. What the form does not show of a task (its cost, its confidence) stays as it was planned.
    ``known``: the tools that there are. Tools of the plan as it was shown may stay, also where they are gone since.

    Raises:
        InputError: no plan comes out of it, or a tool is not known.
    """
    plan = shown_plan(item) or Plan()
    before = {task.id: task for task in plan.tasks}
    names = [found[1] for field in form if (found := _TASK.fullmatch(field))]
    tasks = [_task(name, form, before.get(name)) for name in names]
    left = {name for name in names if form.get(f"{name}.out")}
    kept = [{**task, "depends_on": _waits(task, tasks, left)} for task in tasks if task["id"] not in left]
    if not kept:
        raise InputError("the plan has no task left", remedy="Reject the plan instead, and say why.")
    try:
        edited = Plan.model_validate({**plan.plain(), "tasks": kept})
    except ValidationError as error:
        raise InputError(f"the edited plan is invalid: {first_problem(error, 'plan')}") from None
    _check_tools(edited.tasks, {*known, *(tool for task in plan.tasks for tool in task.tools)})
    return {**item.payload, "plan": edited.plain()}


def as_fields(task: Task) -> dict[str, str]:
    """The fields of a task as the form writes them."""
    return {
        "title": task.title,
        "instruction": task.instruction,
        "after": " ".join(task.depends_on),
        "tools": "\n".join(f"{name} {task.limits[name]}" if name in task.limits else name for name in task.tools),
        "criteria": "\n".join(f"{one.kind}: {one.value}" if one.value else one.kind for one in task.criteria),
        "arguments": as_line(task.arguments) if task.arguments else "",
    }


def _task(name: str, form: Mapping[str, str], before: Task | None) -> dict[str, Any]:
    said = {field: form.get(f"{name}.{field}", "").strip() for field in ("title", "instruction", "after", "arguments")}
    tools = [_tool(name, line) for line in _lines(form.get(f"{name}.tools", ""))]
    return {
        **(before.plain() if before is not None else {}),
        "id": name,
        "title": said["title"],
        "instruction": said["instruction"],
        "depends_on": [one for one in _LISTED.split(said["after"]) if one],
        "tools": [tool for tool, _ in tools],
        "limits": {tool: most for tool, most in tools if most is not None},
        "criteria": [_criterion(line) for line in _lines(form.get(f"{name}.criteria", "")) or ["nonempty"]],
        "arguments": _arguments(name, said["arguments"]),
    }


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _tool(task: str, line: str) -> tuple[str, int | None]:
    name, _, most = line.partition(" ")
    if most.strip() and not (most.strip().isascii() and most.strip().isdigit() and len(most.strip()) < 5):
        raise InputError(f"{task}: after the tool {name[:80]!r} stands how often it may be called, in figures")
    return name, int(most) if most.strip() else None


def _criterion(line: str) -> dict[str, str]:
    """A line of the form: a kind of criterion with its value, or else a sentence for the judge."""
    kind, _, value = line.partition(":")
    known = kind.strip() in get_args(Criterion.__annotations__["kind"])
    return {"kind": kind.strip(), "value": value.strip()} if known else {"kind": "text", "value": line}


def _arguments(task: str, given: str) -> dict[str, Any]:
    try:
        found: object = json.loads(given) if given else {}
    except (ValueError, RecursionError):
        raise InputError(f"{task}: the arguments are no JSON", remedy="Look for a missing comma or quote.") from None
    if not isinstance(found, dict):
        raise InputError(f'{task}: arguments are written {{"tool": {{"name": value}}}}')
    return cast("dict[str, Any]", found)


def _waits(task: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], left: set[str]) -> list[str]:
    """What a task waits for when some are left out: instead of those, for what they waited for."""
    needs = {str(one["id"]): list(cast("list[str]", one["depends_on"])) for one in tasks}
    waiting, found, seen = list(needs[str(task["id"])]), list[str](), set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name in left:
            waiting = [*needs[name], *waiting]
        else:
            found.append(name)
    return found


def _check_tools(tasks: Iterable[Task], known: set[str]) -> None:
    unknown = sorted({tool for task in tasks for tool in task.tools} - known)
    if unknown:
        raise InputError(
            f"there is no tool {', '.join(unknown)[:200]}",
            remedy="See /tools for those there are, by their full names.",
        )
