"""What the schema of an argument says of its values: by its name, its description, its format and its examples."""

import re
from collections.abc import Mapping
from typing import Any, cast

from chimera.core.fit import matches
from chimera.core.lexical import stems
from chimera.models.offline import words
from chimera.models.offline.words import is_place

# What a property's own name and description say of its values; nothing here is about goals.
PLACES = frozenset(stems("file path url uri link folder directory"))
SEARCHED = frozenset(stems("query search question keyword term topic"))
WRITTEN = frozenset(stems("content text body message description comment code script prompt sql expression insight"))
FORMAL = frozenset(stems("sql code expression regex json"))
TITLES = frozenset(stems("name title"))
PATTERNS = frozenset(stems("pattern glob mask"))
STARTS, ENDS = frozenset(stems("source from start begin since")), frozenset(stems("target to end until destination"))
OPENING_WORDS = 6
_DAY = re.compile(r"\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?")
_SAMPLE = re.compile(r"'([^']{2,80})'|\"([^\"]{2,80})\"|`([^`]{2,80})`|\(([^\s()]{3,40})\)")


def about(name: str, form: Mapping[str, Any]) -> set[str]:
    """The stems of what an argument's name, title and description say."""
    return set(stems(f"{name} {form.get('title', '')} {form.get('description', '')}"[:2_000]))


def is_label(name: str, form: Mapping[str, Any]) -> bool:
    """Whether an argument takes a short name, and no text to read."""
    return int(form.get("maxLength", 10**6)) <= 256 or bool(form.get("pattern")) or stems(name) == ["name"]


def is_written(name: str, form: Mapping[str, Any]) -> bool:
    """Whether an argument takes a text for people to read: a city, a query or a line of SQL is none."""
    return not is_label(name, form) and not set(stems(name)) & FORMAL and bool(about(name, form) & WRITTEN)


def has_shape(word: str, name: str, form: Mapping[str, Any]) -> bool:
    """Whether a word is written like the property's pattern, format or examples: same first punctuation, as a/b."""
    found = words.marks(word)
    if pattern := form.get("pattern"):
        return bool(found or word.isupper()) and matches(str(pattern), word)
    match form.get("format"):
        case "uri" | "url":
            return word.startswith(("http://", "https://"))
        case "date" | "date-time":
            return _DAY.fullmatch(word) is not None
        case _:
            pass
    examples = [str(example) for example in cast("list[Any]", form.get("examples") or [])]
    examples += ["".join(groups) for groups in _SAMPLE.findall(str(form.get("description", ""))[:2_000])]
    if found and re.match(r"\w", word) and any(words.marks(example)[:1] == found[:1] for example in examples):
        return True
    own = set(stems(name))
    if own & PATTERNS and {"*", "?"} & set(found):
        return True
    if own & (STARTS | ENDS) and not form.get("description") and is_place(word):
        return True
    return bool(found) and bool(about(name, form) & PLACES) and is_place(word)
