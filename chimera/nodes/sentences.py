"""Prose taken apart into sentences, each with the citations that stand in it or right behind it."""

import re
from collections.abc import Iterator

from chimera.core.lexical import stems

CITE = re.compile(r"\[([^\[\]\s]{1,120})\](?!\()")  # a bracket before a parenthesis is a link

_WORD = re.compile(r"\S+")
_QUOTED = re.compile(
    r"\"[^\"]{1,200}\"|“[^”]{1,200}”|„[^“”]{1,200}[“”]|«[^»]{1,200}»|`[^`]{1,200}`|(?<!\w)['‘][^'’]{2,200}['’](?!\w)"
)
_STOPS = re.compile(r"[.!?…;]")
_OPENERS, _CLOSERS = "\"'“„‘«(*_`", "\"'”“’»)*_`"
_INITIALS = re.compile(r"(?:[A-Za-z]{1,2}\.)*[A-Za-z]")  # J, e.g, U.S
_ABBREVIATED = frozenset(
    """
    al apr approx aug bzw ca capt cf co col corp dec dept dr ed eds est etc excl feb fig figs gen gov hr inc incl jan
    jr jul jun lt ltd max messrs min mon mr mrs ms mt no nos nov nr oct op pp prof pt resp rev sec sen sep sept sr st
    tel univ usw viz vol vols vs
    """.split()  # noqa: SIM905 - readable as prose, unreadable one a line
)


def sentences(text: str) -> Iterator[str]:
    """The sentences of one line of prose, in order; a citation behind a full stop belongs to the sentence before it.

    Full stops of abbreviations, of numbers and inside of quoted titles end none. What is doubtful stays together,
    unless a citation has just closed what is before it.
    """
    start, tail, is_cited = 0, "", False
    for found in _WORD.finditer(_QUOTED.sub(_without_stops, text)):
        word = CITE.sub("", found[0])
        has_cite = word != found[0]
        if has_cite and not any(character.isalnum() for character in word):
            tail, is_cited = tail + word, True
            continue
        if tail and _divides(tail, word, is_cited=is_cited):
            yield text[start : found.start()].strip()
            start = found.start()
        tail, is_cited = word, has_cite
    if text[start:].strip():
        yield text[start:].strip()


def _without_stops(quoted: re.Match[str]) -> str:
    said = quoted[0]
    # One right before the closing mark may end the sentence that quotes; what cites is no title.
    return said if CITE.search(said) else _STOPS.sub("_", said[:-2]) + said[-2:]


def _divides(tail: str, word: str, *, is_cited: bool) -> bool:
    """Whether a sentence ends between two words; ``is_cited``: a citation stands between them, or in the first."""
    first, ended = word.lstrip(_OPENERS), tail.rstrip(_CLOSERS)
    opens = not first[:1].islower() and first[:1].isalnum()
    is_opener = opens and not stems(first)  # The, It, In: what a sentence begins with, and a name does not
    if ended.endswith((".", "!", "?", "…", ";" if is_cited else ".")):
        return is_cited or (is_opener if _is_abbreviated(ended) else opens)
    return is_cited and is_opener


def _is_abbreviated(word: str) -> bool:
    if not word.endswith("."):
        return False
    said = word.rstrip(".").lstrip(_OPENERS)
    return _INITIALS.fullmatch(said) is not None or said.lower() in _ABBREVIATED
