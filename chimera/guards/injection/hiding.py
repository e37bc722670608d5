"""What HTML and Markdown carry and do not show: comments, hidden elements, attributes, titles, alt texts, definitions.

Patterns are single passes with bounded or negated classes; nothing is parsed as a tree, so broken markup is no way out.
"""

import re
from collections.abc import Iterator

from chimera.guards.injection.encodings import Found

_COMMENT = re.compile(r"<!--(.*?)(?:--!?>|\Z)", re.DOTALL)
_ATTRIBUTE = re.compile(
    r"""\b(?:alt|title|aria-[a-z]{1,20}|content|placeholder|value|label|summary|data-[a-z-]{1,30}|href|src)\s?=\s?
        (?:"([^"]{8,4000})"|'([^']{8,4000})')""",
    re.IGNORECASE | re.VERBOSE,
)
_HIDDEN = re.compile(
    r"""<[a-z][a-z0-9]{0,20}\s[^<>]{0,400}?
        (?:display\s?:\s?none|visibility\s?:\s?hidden|font-size\s?:\s?[01](?:px|pt|em|rem|%)?\b|opacity\s?:\s?0(?![.\d]*[1-9])|
           (?:height|width)\s?:\s?[01](?:px)?\b|color\s?:\s?(?:white|transparent|\#fff)|text-indent\s?:\s?-\d|left\s?:\s?-\d|
           \shidden\b|aria-hidden|type\s?=\s?["']?hidden)
        [^<>]{0,400}>([^<]{4,8000})""",
    re.IGNORECASE | re.VERBOSE,
)
_TAG = re.compile(r"</?[A-Za-z!][^<>]{0,1000}>")
_MD_COMMENT = re.compile(r"^\s{0,3}\[[^\]\n]{1,80}\]:\s?#?[^\n]{0,200}?[(\"']([^\n]{4,4000})[)\"']", re.MULTILINE)
_MD_REFERENCE = re.compile(r"^\s{0,3}\[\^?([^\]\n]{4,400})\]:", re.MULTILINE)
_MD_LINK = re.compile(r"!?\[([^\]\n]{8,2000})\]\(([^()\n]{0,4000})\)")
_MD_TITLE = re.compile(r"[\"']([^\"'\n]{8,4000})[\"']")


def hidden(text: str) -> Iterator[tuple[str, Found]]:
    """Every stretch that a reader of the rendered page would not see, with the name of its hiding place."""
    if "<" in text:
        yield from _groups("html.comment", _COMMENT, text)
        yield from _groups("html.attribute", _ATTRIBUTE, text)
        yield from _groups("html.hidden", _HIDDEN, text)
        yield from _without_tags(text)
    if "[" in text:
        yield from _groups("markdown.comment", _MD_COMMENT, text)
        yield from _groups("markdown.reference", _MD_REFERENCE, text)
        for match in _MD_LINK.finditer(text):
            yield "markdown.label", (match[1], match.start(1), match.end(1))
            for title in _MD_TITLE.finditer(match[2]):
                yield "markdown.title", (title[1], match.start(2) + title.start(1), match.start(2) + title.end(1))


def _groups(name: str, pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, Found]]:
    for match in pattern.finditer(text):
        group = next((at for at in range(1, pattern.groups + 1) if match[at] is not None), 0)
        yield name, (match[group], match.start(group), match.end(group))


def _without_tags(text: str) -> Iterator[tuple[str, Found]]:
    """The text with its tags taken out: a word that tags cut in pieces is whole again."""
    tags = list(_TAG.finditer(text))
    if tags:
        bare = _TAG.sub("", text.replace("<br>", "\n").replace("</p>", "\n"))
        yield "html.text", (bare, tags[0].start(), tags[-1].end())
