"""What a request asks to be done, clause by clause: a verb, what stands after it, and the sentence around it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chimera.guards.provenance.asking import readable
from chimera.guards.provenance.lexicon import Lexicon
from chimera.guards.provenance.tokens import references
from chimera.guards.provenance.wordset import wordset

_QUOTES = re.compile(
    r"(?<![\w])'(?:[^'\n]|'(?=\w)){1,2000}'(?!\w)|\"[^\"\n]{1,2000}\"|“[^”\n]{1,2000}”|`[^`\n]{1,2000}`"
)
_DATA = re.compile(
    r"\b(?:following|this|these)\b[^.:\n]{0,60}:\s"
    r"|\b(?:message|text|question|note|content|body|subject|saying|title|description)\s?:\s",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])(?=\s|[A-Z])|\n+|(?<=\s)\d{1,2}[.)]\s|;")
_TOKEN = re.compile(r"[^\W_][\w'’-]*|[,:()]")
_BEFORE = wordset(
    "please to and then also or you can could would should must will just now i'd we let's lets , : ( finally first "
    "next afterwards kindly after instead but so"
)
_PHRASES = {
    ("set", "up"): "setup", ("call", "off"): "cancel", ("make", "sure"): "", ("make", "certain"): "",
    ("let", "me"): "", ("write", "down"): "save", ("note", "down"): "save", ("get", "rid"): "delete",
    ("sign", "up"): "register", ("take", "note"): "", ("move", "forward"): "", ("look", "up"): "find",
}  # fmt: skip
"""Two words that are one verb, or none."""
_EACH = ("each", "every")
_NOT = wordset("not don't dont never without cannot can't no")
QUOTED, ADDRESS, LINK, ACCOUNT = "quoted", "anaddress", "alink", "anaccount"


@dataclass(frozen=True)
class Clause:
    """One thing asked for."""

    verb: str
    words: tuple[str, ...]
    """What stands after the verb, as it was written."""
    sentence: tuple[str, ...]
    """The whole sentence, and the one before it where this one points back."""
    before: tuple[str, ...] = ()


def clauses(request: str, lexicon: Lexicon) -> list[Clause]:
    """The clauses of a request whose verb is in the lexicon; what is quoted, or announced by a colon, is data."""
    found: list[Clause] = []
    previous: tuple[str, ...] = ()
    for sentence in _sentences(readable(request)):
        words = tuple(_TOKEN.findall(sentence))
        places = list(_verbs(words, lexicon))
        for number, place in enumerate(places):
            end = places[number + 1] if number + 1 < len(places) else len(words)
            ahead = words[place - 2 : place] if place > 1 and words[place - 2].lower() in _EACH else ()
            found.append(Clause(_verb(words, place), ahead + words[place + 1 : end], words, previous))
        previous = words
    return found


def _sentences(text: str) -> Iterator[str]:
    text = _QUOTES.sub(f" {QUOTED} ", _plain_references(text))
    for part in _SENTENCE.split(text):
        if part and part.strip():
            data = _DATA.search(part)
            yield part[: data.end()] if data else part


def _plain_references(text: str) -> str:
    names = {"address": ADDRESS, "link": LINK, "account": ACCOUNT}
    parts, last = list[str](), 0
    for found in references(text):
        parts += [text[last : found.start], names[found.kind]]
        last = found.end
    return "".join([*parts, text[last:]])


def _verb(words: tuple[str, ...], place: int) -> str:
    """The verb at a place, with the word that belongs to it; empty if the two mean nothing that is asked for."""
    pair = tuple(word.lower() for word in words[place : place + 2])
    return _PHRASES.get(pair, pair[0]) if len(pair) == 2 else pair[0]


def _verbs(words: tuple[str, ...], lexicon: Lexicon) -> Iterator[int]:
    """Where a verb of the lexicon stands in the base form, and asks."""
    for place, word in enumerate(words):
        if word.lower() not in lexicon.verbs or not _verb(words, place) or not _opens(words, place):
            continue
        before = words[place - 1].lower() if place else ""
        after = words[place + 1].lower() if place + 1 < len(words) else ""
        if not (before in (",", "and", "or") and after in (",", "of", "is", "are", "was")):
            yield place


def _opens(words: tuple[str, ...], place: int) -> bool:
    """Whether a verb at this place asks for something: "please send", "to each user write", "and then also post"."""
    before = words[place - 1].lower() if place else ""
    further = words[place - 2].lower() if place > 1 else ""
    if before in _NOT or (further in _NOT and before in ("to", "ever")):
        return False
    if before.endswith("ly") and len(before) > 4:
        return _opens(words, place - 1)
    return not before or before in _BEFORE or further in _EACH
