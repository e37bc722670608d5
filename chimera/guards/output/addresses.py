"""Where an address leads, and whether it can carry something out.

An address that the user named, or that is a source of the evidence, says nothing that was not known before. Any other
one can hold data in its query, fragment, user name, path or host, and whoever serves it reads them when it is opened.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from chimera.guards.output.decode import decoded, unescaped
from chimera.guards.output.finding import Context

BARE = re.compile(r"(?i)(?<![a-z0-9])(?:(?:https?|ftp|wss?)://|www\.(?=[^\s.]))[^\s<>\"]{1,4000}+")
"""An address as it stands in prose, up to white space; ``trimmed`` takes the punctuation off its end."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x20\x7f]+")
_SLUG = re.compile(r"[A-Za-z][\w.-]{0,63}|")
_OPEN_TO_ALL = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid)$")
_WEB = frozenset({"http", "https", "ftp", "ws", "wss", ""})
_ENCODED_MIN = 16


@dataclass(frozen=True)
class Known:
    """Addresses that may be used as they are."""

    addresses: frozenset[str]

    @classmethod
    def of(cls, context: Context) -> "Known":
        """What the user named and what the evidence comes from; a text counts for every address that stands in it."""
        found = {part.strip() for part in (*context.named, *context.sources)}
        for text in (*context.named, *context.sources):
            found |= {trimmed(match.group()) for match in BARE.finditer(text)}
        return cls(frozenset(normal(address) for address in found if address))

    def __contains__(self, address: str) -> bool:
        return normal(address) in self.addresses


def normal(address: str) -> str:
    """An address as a browser takes it: references resolved, no white space or controls, slashes forward."""
    plain = unicodedata.normalize("NFKC", unescaped(address))
    return _CONTROLS.sub("", plain).replace("\\", "/")


def trimmed(address: str) -> str:
    """An address without the punctuation of the sentence around it."""
    while address:
        last = address[-1]
        if last in ".,;:!?'*_~`|…" or (
            last in ")]}" and address.count(last) > address.count(")]}("[")]}".index(last)])
        ):
            address = address[:-1]
        else:
            break
    return address


def is_elsewhere(address: str) -> bool:
    """Whether opening an address asks another host: it is neither relative nor inside the document."""
    plain = normal(address)
    return bool(_SCHEME.match(plain)) or plain.startswith("//") or plain.lower().startswith("www.")


def carries(address: str) -> str:
    """What an unknown address can carry out, in words; nothing when it is plain or stays here."""
    plain = normal(address)
    scheme = _SCHEME.match(plain)
    kind = scheme[1].lower() if scheme else ""
    if kind == "mailto":
        return "a filled-in message" if "?" in plain else ""
    if kind not in _WEB and kind != "tel":
        return f"{'embedded data' if kind == 'data' else 'a way to run something'} in the address"
    if not is_elsewhere(plain):
        return ""
    parts = split(plain)
    if parts is None:
        return "an address that cannot be read"
    return _carried(parts)


def host_of(address: str) -> str:
    """The host of an address in lower case, without ``www.``; empty when it has none or cannot be read."""
    plain = normal(address)
    parts = split(plain if "//" in plain else f"//{plain}")
    return (parts.hostname or "").removeprefix("www.") if parts else ""


def split(plain: str) -> SplitResult | None:
    """The parts of an address, or None when it has no readable ones."""
    try:
        parts = urlsplit(f"//{plain}" if plain.lower().startswith("www.") else plain)
        return parts if parts.hostname is not None else None
    except ValueError:
        return None


def bare_part(address: str) -> str:
    """An address without what it can carry: its scheme, host and, where that is readable, its path."""
    parts = split(normal(address))
    if parts is None:
        return "(address removed)"
    host = (parts.hostname or "") if not any(_encoded(parts.hostname or "")) else ""
    if not host:
        return "(address removed)"
    path = "" if any(_encoded(parts.path)) else parts.path
    return f"{parts.scheme}://{host}{path}" if parts.scheme else f"{host}{path}"


def _carried(parts: SplitResult) -> str:
    if parts.username is not None or parts.password is not None:
        return "data in the user name of the address"
    if _OPEN_TO_ALL.search(parts.hostname or ""):
        return ""
    if parts.query:
        return "data in the query of the address"
    if not _SLUG.fullmatch(parts.fragment) or any(_encoded(parts.fragment)):
        return "data in the fragment of the address"
    if any(_encoded(parts.path)) or any(_encoded(parts.hostname or "")):
        return "encoded data in the address"
    return ""


def _encoded(text: str) -> Iterator[bool]:
    """Whether the parts of a path or host are text in Base64 or hexadecimal."""
    joined = text.replace(".", "").replace("/", "")
    for part in {joined, *re.split(r"[./]", text)}:
        if len(part) >= _ENCODED_MIN and not part.isalpha() and decoded(part):
            yield True
