"""Where values may come from: a file or URL that a tool is to touch was named by the user, and by nobody else."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote

from chimera.core.contracts import Decision, Threat
from chimera.core.fit import matches
from chimera.core.forms import plain_form
from chimera.core.lexical import stems
from chimera.guards.request import GuardRequest, reject

_ABSOLUTE = re.compile(
    r"""[a-z][a-z0-9+.-]*://
    | (?:file|data|javascript|vbscript|blob|jar|view-source|about):
    | (?:https?|wss?|s?ftps?|ssh|smb|ldaps?|gopher):\S | www\.\S       # what lenient URL parsers take as well
    | /\S | \\\S | \.[/\\] | ~[\w.-]*(?:[/\\]|$)
    | [a-z]:[\\/] | \$\{?\w+\}?[\\/] | %\w+%[\\/]                       # a drive, a folder of the environment
    | [\w.-]+@[\w.-]+:[^\s:]                                            # host:path of ssh, scp and git
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SIGN = re.compile(r"[.:/\\~$%@\x80-\U0010ffff]")
"""One of these is in each of them, in every way out of a folder, and in every name of a file."""
_PARENT = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")
_PLACES = frozenset(stems("path filepath pathname filename url uri href link file folder directory dir"))
_SURE_PLACES = frozenset(stems("path filepath pathname filename url uri folder directory"))
_FORMATS = frozenset({"uri", "uri-reference", "iri", "url", "path", "file-path", "directory-path"})
_ENDS = frozenset(stems("source src destination dest target"))
_NO_PLACES = frozenset(stems("type format mime encoding content text body"))
_OPENING_WORDS = 4
_CLOSING_MAX = 8
_OPENING, _CLOSING = "\"'`(<[", "\"'`)>],.;:!?"
_QUOTES = " \t\r\n\"'`<>()[]{}@=,;"


class _About(IntEnum):
    """What an argument is for, as its schema tells."""

    ANYTHING = 0
    MAYBE_PLACE = 1
    PLACE = 2


class NamedSource:
    """A location that is handed to a tool stands in the goal or the inputs; a page or a feed may have put it there.

    An argument that the schema shows to be a file or URL takes only named values, relative names included. Any other
    takes no value that is an absolute location, or climbs out of a folder, unless it was named. A document may speak of
    paths and URLs; only a value that is one can direct a tool.
    """

    rule = "flow.named-source"

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject a location of unknown origin."""
        mission = request.mission
        named = [mission.goal, *mission.inputs.values()] if mission else []
        schema = request.capability.input_schema if request.capability else {}
        for text, about in _values(request.payload, plain_form(schema, schema), schema, _About.ANYTHING):
            if _is_location(text, about) and not _is_named(text.strip(), named, about):
                return reject(self.rule, "the user named no such file or URL", Threat.HIGH)
        return None


def _values(
    value: Any, form: Mapping[str, Any], root: Mapping[str, Any], about: _About
) -> Iterator[tuple[str, _About]]:
    """Every string of the arguments with what its place in the schema says about it."""
    if isinstance(value, str):
        if value.strip() and value != form.get("default") and value not in (form.get("enum") or ()):
            yield value, about
    elif isinstance(value, (dict, Mapping)):
        parts = form.get("properties") or {}
        for key, item in cast("Mapping[str, Any]", value).items():
            part = plain_form(parts.get(key), root)
            yield key, _About.ANYTHING
            yield from _values(item, part, root, _about(key, part))
    elif isinstance(value, list):
        items = plain_form(form.get("items"), root)
        for item in cast("list[Any]", value):
            yield from _values(item, items, root, about)


def _about(name: str, form: Mapping[str, Any]) -> _About:
    if _is_bare_name(form):
        return _About.ANYTHING
    said = f"{form.get('title', '')} {form.get('description', '')}"[:2_000]
    return _about_words(name[:200], said, str(form.get("format", "")))


@lru_cache(maxsize=4_096)
def _about_words(name: str, description: str, format_: str) -> _About:
    own, said = stems(name), stems(description)
    if own and own[-1] in _NO_PLACES:
        return _About.ANYTHING
    ends_as_place = bool(own) and (own[-1] in _PLACES or (own[-1] == "name" and bool(_PLACES & set(own[:-1]))))
    if ends_as_place or format_ in _FORMATS or _SURE_PLACES & set(said[:_OPENING_WORDS]):
        return _About.PLACE
    undescribed_end = not said and bool(own) and own[-1] in _ENDS
    return _About.MAYBE_PLACE if undescribed_end or _PLACES & {*own, *said} else _About.ANYTHING


def _is_bare_name(form: Mapping[str, Any]) -> bool:
    """Whether the schema takes names only, in a store of the tool's own, and no way out of it."""
    pattern = form.get("pattern")
    return isinstance(pattern, str) and not any(
        matches(pattern, way) for way in ("a/b", "a\\b", "a:b", "/a", "..", "~", "%2e")
    )


def _is_location(text: str, about: _About) -> bool:
    if about is _About.PLACE:
        return True
    stripped = text.strip()
    if not _SIGN.search(stripped):
        return False
    if about is _About.ANYTHING and len(stripped.splitlines()) > 1:
        return False
    return any(
        _ABSOLUTE.match(form) or (".." in form and _PARENT.search(form)) or (about and _is_file_like(form))
        for form in dict.fromkeys(_readings(stripped))
    )


def _is_file_like(text: str) -> bool:
    """A word with a folder in it or an extension at its end."""
    if len(text.split()) != 1:
        return False
    extension = text.rpartition(".")[2] if "." in text else ""
    return "/" in text or "\\" in text or (len(extension) <= 8 and extension.isalnum() and extension[0].isalpha())


def _readings(text: str) -> Iterator[str]:
    """The text as a lenient tool may read it: unquoted, percent-decoded, compatibility forms folded."""
    yield text
    plain = (text if text.isascii() else unicodedata.normalize("NFKC", text)).strip(_QUOTES)
    yield plain
    for _ in range(2):
        plain = unquote(plain).strip(_QUOTES)
        yield plain


def _is_named(location: str, sources: list[str], about: _About) -> bool:
    if any(_names(source, location) for source in sources):
        return True
    # Prose that opens with a location that the user named: the rest of it directs nothing.
    first, _, rest = location.partition(" ")
    return bool(rest) and about is _About.ANYTHING and any(_names(source, first) for source in sources)


def _names(source: str, location: str) -> bool:
    """Whether ``location`` stands in ``source`` as a word of its own, perhaps in quotes or before punctuation."""
    if source.strip() == location:
        return True
    place = source.find(location)
    while place >= 0:
        before = source[place - 1 : place]
        end = place + len(location)
        after = source[end : end + _CLOSING_MAX].lstrip(_CLOSING)[:1]
        if (not before or before.isspace() or before in _OPENING) and (not after or after.isspace()):
            return True
        place = source.find(location, place + 1)
    return False
