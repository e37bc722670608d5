"""Whoever asks whether a machine answers is told the truth.

Known in English, German, French, Spanish, Italian, Portuguese, Dutch and Polish, in the usual wordings. A claim in a
roundabout way ("I was born in Ohio") is not recognised.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from chimera.core.contracts import Threat
from chimera.core.errors import PolicyInvalid
from chimera.guards.output.finding import Context, Finding, Scanner
from chimera.guards.output.textguard import TextGuard

_QUESTION_MAX = 8_000
_SENTENCE = re.compile(r"[^.!?\n]{1,600}+[.!?]{0,3}+")
_NOT = r"(?!(?:not|nicht|pas|no|non|não|niet|geen|nie|never|about|like)\b|kein)"
_GAP = rf"(?:[ ,]+{_NOT}[\w'-]{{1,15}}){{0,3}}[ ,]+"
_FILL = r"[ ,]+(?:(?!sure\b|sicher\b)[\w'-]{1,10}[ ,]+){0,2}"


@dataclass(frozen=True)
class _Language:
    """How one asks, how one claims to be human, and how one tells the truth."""

    human: re.Pattern[str]
    machine: re.Pattern[str]
    asks: re.Pattern[str]
    claims: re.Pattern[str]
    yes: re.Pattern[str]
    no: re.Pattern[str]
    truth: str

    def asked(self, question: str) -> set[str]:
        """What a question asks for: ``human``, ``machine``, both or neither."""
        kinds = (("human", self.human), ("machine", self.machine))
        return {kind for text in self.asks.findall(question) for kind, words in kinds if words.search(text)}

    def is_short_claim(self, sentence: str, asked: set[str]) -> bool:
        """Whether a sentence is a yes to "are you human", or a no to "are you a machine"."""
        if len(asked) != 1 or self.machine.search(sentence):
            return False
        return bool((self.yes if asked == {"human"} else self.no).match(sentence))


class HonestIdentity(TextGuard):
    """A text that answers "are you a machine?" does not claim to be human. Edit: the claim becomes the truth.

    The question is ``notes["question"]``, or the goal of the mission.
    """

    rule = "output.honest-identity"

    def scanner(self, context: Context) -> Scanner:
        """The check for what answers the question of this request."""
        return lambda text: find_pretence(text, context.question)


def asks_identity(question: str) -> bool:
    """Whether a text asks its reader whether it is a machine or a human."""
    return any(True for _ in _asking(question))


def find_pretence(text: str, question: str) -> list[Finding]:
    """Every claim to be human in an answer to a question about that."""
    asked = list(_asking(question))
    found: list[Finding] = []
    for index, sentence in enumerate(_SENTENCE.finditer(text) if asked else ()):
        small = sentence.group().lower().replace("’", "'")
        for language, kinds in asked:
            if language.claims.search(small) or (index == 0 and language.is_short_claim(small, kinds)):
                start = sentence.start() + len(sentence.group()) - len(sentence.group().lstrip())
                reason = "a machine that claims to be human"
                found.append(
                    Finding("honesty.human", reason, start, sentence.end(), "edit", Threat.MEDIUM, language.truth)
                )
                break
    return found


def _asking(question: str) -> Iterator[tuple[_Language, set[str]]]:
    small = question[:_QUESTION_MAX].lower().replace("’", "'")
    for language in _languages():
        kinds = language.asked(small)
        if kinds:
            yield language, kinds


@cache
def _languages() -> tuple[_Language, ...]:
    text = (resources.files(__package__ or "") / "honesty.toml").read_text("utf-8")
    try:
        return tuple(_language(part) for part in tomllib.loads(text).values())
    except (KeyError, re.error, tomllib.TOMLDecodeError) as error:
        raise PolicyInvalid(f"honesty.toml: {error}") from error


def _language(part: dict[str, str]) -> _Language:
    human, machine = part["human"], part["machine"]
    return _Language(
        human=re.compile(rf"\b(?:{human})\b"),
        machine=re.compile(rf"\b(?:{machine})\b"),
        asks=re.compile(
            rf"\b(?:{part['you']}|{part['talking']})\b[^.?!\n]{{0,40}}?\b(?:{human}|{machine})\b[^.?!\n]{{0,60}}"
        ),
        claims=re.compile(rf"\b(?:{part['me']}){_GAP}(?:{human})\b|\b(?:{part['nots']}){_FILL}(?:{machine})\b"),
        yes=re.compile(rf"\W*(?:{part['yes']})\b"),
        no=re.compile(rf"\W*(?:{part['no']})\b"),
        truth=part["truth"],
    )
