"""Texts as a human sees them: what hides in them is taken out, and a goal is text of a bounded length."""

import unicodedata
from functools import lru_cache
from typing import Any, cast

from chimera.core.contracts import GOAL_MAX, Decision, Threat
from chimera.guards.request import GuardRequest, reject

_KEPT_CONTROLS = "\n\r\t"
_PLAIN = bytes([*b"\t\n", *range(0x20, 0x7F)])
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Co", "Cs")  # controls, formats (zero width, bidi, tags), private use, surrogates
# The rest of Unicode's Default_Ignorable_Code_Point: fillers, joiners and variation selectors, which can spell out
# whole messages behind one visible character. Source: Unicode, DerivedCoreProperties.txt.
_IGNORABLE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2065, 0x2065),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
)


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
    """Characters that a human does not see are taken out. It stands before the rules that look at the text."""

    rule = "text.hidden"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Edit the payload when it hides something."""
        if is_plain("".join(request.texts)):
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


def is_plain(text: str) -> bool:
    """Whether a text is ASCII without controls but line feeds and tabs: nearly every text, and quickly told."""
    return text.isascii() and not text.encode("ascii").translate(None, _PLAIN)


def visible(text: str) -> str:
    """The text without what a human does not see; line breaks and tabs stay."""
    if is_plain(text):
        return text
    hidden = {ord(char): None for char in set(text) if _is_hidden(char)}
    shown = text.translate(hidden) if hidden else text
    # A line break of Windows is one; alone, a carriage return hides what stands before it.
    return "\r\n".join(part.replace("\r", "") for part in shown.split("\r\n")) if "\r" in shown else shown


@lru_cache(4096)  # the same few characters make up nearly all texts that are not ASCII
def _is_hidden(char: str) -> bool:
    if char in _KEPT_CONTROLS:
        return False
    code = ord(char)
    return unicodedata.category(char) in _HIDDEN_CATEGORIES or any(low <= code <= high for low, high in _IGNORABLE)


def _without_hidden(value: Any) -> Any:
    match value:
        case str():
            return visible(value)
        case dict():
            return {visible(key): _without_hidden(item) for key, item in cast("dict[str, Any]", value).items()}
        case list():
            return [_without_hidden(item) for item in cast("list[Any]", value)]
        case _:
            return value
