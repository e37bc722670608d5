"""Texts inside texts: what Base64, hexadecimal, percent and entity encodings stand for."""

import base64
import binascii
import html
import re
from collections.abc import Iterator
from urllib.parse import unquote

LEVELS = 3
"""Encodings inside encodings are followed this deep."""

_SHORTEST = 16
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){8,}+")
_PLAIN_SHARE = 0.9
_OF_TOKENS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-"
_SHAPE = bytes(ord("x" if code in _OF_TOKENS else "=" if code == ord("=") else " ") for code in range(256))
_LONG = b"x" * _SHORTEST
_BEHIND = re.compile(rb"[^x]")
_EQUALS = ord("=")


def decoded_tokens(text: str) -> Iterator[tuple[int, int, str]]:
    """Each run of 16 and more characters that is readable text in Base64 or hexadecimal: start, end, that text."""
    for start, end in token_places(text):
        plain = decoded(text[start:end])
        if plain:
            yield start, end, plain


def token_places(text: str) -> Iterator[tuple[int, int]]:
    """Where runs of 16 and more characters of the encodings are, with up to two equals signs behind each.

    What follows an equals sign is no such run. One byte stands for each character, so that the search is one for bytes:
    a pattern over the text takes many times as long, and texts without any such run are most of them.
    """
    shape = text.encode("latin-1", "replace").translate(_SHAPE)
    start = shape.find(_LONG)
    while start >= 0:
        behind = _BEHIND.search(shape, start)
        end = behind.start() if behind else len(shape)
        if not start or shape[start - 1] != _EQUALS:
            yield start, end + len(shape[end : end + 2]) - len(shape[end : end + 2].lstrip(b"="))
        start = shape.find(_LONG, end)


def decoded(token: str) -> str:
    """The readable text that a run of characters stands for, or nothing."""
    if _HEX.fullmatch(token):
        return _readable(bytes.fromhex(token))
    body = token.rstrip("=").replace("-", "+").replace("_", "/")
    if len(body) % 4 == 1:
        return ""
    try:
        return _readable(base64.b64decode(body + "=" * (-len(body) % 4), validate=True))
    except (binascii.Error, ValueError):
        return ""


def unescaped(text: str) -> str:
    """The text with HTML's character references resolved; as it is when one of them is absurd."""
    try:
        return html.unescape(text)
    except ValueError:  # a reference of thousands of digits
        return text


def views(text: str) -> Iterator[str]:
    """The text, and what its encodings stand for, ``LEVELS`` deep. The views of a text are not longer than it is."""
    level = [text]
    for _ in range(LEVELS + 1):
        yield from level
        level = [view for part in level for view in _inside(part)]
        if not level:
            return


def _inside(text: str) -> Iterator[str]:
    plain = unquote(text, errors="replace") if "%" in text else text
    plain = unescaped(plain) if "&" in plain else plain
    if plain != text:
        yield plain
    found = [plain for _, _, plain in decoded_tokens(text)]
    if found:
        yield "\n".join(found)


def _readable(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    plain = sum(char.isprintable() or char in "\r\n\t" for char in text)
    return text if plain >= _PLAIN_SHARE * len(text) else ""
