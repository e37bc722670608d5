"""The form that all guards of texts share: every string is examined, and the strictest finding decides."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from chimera.core.contracts import Decision, Threat
from chimera.guards.output.finding import Context, Finding, Scanner, decision, examine
from chimera.guards.request import GuardRequest

MAX_DEPTH = 64
INLINE_CHARACTERS = 50_000
"""Longer payloads are examined in a thread, so that other agents go on and the guard's deadline holds."""


class TextGuard:
    """A guard that examines all strings of a payload, names included. Numbers are not looked at."""

    rule: str

    def scanner(self, context: Context) -> Scanner:
        """The check for one request. It is called once for each string."""
        raise NotImplementedError

    async def check(self, request: GuardRequest) -> Decision | None:
        """Edit what can be taken out; escalate or reject what cannot. Long texts are examined in a thread."""
        context = Context.of(request)
        if request.characters > INLINE_CHARACTERS:
            return await asyncio.to_thread(self.judge, request.payload, context)
        return self.judge(request.payload, context)

    def judge(self, payload: Mapping[str, Any], context: Context) -> Decision | None:
        """The same, without waiting for anything."""
        return self.judged_by(payload, self.scanner(context))

    def judged_by(self, payload: Mapping[str, Any], scan: Scanner, names: bool = True) -> Decision | None:
        """What a check makes of a payload, with or without the names in it."""
        found: list[Finding] = []
        cleaned = _examined(dict(payload), scan, found, names, 1)
        said = decision(self.rule, found)
        if said is None or said.action == "reject" or not any(finding.action == "edit" for finding in found):
            return said
        return said.model_copy(update={"payload": cleaned})


def _examined(value: Any, scan: Scanner, found: list[Finding], names: bool, depth: int) -> Any:
    """The value with its strings edited; what was found is added to ``found``."""
    if depth > MAX_DEPTH:
        found.append(Finding("limit.depth", f"nested deeper than {MAX_DEPTH}", 0, 0, "reject", Threat.MEDIUM))
        return None
    match value:
        case str():
            outcome = examine(value, scan)
            found += outcome.findings
            return outcome.text
        case dict() | Mapping():
            made: dict[str, Any] = {}
            for name, item in cast("Mapping[Any, Any]", value).items():
                shown = str(_examined(str(name), scan, found, names, depth + 1)) if names else str(name)
                while shown in made:  # two names can become one; neither value may get lost
                    shown += "'"
                made[shown] = _examined(item, scan, found, names, depth + 1)
            return made
        case list() | tuple():
            return [_examined(item, scan, found, names, depth + 1) for item in cast("list[Any]", value)]
        case _:
            return value
