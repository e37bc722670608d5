"""A mission as the form of the page asks for it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from chimera.core.contracts import GOAL_MAX, Mission
from chimera.core.errors import InputError
from chimera.core.invalid import first_problem


def begun_by(form: Mapping[str, str], tenant: str) -> Mission:
    """The mission that a form asks for. ``inputs``: a line each, ``name: value``; ``constraints``: a line each.

    Raises:
        InputError: it says what does not hold.
    """
    goal = form.get("goal", "").strip()
    if not 0 < len(goal) <= GOAL_MAX:
        raise InputError(f"a goal has 1 to {GOAL_MAX:,} characters", remedy="Say in plain words what is wanted.")
    asked: dict[str, Any] = {
        "goal": goal,
        "tenant": tenant,
        "persona": form.get("persona", "").strip(),
        "inputs": dict(_named(line) for line in _lines(form.get("inputs", ""))),
        "constraints": _lines(form.get("constraints", "")),
    }
    if minutes := form.get("minutes", "").strip():
        asked["deadline_s"] = 60 * _whole("the deadline in minutes", minutes)
    if tokens := form.get("tokens", "").strip():
        asked["budget"] = {"tokens": _whole("the most tokens", tokens)}
    try:
        return Mission.model_validate(asked)
    except ValidationError as error:
        raise InputError(f"this is no mission: {first_problem(error)}") from None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _named(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip() or not value.strip():
        raise InputError("material is written one a line, as name: value", remedy="For example: feed: posts.csv")
    return name.strip(), value.strip()


def _whole(what: str, given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) < 12):
        raise InputError(f"{what} is a whole number")
    return int(given)
