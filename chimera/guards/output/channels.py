"""Ways out that a reader does not see: pictures that are loaded, links that carry data, markup that runs."""

import re
from collections.abc import Iterator

from chimera.core.contracts import Threat
from chimera.guards.output.addresses import BARE, Known, bare_part, carries, host_of, is_elsewhere, trimmed
from chimera.guards.output.finding import Context, Finding, Scanner
from chimera.guards.output.markdown import Link, links
from chimera.guards.output.markup import Tag, tags
from chimera.guards.output.textguard import TextGuard

_DATA = re.compile(r"(?i)(?<![\w-])data:[a-z]{3,12}/[\w.+-]{1,60}(?:;[\w=-]{1,40}){0,4},[^\s<>\"')]{16,}+")
_SHOWN_HOST = re.compile(
    r"(?i)\s*(?:(?:https?|ftp)://(?P<full>[^\s/?#]{3,200})\S{0,1000}|(?P<plain>(?:www\.)?(?:[a-z0-9-]{1,63}\.){1,5}"
    r"(?:com|org|net|gov|edu|bank|info|eu|de|fr|uk|ch|at|nl|es|it|jp|cn|br|in|ru|us|ca|au))(?:/\S{0,1000})?)\s*"
)
_EMPTY = "(image removed)"
_EMBEDDED = "(embedded content removed)"


class HiddenChannels(TextGuard):
    """Nothing leaves by a way that the reader does not see. Edit: pictures go, links become their text.

    What the user named, and what is an address of the evidence (``notes["sources"]``), stays as it is.
    """

    rule = "output.channels"

    def scanner(self, context: Context) -> Scanner:
        """The check, which leaves alone the addresses that are known."""
        known = Known.of(context)
        return lambda text: find_channels(text, known)


def find_channels(text: str, known: Known = Known(frozenset())) -> list[Finding]:  # noqa: B008 - it cannot change
    """Every hidden channel. Linear in the length of the text."""
    marked = list(links(text)) if "]" in text else []
    elements = list(tags(text))
    found = [finding for link in marked for finding in _of_link(link, known)]
    found += [finding for tag in elements for finding in _of_tag(tag, known)]
    taken = sorted((item.start, item.end) for item in (*marked, *elements))
    found += [_embedded(*match.span(), "embedded data in the address") for match in _DATA.finditer(text)]
    return [*found, *_of_prose(text, known, taken)]


def _of_link(link: Link, known: Known) -> Iterator[Finding]:
    if link.is_image:
        if is_elsewhere(link.to) and link.to not in known:
            shown = "" if link.is_definition else f"{link.text} {_EMPTY}".strip()
            yield Finding(
                "channel.image", "a picture from an unknown place", link.start, link.end, "edit", Threat.MEDIUM, shown
            )
        return
    carried = "" if link.to in known else carries(link.to)
    why = carried or _misleads(link.text, link.to)
    if why and (carried or not link.is_definition):
        rule = "channel.link" if carried else "channel.disguise"
        yield Finding(rule, why, link.start, link.end, "edit", Threat.MEDIUM, "" if link.is_definition else link.text)


def _of_tag(tag: Tag, known: Known) -> Iterator[Finding]:
    outward = [place for place in tag.places if is_elsewhere(place) and place not in known]
    if tag.name == "a" and not tag.runs:
        carried = next((why for why in map(carries, outward) if why), "")
        why = carried or next((why for why in (_misleads(tag.text, place) for place in tag.places) if why), "")
        if why:
            rule = "channel.link" if carried else "channel.disguise"
            yield Finding(rule, why, tag.start, tag.end, "edit", Threat.MEDIUM, tag.text)
    elif tag.runs:
        yield _embedded(tag.start, tag.end, f"<{tag.name}> that runs or loads something")
    elif outward or (tag.name == "iframe" and tag.places):
        if tag.is_image:
            yield Finding(
                "channel.image", "a picture from an unknown place", tag.start, tag.end, "edit", Threat.MEDIUM, _EMPTY
            )
        else:
            yield _embedded(tag.start, tag.end, f"<{tag.name}> from an unknown place")


def _of_prose(text: str, known: Known, taken: list[tuple[int, int]]) -> Iterator[Finding]:
    """Addresses that stand in the open; many readers make links of them, and previews open those by themselves."""
    at = 0
    for match in BARE.finditer(text):
        while at < len(taken) and taken[at][1] <= match.start():
            at += 1
        address = trimmed(match.group())
        if (at < len(taken) and taken[at][0] <= match.start()) or address.endswith("//") or address in known:
            continue
        why = carries(address)
        if why:
            end = match.start() + len(address)
            yield Finding("channel.link", why, match.start(), end, "edit", Threat.MEDIUM, bare_part(address))


def _misleads(shown: str, to: str) -> str:
    """Whether the text of a link names another host than the one it leads to."""
    match = _SHOWN_HOST.fullmatch(shown)
    if match is None or not is_elsewhere(to):
        return ""
    says, leads = host_of(match["full"] or match["plain"]), host_of(to)
    if not says or leads == says or leads.endswith(f".{says}") or says.endswith(f".{leads}"):
        return ""
    return "a link that shows another host than it leads to"


def _embedded(start: int, end: int, why: str) -> Finding:
    return Finding("channel.embedded", why, start, end, "edit", Threat.MEDIUM, _EMBEDDED)
