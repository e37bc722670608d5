"""What a description says to be chosen, instead of what the tool does: taken out before anything is counted.

A server writes its descriptions itself, so they are claims of a party with an interest. Repeating a word gains nothing
because a field counts it once; this module takes out lists of keywords and sentences that talk to the one who chooses.
"""

import re
from typing import Protocol

from chimera.tools.discovery.words import FUNCTION_WORDS

RUN_MAX = 12
"""Words in a row without a function word, or a list of more of them, that still pass for prose."""
_SENTENCE = re.compile(r"(?<=[.!?;。！？])\s*|\n+")
_NEAR = r"[^.!?\n]{0,60}"
_CLAIMS = rf"""
    \b(?:always|must|only|first|never|instead|before|prefer(?:red)?|best|top|priorit\w+|recommended|mandatory|required)
        \b{_NEAR}\b(?:use|using|call|calling|choose|select|pick|invoke|run|rely)\b
  | \b(?:use|call|choose|select|pick|invoke|prefer)\b{_NEAR}\b(?:always|first|instead\ of|before\ (?:any|all|every)
        |over\ (?:any|all|every|other)|for\ (?:any|all|every)(?:thing)?|only|whenever)\b
  | \b(?:best|only|number\ one|most\ \w+|official|ultimate|recommended|preferred)\ (?:\w+\ ){{0,2}}
        (?:tool|server|function|api|choice)\b
  | \b(?:ignore|disregard|forget|do\ not\ use|don't\ use|avoid)\b{_NEAR}\b(?:other|tools?|instructions?|previous)\b
  | \b(?:assistant|agent|llm|the\ model|language\ model|system\ prompt|important)\b
        {_NEAR}\b(?:must|should|always|never|use|call)\b
"""
_CLAIM = re.compile(_CLAIMS, re.IGNORECASE | re.VERBOSE)
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_GAP = re.compile(r"[\s,;|/•·#*\-–—\"'()\[\]]*")


class Screen(Protocol):
    """Judges text that a stranger wrote. Whoever wires the index hands in the injection filter as one."""

    def suspicious(self, text: str) -> bool:
        """Whether the text looks as if it gives orders instead of information."""
        ...


def plain(text: str, screen: Screen | None = None) -> str:
    """What is left of a description when its claims, its orders and its lists of keywords are gone."""
    kept = [
        sentence
        for sentence in _SENTENCE.split(text)
        if sentence.strip() and not _CLAIM.search(sentence) and not (screen is not None and screen.suspicious(sentence))
    ]
    return _without_lists(" ".join(kept))


def _without_lists(text: str) -> str:
    """The text, with each run of content words cut to its first ``RUN_MAX``."""
    found: list[str] = []
    run, end = 0, 0
    for match in _WORD.finditer(text):
        joined = _GAP.fullmatch(text, end, match.start()) is not None
        content = match.group().lower() not in FUNCTION_WORDS
        run = (run + 1 if joined else 1) if content else 0
        end = match.end()
        if run <= RUN_MAX:
            found.append(match.group())
    return " ".join(found)
