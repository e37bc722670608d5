"""Unsafe content by its wording: a coarse net over a reviewed file, not a classifier.

It knows a few ways in which instructions and attacks are worded in English. It does not know what a text means: other
words, other languages and allusions pass it. Its job is to stop the crude and to put the doubtful before a human.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from chimera.core.contracts import Threat
from chimera.core.errors import PolicyInvalid
from chimera.guards.output.finding import Context, Finding, Scanner
from chimera.guards.output.textguard import TextGuard

_SENTENCE = re.compile(r"[^.!?\n]{1,600}+(?:[.!?](?=\w)[^.!?\n]{0,600}+){0,4}+")


@dataclass(frozen=True)
class Category:
    """One kind of content, and what to do about it. ``unless``: words that show that a sentence is about it instead."""

    id: str
    reason: str
    action: Literal["escalate", "reject"]
    threat: Threat
    patterns: tuple[re.Pattern[str], ...]
    unless: tuple[str, ...]
    sample: str
    near: str


class UnsafeContent(TextGuard):
    """Content that must not leave is rejected or put before a human, by category. A coarse net, not a classifier."""

    rule = "output.unsafe"

    def scanner(self, context: Context) -> Scanner:
        """The same check for every request."""
        return find_unsafe


@cache
def categories() -> tuple[Category, ...]:
    """The categories of ``unsafe.toml``, in order.

    Raises:
        PolicyInvalid: the file cannot be used.
    """
    text = (resources.files(__package__ or "") / "unsafe.toml").read_text("utf-8")
    try:
        return tuple(_category(part) for part in tomllib.loads(text)["category"])
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise PolicyInvalid(f"unsafe.toml: {error}") from error


def find_unsafe(text: str) -> list[Finding]:
    """Every sentence that a category catches. Linear in the length of the text."""
    return list(_found(text))


def _found(text: str) -> Iterator[Finding]:
    for sentence in _SENTENCE.finditer(text):
        small = " ".join(sentence.group().lower().replace("’", "'").split())
        for category in categories():
            if any(pattern.search(small) for pattern in category.patterns) and not any(
                word in small for word in category.unless
            ):
                rule = f"unsafe.{category.id}"
                yield Finding(rule, category.reason, *sentence.span(), category.action, category.threat)


def _category(part: dict[str, Any]) -> Category:
    if part["action"] not in ("escalate", "reject"):
        raise ValueError(f"{part['id']}: action {part['action']}")
    return Category(
        id=part["id"],
        reason=part["reason"],
        action=part["action"],
        threat=Threat(part["threat"]),
        patterns=tuple(re.compile(pattern) for pattern in part["patterns"]),
        unless=tuple(part["unless"]),
        sample=part["sample"],
        near=part["near"],
    )
