"""What a question is about, as the page draws it: a call, a plan, or text. Whatever it holds, it can be drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import ValidationError

from chimera.core.contracts import Plan, Task
from chimera.review.work import Card
from chimera.server.pages.words import as_json


@dataclass(frozen=True)
class View:
    """One of three: ``capability`` with ``rows`` of its arguments; ``tasks``; or ``text``."""

    text: str = ""
    capability: str = ""
    threat: str = ""
    rows: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    tasks: list[Task] = field(default_factory=list[Task])
    artifacts: int = 0


def view_of(card: Card) -> View:
    """How a question is drawn; what is not as expected is drawn as JSON."""
    shown = card.item.payload
    arguments, answer, artifacts = shown.get("arguments"), shown.get("answer"), shown.get("artifacts")
    if card.kind == "call" and isinstance(arguments, Mapping):
        rows = [(str(name), _text(value)) for name, value in cast("Mapping[Any, Any]", arguments).items()]
        return View(capability=str(shown.get("capability")), threat=str(shown.get("threat", "")), rows=rows)
    if card.kind == "result" and isinstance(answer, str):
        return View(text=answer, artifacts=len(cast("list[Any]", artifacts)) if isinstance(artifacts, list) else 0)
    if card.kind == "plan":
        try:
            return View(tasks=list(Plan.model_validate(shown.get("plan")).tasks))
        except ValidationError:
            pass
    return View(text=as_json(shown))


def _text(value: object) -> str:
    return value if isinstance(value, str) else as_json(value)
