"""The links and images of Markdown, found as lenient renderers find them.

Code is not left out: where it ends depends on the renderer, and an address in code that is none is rare.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

_BRACKETS = re.compile(r"\\[\\\[\]]|[\[\]]")
_INLINE = re.compile(
    r"\]\([ \t\r\n]{0,50}+"
    r"(?P<to><[^<>\n]{0,4000}+>|(?:\\.|[^\s()\\]|\((?:\\.|[^\s()\\]){0,2000}+\)){0,4000}+)"
    r"(?P<rest>[^()\n]{0,1000}+(?:\n[^()\n]{0,200}+)?+)(?P<end>\)?)"
)
_LEADS = re.compile(r"[/:\\&.]|[^\x00-\x7f]")
"""What a target must have to lead anywhere but to a neighbour of the text."""
_DEFINITION = re.compile(
    r"^[ \t>*+-]{0,20}\[(?P<label>[^\[\]\n]{1,500}+)\]:[ \t]{0,20}\n?[ \t>]{0,20}(?P<to><[^<>\n]{0,4000}+>|\S{1,4000}+)"
    r"(?P<rest>[^\n]{0,1000})$",
    re.MULTILINE,
)
_IMAGE_USE = re.compile(r"!\[(?P<text>[^\[\]\n]{0,500}+)\](?:\[(?P<label>[^\[\]\n]{0,500}+)\])?")


@dataclass(frozen=True)
class Link:
    """A link or image from ``start`` to ``end``; ``to`` is where it leads, ``text`` what is shown of it."""

    start: int
    end: int
    to: str
    text: str
    is_image: bool
    is_definition: bool = False


def links(text: str) -> Iterator[Link]:
    """Every inline link and image, and every definition of a reference. Linear in the length of the text."""
    if "](" in text:
        yield from _inline(text)
    if "]:" in text:
        yield from _definitions(text)


def _inline(text: str) -> Iterator[Link]:
    opened = _pairs(text)
    close = text.find("](")
    while close >= 0:
        match = cast("re.Match[str]", _INLINE.match(text, close))  # nothing in it has to be there but the brackets
        if not _LEADS.search(match["to"]):
            close = text.find("](", close + 2)
            continue
        start = opened.get(close, close)
        image = start > 0 and text[start - 1] == "!"
        end = match.end() if match["end"] else match.end("to")
        yield Link(start - image, end, _target(match["to"]), text[start + 1 : close], image)
        close = text.find("](", close + 2)  # not from the end: what looks like a target may hold a link of its own


def _definitions(text: str) -> Iterator[Link]:
    shown_as_image = {_label(match["label"] or match["text"]) for match in _IMAGE_USE.finditer(text)}
    for match in _DEFINITION.finditer(text):
        if not match["label"].startswith("^"):
            image = _label(match["label"]) in shown_as_image
            yield Link(match.start(), match.end(), _target(match["to"]), match["label"], image, is_definition=True)


def _pairs(text: str) -> dict[int, int]:
    """For each closing bracket the place of the one that it closes."""
    opened: list[int] = []
    pairs: dict[int, int] = {}
    for match in _BRACKETS.finditer(text):
        if match.group() == "[":
            opened.append(match.start())
        elif match.group() == "]" and opened:
            pairs[match.start()] = opened.pop()
    return pairs


def _target(written: str) -> str:
    """Where it leads. Two backslashes are one to Markdown, and the start of another host to who does not know that."""
    bare = written.strip("<>")
    return bare if bare.startswith("\\\\") else re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", bare)


def _label(text: str) -> str:
    return " ".join(text.split()).casefold()
