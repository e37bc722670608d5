"""Stretches of a text that are written in another code, decoded.

base64, base32, hex, binary, percent, entities, escapes, rot13 and other shifts, reversed text, leet and spaced letters.
Each decoder is one pass of a pattern that reads every character a bounded number of times.
"""

import base64
import binascii
import codecs
import html
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from urllib.parse import unquote

from chimera.guards.injection.hints import Hints, for_re2
from chimera.guards.injection.words import COMMON, segmented

Found = tuple[str, int, int]
"""A decoded text and the stretch (start, end) of the text that it was written in."""

_BASE64 = re.compile(r"[A-Za-z0-9+/_=\r\n-]{16,}")
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/_=-]{16,}")
_BASE32 = re.compile(r"[A-Z2-7]{16,}={0,6}")
_HEX = re.compile(r"[0-9A-Fa-fx\\:,\s%-]{16,}")
_BITS = re.compile(r"[01\s,]{32,}")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,10});")
_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([nrt\"'/]))")
_WORD = re.compile(r"[A-Za-z]+")
_LEET_WORD = re.compile(r"(?<![\w.@$-])[A-Za-z0-9@$!+]{1,40}(?![\w@-]|\.\w)")
_MIXED_WORD = re.compile(
    r"(?<![\w.@$-])(?=[A-Za-z]{0,40}[0-9@$!+])(?=[0-9@$!+]{0,40}[A-Za-z])[A-Za-z0-9@$!+]{3,40}(?![\w@-]|\.\w)"
)
_LEET = str.maketrans("0134578@$!+", "oieastbasit")
_SPACED = re.compile(r"(?<!\w)\w(?:[ ._*\-|/]{1,4}\w(?!\w)){5,}")
_BREAK = re.compile(r"[ ._*\-|/]{2,4}")
_JOINT = re.compile(r"[ ._*\-|/]")
_ENOUGH = 3
_COMMON_ROT13 = frozenset(codecs.encode(word, "rot13") for word in COMMON)
_COMMON_REVERSED = frozenset(word[::-1] for word in COMMON)


def decoded(text: str) -> Iterator[tuple[str, Found]]:
    """Every decoded stretch with the name of its code. Linear in the text; never raises."""
    possible = _hints().possible(for_re2(text), ascii_only=text.isascii())
    for at, (name, (_, decoder)) in enumerate(DECODERS.items()):
        if at in possible:
            for found in decoder(text):
                yield name, found


@cache
def _hints() -> Hints:
    return Hints([pattern for pattern, _ in DECODERS.values()])


def _base64(text: str) -> Iterator[Found]:
    for match in _base64_runs(text):
        run = "".join(match[0].split()).rstrip("=").replace("-", "+").replace("_", "/").replace("=", "")
        if len(run) < 16 or (run.isalpha() and (run.islower() or run.isupper())):
            continue
        yield from _readable(run[: len(run) - (len(run) % 4 == 1)], base64.b64decode, match, pad=4)


def _base64_runs(text: str) -> Iterator[re.Match[str]]:
    """What may be written over several lines, and each of its lines: a word before it could belong to neither."""
    for match in _BASE64.finditer(text):
        yield match
        if "\n" in match[0] or "\r" in match[0]:
            yield from _BASE64_LINE.finditer(text, match.start(), match.end())


def _base32(text: str) -> Iterator[Found]:
    for match in _BASE32.finditer(text):
        yield from _readable(match[0].rstrip("="), base64.b32decode, match, pad=8)


def _hex(text: str) -> Iterator[Found]:
    for match in _HEX.finditer(text):
        run = re.sub(r"0x|[^0-9A-Fa-f]", "", match[0])
        if len(run) >= 16:
            yield from _readable(run[: len(run) // 2 * 2], binascii.unhexlify, match)


def _bits(text: str) -> Iterator[Found]:
    for match in _BITS.finditer(text):
        run = re.sub(r"[^01]", "", match[0])
        yield from _readable(run, _octets, match)


def _octets(run: str) -> bytes:
    return bytes(int(run[at : at + 8], 2) for at in range(0, len(run) // 8 * 8, 8))


def _readable(run: str, decode: Callable[[str], bytes], match: re.Match[str], pad: int = 1) -> Iterator[Found]:
    """The decoded run, if it is text that someone could read."""
    try:
        raw = decode(run + "=" * (-len(run) % pad))
    except (binascii.Error, ValueError):
        return
    shown = raw.decode("utf-8", "replace")
    good = sum(1 for char in shown if (char.isprintable() and char != "�") or char in "\n\t")
    if (
        len(shown) >= 6
        and good >= 0.9 * len(shown)
        and sum(1 for c in shown if c.isalpha() or c == " ") >= 0.6 * len(shown)
    ):
        yield shown, match.start(), match.end()


def _in_place(pattern: re.Pattern[str], replace: Callable[[str], str], least: int) -> Callable[[str], Iterator[Found]]:
    """A decoder of codes that stand among plain characters: the whole text, when there are enough of them."""

    def decode(text: str) -> Iterator[Found]:
        first = last = None
        count = 0
        for match in pattern.finditer(text):
            first, last, count = (match if first is None else first), match, count + 1
        if first is not None and last is not None and count >= least:
            yield replace(text), first.start(), last.end()

    return decode


def _escape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code is None:
        return {"n": "\n", "r": "\n", "t": "\t"}.get(match[4], match[4])
    return chr(min(int(code, 16), 0x10FFFF))


def _shifted(text: str) -> Iterator[Found]:
    """rot13, another shift of the alphabet, or text written backwards, where that makes words of gibberish."""
    start = text[:20_000]
    if _kinds_of_words().possible(for_re2(start), ascii_only=True) == frozenset({0}):
        return  # plain words, and none that only make sense when they are shifted
    seen = set(_WORD.findall(start.lower()))
    if not seen:
        return
    if len(seen & _COMMON_ROT13) >= _ENOUGH:
        yield codecs.encode(text, "rot13"), 0, len(text)
    if len(seen & _COMMON_REVERSED) >= _ENOUGH:
        yield text[::-1], 0, len(text)
    if len(seen) >= 4 and not seen & COMMON:
        for shift in range(1, 26):
            table = _caesar(shift)
            if shift != 13 and len({word.translate(table) for word in seen} & COMMON) >= _ENOUGH:
                yield text.translate(table), 0, len(text)
                return


@cache
def _kinds_of_words() -> Hints:
    kinds = (COMMON, _COMMON_ROT13, _COMMON_REVERSED)
    return Hints([f"(?i)(?:^|[^a-z])(?:{'|'.join(sorted(words))})(?:[^a-z]|$)" for words in kinds])


def _caesar(shift: int) -> dict[int, int]:
    return {base + at: base + (at + shift) % 26 for base in (ord("a"), ord("A")) for at in range(26)}


def _leet(text: str) -> Iterator[Found]:
    changed = [match for match in _MIXED_WORD.finditer(text) if not match[0].isalpha()]
    made = {match[0].translate(_LEET).lower() for match in changed}
    if len(made & COMMON) >= 2 or len(made) >= 2 * _ENOUGH:
        yield _LEET_WORD.sub(_unleet, text), changed[0].start(), changed[-1].end()


def _unleet(match: re.Match[str]) -> str:
    word = match[0]
    if word.isalpha() or (word.isdigit() and len(word) > 2):
        return word
    tail = word[len(word.rstrip("!+")) :]
    return word[: len(word) - len(tail)].translate(_LEET) + tail


def _spaced(text: str) -> Iterator[Found]:
    parts: list[str] = []
    place = 0
    first = last = 0
    for match in _SPACED.finditer(text):
        last = match.end()
        first = first if parts else match.start()
        joined = "".join("\0" if _BREAK.fullmatch(gap) else gap for gap in re.split(r"(\w)", match[0]))
        words = [_JOINT.sub("", word) for word in joined.split("\0")]
        parts += [text[place : match.start()], " ".join(segmented(word) if len(words) == 1 else word for word in words)]
        place = match.end()
    if parts:
        yield "".join(parts) + text[place:], first, last


DECODERS: Mapping[str, tuple[str, Callable[[str], Iterator[Found]]]] = {
    "base64": (r"[A-Za-z0-9+/_=\r\n-]{16}", _base64),
    "base32": ("[A-Z2-7]{16}", _base32),
    "hex": (r"[0-9A-Fa-fx\\:,\s%-]{16}", _hex),
    "binary": (r"[01\s,]{32}", _bits),
    "percent": (_PERCENT.pattern, _in_place(_PERCENT, unquote, 2)),
    "entities": ("&[#A-Za-z]", _in_place(_ENTITY, html.unescape, 1)),
    "escapes": (r"\\[uxnrt\"'/]", _in_place(_ESCAPE, lambda text: _ESCAPE.sub(_escape, text), 1)),
    "shifted": ("[A-Za-z]", _shifted),
    "leet": ("[A-Za-z][0-9@$!+]|[0-9@$!+][A-Za-z]", _leet),
    "spaced": (r"\b\w(?:[ ._*|/-]{1,4}\w\b){5}", _spaced),
}
"""Every code by its name, with what stands in any text that it finds something in."""
