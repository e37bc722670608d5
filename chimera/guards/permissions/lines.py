"""Where in a file of policies something is wrong: Cedar's messages name a policy or a token, and no line."""

import re
from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

# As Cedar reads: a comment ends with a carriage return too, and a word may follow a number without a blank.
_TOKEN = re.compile(r'//[^\n\r]*|"(?:\\.|[^"\\])*"?|\d+|\w+|\s+|&&|\|\||[^\w\s]', re.DOTALL)
_LINKS = frozenset({".", "[", "&&", "||", "+", "-", "*", "!", "if", "when", "unless"})
"""What makes an expression deeper without a bracket around it."""
_UNFINISHED = "unexpected end of input"
_QUOTED = re.compile(r'`(?:[\w:]+::)?"?([^`"]+)"?`')

Parse = Callable[[str], object]
"""Raises ValueError for a text that is no policies."""


class Place(NamedTuple):
    """One policy in a file: the line that it begins in, and its text."""

    line: int
    text: str


def places(text: str) -> list[Place]:
    """The policies of a file, in order; what follows the last one is a place as well, if it is anything."""
    found: list[Place] = []
    start, line, begun = 0, 1, 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        if not begun and not word.isspace() and not word.startswith("//"):
            start, begun = token.start(), line
        line += word.count("\n")
        if word == ";" and begun:
            found.append(Place(begun, text[start : token.end()]))
            begun = 0
    return [*found, Place(begun, text[start:])] if begun else found


def too_deep(text: str, brackets: int, links: int) -> tuple[int, str] | None:
    """The line in which more brackets are open, or more parts of one policy are linked, than allowed, and which it is.

    Cedar's parser puts all of them on its stack, and must not see such a text. A policy ends where no bracket is open.
    """
    line, depth, linked = 1, 0, 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        depth += (word in ("(", "[", "{")) - (word in (")", "]", "}"))
        linked = 0 if word == ";" and depth == 0 else linked + (word in _LINKS)
        if depth > brackets:
            return line, f"more than {brackets} brackets are open"
        if linked > links:
            return line, f"more than {links} operators in one policy"
        line += word.count("\n")
    return None


def line_of_error(text: str, parse: Parse) -> int:
    """The line of the first token that no policy could have there; 1 if each policy alone is well."""
    for place in places(text):
        if problem(place.text, parse):
            return place.line + _before_error(place.text, parse).rstrip().count("\n")
    return 1


def line_of_message(place: Place, message: str) -> int:
    """The line that a message about a policy is about: where it says what the message quotes, or its first."""
    for word in _QUOTED.findall(message):
        at = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", place.text)
        if at and not word.startswith("policy"):
            return place.line + place.text.count("\n", 0, at.start())
    return place.line


def problem(text: str, parse: Parse) -> str:
    """Why a text is no policies; empty if it is some."""
    try:
        parse(text)
    except ValueError as error:
        return " ".join(str(error).split())[:300]
    return ""


def _before_error(text: str, parse: Parse) -> str:
    """The shortest beginning that cannot be continued to a policy."""
    ends = [token.end() for token in _TOKEN.finditer(text)]
    wrong = bisect_left(ends, True, key=lambda end: problem(text[:end], parse) not in ("", _UNFINISHED))
    return text[: ends[min(wrong, len(ends) - 1)]]
