"""Characters as their plain look: compatibility forms, hidden characters, accents and look-alikes folded.

Every character folds by itself, so that a place in the folded text can be led back to the original.
"""

import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate

from confusable_homoglyphs.confusables import confusables_data

from chimera.guards.sanitize import is_plain, visible

_FOREIGN = re.compile("[\u0370-\u03ff\u0400-\u052f\u0530-\u058f\u10a0-\u10ff\u13a0-\u13ff\uab70-\uabbf]")
_MIXED = re.compile(r"[^\W\d_]*[A-Za-z][^\W\d_]*")
_LATIN_NAME = re.compile(r"\b(SMALL |CAPITAL )?LETTER (?:SMALL CAPITAL )?(?:DOTLESS )?([A-Z])(?: WITH .*)?$")
_MARKS = ((0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))
_OTHER_LOOKS = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "…": "..."})


class _Plain(dict[int, str]):
    """What each code point looks like, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _plain(chr(code))
        return found


class _Latin(dict[int, str]):
    """The Latin letter that each code point of another script can be mistaken for, or the code point itself."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        found = char if code < 0x80 else next(iter(_letters(char)), char)
        self[code] = found
        return found


_PLAIN = _Plain({code: chr(code) for code in range(0x20, 0x7F)} | {9: "\t", 10: "\n", 13: ""})
_LATIN = _Latin()


def fold(text: str) -> str:
    """The text as it looks, in plain characters; never raises, whatever the code points. Case is kept."""
    if is_plain(text):
        return text
    return _unmixed(text.translate(_PLAIN))


def origins(text: str) -> list[int]:
    """For ``fold(text)``: how many of its characters come from each prefix of ``text``; one entry per character."""
    return list(accumulate(len(_PLAIN[ord(char)]) for char in text))


def origin(ends: list[int], place: int) -> int:
    """The index in the original of the character at ``place`` of its fold, by what :func:`origins` gave."""
    return bisect_right(ends, place)


def _plain(char: str) -> str:
    code = ord(char)
    if any(low <= code <= high for low, high in _MARKS) or (char != "\r" and not visible(char)):
        return ""
    found = unicodedata.normalize("NFKD", char)
    if len(found) > 1:
        found = "".join(part for part in found if not any(low <= ord(part) <= high for low, high in _MARKS))
    found = "".join(_one(part) for part in found.translate(_OTHER_LOOKS) if part not in "\r")
    return found[:8]  # U+FDFA alone stands for 18 characters


def _one(char: str) -> str:
    if char < "\x80":
        return char
    category = unicodedata.category(char)
    if category in ("Zl", "Zp"):
        return "\n"
    if category[0] == "Z":
        return " "
    name = unicodedata.name(char, "")
    if "LATIN" in name or name.startswith("REGIONAL INDICATOR"):
        found = _LATIN_NAME.search(name)
        if found:
            return found[2].lower() if found[1] == "SMALL " or "SMALL CAPITAL" in name else found[2]
    return char


@lru_cache(maxsize=4096)
def _letters(char: str) -> tuple[str, ...]:
    """The ASCII letters that Unicode's table calls confusable with a character."""
    listed = confusables_data.get(char, ())
    return tuple(
        str(like["c"]) for like in listed if len(like["c"]) == 1 and like["c"].isascii() and like["c"].isalpha()
    )


def _unmixed(text: str) -> str:
    """Look-alikes of other scripts replaced, unless the text is written in such a script."""
    if text.isascii():
        return text
    foreign = _FOREIGN.findall(text)
    if not foreign:
        return text
    unlike = sum(1 for char in foreign if not _LATIN[ord(char)].isascii())
    if unlike * 4 <= len(foreign):
        return text.translate(_LATIN)
    return _MIXED.sub(lambda word: word[0].translate(_LATIN), text)
