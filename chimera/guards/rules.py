"""The first rules: known and allowed tools, schemas, sizes, hidden text, and sources that the user named."""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

from chimera.core.contracts import GOAL_MAX, Decision, Threat
from chimera.guards.request import GuardRequest

MAX_DEPTH = 24
OUTPUT_MAX = 1_000_000
_LOCATION = re.compile(
    r"^(?:[a-zA-Z][a-zA-Z0-9+.-]*://|[/~\\]|[A-Za-z]:[\\/])|(?:^|[/\\])\.\.(?:[/\\]|$)|^(?:file|data|javascript):"
)
_KEPT_CONTROLS = "\n\r\t"


def reject(rule: str, reason: str, threat: Threat = Threat.LOW) -> Decision:
    """A rejection by ``rule``."""
    return Decision(action="reject", threat=threat, reasons=[reason], rules=[rule])


def texts(value: Any) -> Iterator[str]:
    """Every string inside plain data, keys included."""
    match value:
        case str():
            yield value
        case Mapping():
            for key, item in value.items():
                yield from texts(key)
                yield from texts(item)
        case list() | tuple():
            for item in value:
                yield from texts(item)
        case _:
            return


class GoalText:
    """A goal is text of a bounded length."""

    rule = "intake.goal"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject an empty or oversized goal."""
        goal = str(request.payload.get("goal", ""))
        if not goal.strip():
            return reject(self.rule, "the goal is empty")
        if len(goal) > GOAL_MAX:
            return reject(self.rule, f"the goal has {len(goal)} characters, {GOAL_MAX} are allowed")
        return None


class HiddenText:
    """Characters that a human does not see are taken out: controls, zero-width, bidi, tags, private use, surrogates."""

    rule = "text.hidden"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Edit the payload when it hides something."""
        if all(text.isascii() and text.isprintable() for text in texts(request.payload)):
            return None
        shown = _without_hidden(dict(request.payload))
        if shown == request.payload:
            return None
        return Decision(
            action="edit",
            threat=Threat.LOW,
            reasons=["characters that are not visible were removed"],
            rules=[self.rule],
            payload=shown,
        )


class AllowedTool:
    """A task calls the tools of its plan and no others."""

    rule = "permission.tool"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Default deny."""
        if request.capability is None:
            return reject(self.rule, "no such tool", Threat.MEDIUM)
        if request.task is None or request.capability.name not in request.task.tools:
            return reject(self.rule, f"{request.capability.name} is not among the tools of this task", Threat.HIGH)
        return None


class ArgumentSize:
    """Arguments are bounded in size and depth."""

    rule = "limit.arguments"

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject what is too large or too deep."""
        if _depth(request.payload) > MAX_DEPTH:
            return reject(self.rule, f"arguments are nested deeper than {MAX_DEPTH}")
        size = len(json.dumps(request.payload, ensure_ascii=False, default=str).encode("utf-8", "replace"))
        return (
            reject(self.rule, f"{size} bytes of arguments, {self._max_bytes} allowed")
            if size > self._max_bytes
            else None
        )


class ArgumentSchema:
    """Arguments fit the tool's schema, and nothing that the schema does not know is passed on."""

    rule = "schema.arguments"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject with the first violation."""
        if request.capability is None:
            return None
        schema = request.capability.input_schema
        unknown = sorted(set(request.payload) - set(schema.get("properties") or {}))
        if unknown and not schema.get("additionalProperties") and not schema.get("patternProperties"):
            return reject(self.rule, f"unknown argument {unknown[0][:60]!r}")
        return _violation(self.rule, schema, request.payload)


class ResultSchema:
    """A structured result fits the schema that the tool promised."""

    rule = "schema.result"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject with the first violation."""
        if request.capability is None or request.capability.output_schema is None:
            return None
        data = request.payload.get("data")
        if data is None:
            return reject(self.rule, "the tool promised structured data and gave none")
        return _violation(self.rule, request.capability.output_schema, data)


class NamedSource:
    """A file or URL that a tool is to touch was named by the user, in the goal or the inputs; nobody else names one."""

    rule = "flow.named-source"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject a location of unknown origin: a page or a feed may have put it there."""
        mission = request.mission
        named = [mission.goal, *mission.inputs.values()] if mission else []
        for text in _short_texts(request.payload):
            if _LOCATION.search(text.strip()) and not any(_names(source, text.strip()) for source in named):
                return reject(self.rule, "the user named no such file or URL", Threat.HIGH)
        return None


class DestructiveTool:
    """A tool that may destroy or change things elsewhere is called only after a human agreed."""

    rule = "effect.destructive"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Escalate."""
        tool = request.capability
        if tool is None or tool.read_only or not tool.destructive:
            return None
        return Decision(
            action="escalate",
            threat=Threat.MEDIUM,
            reasons=[f"{tool.name} may change things that cannot be changed back"],
            rules=[self.rule],
        )


class OutputSize:
    """An answer is bounded in size."""

    rule = "limit.output"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject what is too large."""
        size = sum(len(text) for text in texts(request.payload))
        return reject(self.rule, f"{size} characters, {OUTPUT_MAX} allowed") if size > OUTPUT_MAX else None


def _short_texts(value: Any) -> Iterator[str]:
    # A document may speak of paths and URLs; only a value that is one can direct a tool.
    return (text for text in texts(value) if len(text) <= 2_048 and "\n" not in text)


def _names(source: str, location: str) -> bool:
    return (
        source == location
        or re.search(rf"(?<![^\s\"'(<]){re.escape(location)}(?![^\s\"'),.;:!?>])", source) is not None
    )


def _depth(value: Any) -> int:
    deepest = 0
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        item, level = stack.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH:
            return level
        children: Any = item.values() if isinstance(item, Mapping) else item if isinstance(item, list) else ()
        stack.extend((child, level + 1) for child in children)
    return deepest


def _without_hidden(value: Any) -> Any:
    match value:
        case str():
            return "".join(
                char
                for char in value
                if char in _KEPT_CONTROLS or unicodedata.category(char) not in ("Cc", "Cf", "Co", "Cs")
            )
        case dict():
            return {_without_hidden(key): _without_hidden(item) for key, item in value.items()}
        case list():
            return [_without_hidden(item) for item in value]
        case _:
            return value


@lru_cache(maxsize=512)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))


def _violation(rule: str, schema: Mapping[str, Any], data: Any) -> Decision | None:
    error = next(_validator(json.dumps(schema, sort_keys=True)).iter_errors(data), None)
    if error is None:
        return None
    where = "/".join(str(part) for part in error.absolute_path) or "the whole"
    # Not error.message: it quotes the value, which is untrusted text on its way to a model and a log.
    return reject(rule, f"{where} violates {error.validator} of the schema")
