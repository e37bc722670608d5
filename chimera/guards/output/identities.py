"""Identity numbers of people, by country: a reviewed table of forms, and python-stdnum for the check digits."""

import importlib
import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from chimera.core.errors import PolicyInvalid

BEFORE = 60
"""Words that tell what a number is stand at most this many characters before it."""


@dataclass(frozen=True)
class Identity:
    """One way in which a country numbers people. Without ``module`` the form is all that can be checked."""

    country: str
    name: str
    module: str
    pattern: re.Pattern[str]
    words: tuple[str, ...]
    sample: str
    near: str

    def holds(self, value: str) -> bool:
        """Whether the check digits are right."""
        if not self.module:
            return True
        return bool(importlib.import_module(f"stdnum.{self.module}").is_valid(value))


@cache
def identities() -> tuple[Identity, ...]:
    """The table of ``identities.toml``, in order.

    Raises:
        PolicyInvalid: the file cannot be used.
    """
    text = (resources.files(__package__ or "") / "identities.toml").read_text("utf-8")
    try:
        return tuple(_identity(part) for part in tomllib.loads(text)["identity"])
    except (KeyError, TypeError, re.error, tomllib.TOMLDecodeError) as error:
        raise PolicyInvalid(f"identities.toml: {error}") from error


def identity_numbers(text: str, regions: Collection[str]) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind of each number. Numbers that are digits alone count only where a word says what they are."""
    small = ""
    for known in identities():
        if regions and known.country not in regions:
            continue
        for match in known.pattern.finditer(text):
            small = small or text.lower()
            # ``lower`` may move places in rare scripts by a few characters, which the width of the window covers.
            before = small[max(0, match.start() - BEFORE) : match.start()]
            told = not known.words or any(word in before for word in known.words)
            if told and known.holds(match.group()):
                yield match.start(), match.end(), f"{known.name} ({known.country})"


def _identity(part: dict[str, Any]) -> Identity:
    return Identity(
        country=part["country"],
        name=part["name"],
        module=part["module"],
        pattern=re.compile(rf"(?<![\w./-])(?:{part['pattern']})(?![\w/-]|[.,]\d)"),
        words=tuple(part["words"]),
        sample=part["sample"],
        near=part["near"],
    )
