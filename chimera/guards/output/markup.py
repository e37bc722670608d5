"""The tags of HTML that load something, lead somewhere or run something, found as browsers find them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chimera.guards.output.decode import unescaped

_TAG = re.compile(r"<(?P<name>[a-zA-Z][a-zA-Z0-9:-]{0,30}+)(?P<rest>(?:\"[^\"]*+\"|'[^']*+'|[^>])*+)(?P<end>>?)")
_PLACE = re.compile(
    r"(?i)(?<![\w-])(src|srcset|href|xlink:href|action|formaction|poster|data|background|cite|ping|manifest|longdesc|"
    r"codebase|content|srcdoc|imagesrcset)[ \t\r\n]{0,20}=[ \t\r\n]{0,20}(?:\"([^\"]*+)\"|'([^']*+)'|([^\s>\"']++))"
)
_LISTS = frozenset({"srcset", "imagesrcset", "ping", "content"})
_HANDLER = re.compile(r"(?i)[\s/\"']on[a-z]{3,30}\s{0,20}=")
_STYLE_URL = re.compile(r"(?i)url\s{0,20}\(|@import|image-set\(")
_BODY_KINDS = ("script", "style", "iframe", "object", "noscript", "template", "svg", "form")
_IMAGES = frozenset({"img", "image", "picture", "video", "audio", "source", "track", "input", "svg", "feimage", "use"})


@dataclass(frozen=True)
class Tag:
    """A tag from ``start`` to ``end``, which for those with a body that is not prose is where its end tag ends.

    ``places`` are the addresses in its attributes; ``runs`` whether it runs or loads something by itself.
    """

    start: int
    end: int
    name: str
    places: tuple[str, ...]
    runs: bool
    text: str = ""

    @property
    def is_image(self) -> bool:
        """Whether it shows a picture, a film or a sound."""
        return self.name in _IMAGES


def tags(text: str) -> Iterator[Tag]:
    """Every tag that has an address or runs something. An unfinished tag counts: what follows may finish it."""
    if "<" not in text:
        return
    small = text.lower() if text.isascii() else "".join(char.lower() if char.isascii() else char for char in text)
    last = {name: small.rfind(f"</{name}") for name in (*_BODY_KINDS, "a")}
    done = 0
    for match in _TAG.finditer(text):
        if match.start() < done:
            continue
        tag = _tag(match, text, small, last)
        if tag is not None:
            done = tag.end
            yield tag


def _tag(match: re.Match[str], text: str, small: str, last: dict[str, int]) -> Tag | None:
    name, rest = match["name"].lower().rpartition(":")[2], match["rest"]
    places = tuple(place for found in _PLACE.finditer(rest) for place in _addresses(found))
    runs = bool(_HANDLER.search(rest)) or bool(rest and _STYLE_URL.search(unescaped(rest)))
    runs |= name == "meta" and "http-equiv" in rest.lower()
    end, body = match.end(), ""
    if (name in _BODY_KINDS or name == "a") and match.end() <= last.get(name, -1):
        close = small.index(f"</{name}", match.end())
        after = text.find(">", close)
        body, end = text[match.end() : close], (after + 1 if after >= 0 else len(text))
        runs |= name == "script" or (name == "style" and bool(_STYLE_URL.search(body)))
    return Tag(match.start(), end, name, places, runs, body) if places or runs else None


def _addresses(found: re.Match[str]) -> list[str]:
    name, *values = found.groups()
    value = unescaped(next((value for value in values if value is not None), ""))
    return re.split(r"[\s,;]+", value) if name.lower() in _LISTS else [value]
