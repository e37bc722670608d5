"""Whole tokens: what counts as the same value, and what in a text is a link, an e-mail address or an account.

Everything here is linear in the text: it is cut at blanks and brackets first, and each piece is looked at once.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from chimera.guards.provenance.wordset import wordset

PIECE_MAX = 4_000
"""A piece of text without a blank that is longer is taken for a link: no prose looks like that."""
_PIECE = re.compile(r"[^\s<>()\[\]{}\"'`,;|\\]+")
_CLOSING = ".:!?*_~"
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,62})", re.IGNORECASE)
_ACCOUNT = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{8,40}")
_ACCOUNT_START = re.compile(r"[A-Z]{2}\d{2}(?:[A-Z0-9]{0,4})")
_GROUP = re.compile(r"[A-Z0-9]{1,4}")
_WALLET = re.compile(r"0x[0-9a-fA-F]{40}|bc1[a-z0-9]{20,80}")
_FILE_ENDINGS = wordset(
    "txt pdf doc docx odt rtf xls xlsx ods csv tsv ppt pptx json yaml yml toml xml html htm log png jpg jpeg gif svg "
    "mp3 mp4 wav mov tar gz bak eml ics"
)
_NAME_CHARACTERS = "-_"


@dataclass(frozen=True)
class Reference:
    """Something in a text that leads to a party outside of it."""

    kind: str
    """``link``, ``address`` or ``account``."""
    value: str
    start: int
    end: int


def same(value: object) -> str:
    """The form in which two equal values are equal: numbers by their amount, text without case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.10g}"
    text = unicodedata.normalize("NFC", str(value)).strip().casefold()
    return text.removeprefix("https://").removeprefix("http://").rstrip("/") if "/" in text or "." in text else text


def stands_in(value: str, text: str) -> bool:
    """Whether ``value`` stands in ``text`` (both in the form of :func:`same`) as a whole token.

    A prefix of a longer name does not, nor what a domain or a path goes on after: ``example.com`` does not stand in
    ``example.com.evil.org``.
    """
    if not value:
        return False
    place = text.find(value)
    while place >= 0:
        if _opens(text, place) and _closes(text, place + len(value)):
            return True
        place = text.find(value, place + 1)
    return False


def _opens(text: str, place: int) -> bool:
    before = text[place - 1 : place]
    if before == "/" and text[:place].endswith("://"):
        return True
    return not before or not (before.isalnum() or before in "_@./-")


def _closes(text: str, end: int) -> bool:
    after, beyond = text[end : end + 1], text[end + 1 : end + 2]
    if not after:
        return True
    if after.isalnum() or after in "_@-":
        return False
    return not (after in "./" and (beyond.isalnum() or beyond == "_"))


def references(text: str) -> Iterator[Reference]:
    """The links, e-mail addresses and accounts of a text, in order."""
    pieces = list(_pieces(text))
    skip_to = 0
    for place, (piece, start) in enumerate(pieces):
        if start < skip_to:
            continue
        kind = kind_of(piece)
        if kind:
            yield Reference(kind, piece, start, start + len(piece))
        elif _ACCOUNT_START.fullmatch(piece):
            whole, end = _grouped(text, pieces, place)
            if _ACCOUNT.fullmatch(whole):
                yield Reference("account", whole, start, end)
                skip_to = end


def kind_of(piece: str) -> str | None:
    """What a piece without blanks leads to, if anything."""
    if _ACCOUNT.fullmatch(piece) or _WALLET.fullmatch(piece):
        return "account"
    lower = piece.lower()
    if "://" in piece or lower.startswith(("www.", "mailto:", "data:", "javascript:", "//")) or len(piece) > PIECE_MAX:
        return "link"
    local, at, host = piece.rpartition("@")
    if at:
        return "address" if local and _is_host(host) else None
    host, slash, _ = piece.partition("/")
    host = host.partition(":")[0].partition("?")[0].partition("#")[0]
    if not _is_host(host):
        return None
    return "link" if slash or host.rpartition(".")[2].lower() not in _FILE_ENDINGS else None


def _is_host(text: str) -> bool:
    """Labels with dots between and letters at the end; ``e.g`` and ``3.50`` are none."""
    labels = text.split(".")
    if len(labels) < 2 or len(text) > 253:
        return False
    last = labels[-1]
    return ((2 <= len(last) <= 24 and last.isalpha()) or last.startswith("xn--")) and all(
        _LABEL.fullmatch(label) or (label and not label.isascii()) for label in labels
    )


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    for found in _PIECE.finditer(text):
        piece = found.group().rstrip(_CLOSING)
        lead = len(piece) - len(piece.lstrip("*_~"))
        if piece[lead:]:
            yield piece[lead:], found.start() + lead


def _grouped(text: str, pieces: list[tuple[str, int]], place: int) -> tuple[str, int]:
    """An account that is printed in groups: its groups joined, and where it ends."""
    whole, start = pieces[place]
    end = start + len(whole)
    for piece, begins in pieces[place + 1 : place + 10]:
        if text[end:begins].strip() or begins - end > 2 or not _GROUP.fullmatch(piece):
            break
        whole, end = whole + piece, begins + len(piece)
    return whole, end


def unhidden(text: str) -> str:
    """The text as a lenient reader sees it: compatibility forms folded, invisible characters gone."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")
