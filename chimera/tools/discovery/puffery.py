"""What a description says to be chosen, instead of what the tool does: taken out before anything is counted.

A server writes its descriptions itself, so they are claims of a party with an interest. Repeating a word gains nothing
because a field counts it once; this module takes out lists of keywords and sentences that talk to the one who chooses.
"""

import re
from typing import Protocol

from chimera.core.lexical import FUNCTION_WORDS

RUN_MAX = 12
"""Words in a row without a function word that still pass for prose; more are a list of keywords."""
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
# Words that hold prose together, in the languages that descriptions are mostly written in.
_PROSE = FUNCTION_WORDS | frozenset(
    """
    al com con da das de del dem den der des di die do dos du e ein eine el em en et för für i il in la las le les los
    med mit na nicht o och os ou para par per por pour que se sur um un una und une von y zu à é è в и к на по с
    """.split()  # noqa: SIM905 - readable as prose, unreadable one a line
)


class Screen(Protocol):
    """Judges text that a stranger wrote. Whoever wires the index hands in the injection filter as one."""

    def suspicious(self, text: str) -> bool:
        """Whether the text looks as if it gives orders instead of information."""
        ...


def plain(text: str, screen: Screen | None = None) -> str:
    """What is left of a description when its claims, its orders and its lists of keywords are gone."""
    kept = [_without_lists(sentence) for sentence in _honest(text, screen)]
    return ". ".join(sentence for sentence in kept if sentence)


def plain_list(text: str, screen: Screen | None = None) -> str:
    """The same for what is a list by nature, such as the names of parameters."""
    return ". ".join(_honest(text, screen))


def _honest(text: str, screen: Screen | None) -> list[str]:
    return [
        sentence
        for sentence in _SENTENCE.split(text)
        if sentence.strip() and not _CLAIM.search(sentence) and not (screen is not None and screen.suspicious(sentence))
    ]


def _without_lists(sentence: str) -> str:
    """The words of a sentence, without any run of more than ``RUN_MAX`` content words."""
    kept: list[str] = []
    run: list[str] = []
    for word in _WORD.findall(sentence):
        if word.lower() in _PROSE:
            kept += [*(run if len(run) <= RUN_MAX else []), word]
            run = []
        else:
            run.append(word)
    return " ".join(kept + (run if len(run) <= RUN_MAX else []))
