"""The first rules: allowed tools, sizes, schemas, calls that need a human, and payments that nobody has configured."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from chimera.core.contracts import FIND_TOOLS, Decision, Threat
from chimera.core.fit import misfit
from chimera.core.usable import argument_problems
from chimera.guards.request import GuardRequest, json_bytes, reject

MAX_DEPTH = 24
OUTPUT_MAX = 1_000_000
INLINE_BYTES = 100_000
"""Larger results are checked in a thread, so that other agents go on and the guard's deadline holds."""


class AllowedTool:
    """A worker calls the tools of its task, and may look for others; nobody else calls any.

    What it found and its task does not name may only read, and only as long as nothing that it has read is suspicious:
    for anything else a human is asked.
    """

    rule = "permission.tool"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Default deny."""
        if request.capability is None:
            return reject(self.rule, "no such tool", Threat.MEDIUM)
        if request.role != "worker":
            return reject(self.rule, f"the role {request.role} may not call tools", Threat.HIGH)
        name = request.capability.name
        if request.task is not None and (name in request.task.tools or name == FIND_TOOLS):
            return None
        if request.task is None or name not in request.notes.get("found", ()):
            return reject(self.rule, f"{name} is not among the tools of this task", Threat.HIGH)
        if request.capability.read_only and request.notes.get("threat") == Threat.NONE:
            return None
        why = "has read something suspicious" if request.capability.read_only else "was not given it by its plan"
        return Decision(
            action="escalate",
            threat=Threat.MEDIUM,
            reasons=[f"{name} was found by an agent that {why}"],
            rules=[self.rule],
        )


class ArgumentSize:
    """Arguments are bounded in size and depth."""

    rule = "limit.arguments"

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject what is too large or too deep."""
        if _depth(request.payload) > MAX_DEPTH:
            return reject(self.rule, f"arguments are nested deeper than {MAX_DEPTH}")
        if request.size > self._max_bytes:
            return reject(self.rule, f"{request.size} bytes of arguments, {self._max_bytes} allowed")
        return None


class ArgumentSchema:
    """Arguments fit the tool's schema, and nothing that the schema does not know is passed on."""

    rule = "schema.arguments"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject with the first violation."""
        if request.capability is None:
            return None
        problems = argument_problems(request.capability.input_schema, request.payload)
        return reject(self.rule, problems[0]) if problems else None


class ResultSize:
    """A result is bounded, whatever brought it."""

    rule = "limit.result"

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject what is too large."""
        payload = request.payload
        told = int(payload.get("size") or 0)
        if max(request.size, told) <= self._max_bytes:
            return None
        data = payload.get("data")
        size = json_bytes(data) if data is not None else len(str(payload.get("text") or "").encode("utf-8", "replace"))
        size = max(size, told)
        return (
            reject(self.rule, f"a result of {size} bytes, {self._max_bytes} allowed")
            if size > self._max_bytes
            else None
        )


class ResultSchema:
    """A structured result fits the schema that the tool promised."""

    rule = "schema.result"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject with the first violation, and what can no longer be checked."""
        if request.capability is None:
            return reject(self.rule, "the tool is gone, so nothing says what its result should be")
        if request.capability.output_schema is None:
            return None
        data = request.payload.get("data")
        if data is None:
            return reject(self.rule, "the tool promised structured data and gave none")
        large = int(request.payload.get("size") or 0) > INLINE_BYTES
        schema = request.capability.output_schema
        problem = await asyncio.to_thread(misfit, schema, data) if large else misfit(schema, data)
        return reject(self.rule, problem) if problem else None


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


class NoPayments:
    """No payment passes until payments are configured."""

    rule = "payment.not-configured"

    def __init__(self, configured: Callable[[], bool] = bool) -> None:
        self._configured = configured

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject, unless there is something that pays."""
        return None if self._configured() else reject(self.rule, "payments are not configured", Threat.NONE)


class OutputSize:
    """An answer is bounded in size."""

    rule = "limit.output"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject what is too large."""
        size = request.characters
        return reject(self.rule, f"{size} characters, {OUTPUT_MAX} allowed") if size > OUTPUT_MAX else None


def _depth(value: Any) -> int:
    deepest = 0
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        item, level = stack.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH:
            return level
        if isinstance(item, str):  # most are, and to ask whether one is a Mapping takes longer than all the rest
            continue
        if isinstance(item, (dict, Mapping)):
            stack.extend((child, level + 1) for child in cast("Mapping[Any, Any]", item).values())
        elif isinstance(item, (list, tuple)):
            stack.extend((child, level + 1) for child in cast("list[Any]", item))
    return deepest
