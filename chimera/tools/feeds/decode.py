"""Text of a feed's bytes, whatever encoding it came in."""

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with the same bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ORDINARY = re.compile(
    r"utf|latin|iso-?8859|windows-|cp\d|koi8|mac|us-?ascii|ascii|shift_?jis|euc|gb|big5", re.IGNORECASE
)
"""Codecs of real texts. Others, such as punycode, can be made to run for hours."""
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


def decode(data: bytes, charset: str | None = None) -> str:
    """The text of ``data``: by its byte order mark, declaration, the server's word, UTF-8, or else Windows-1252.

    NULs are dropped; bytes that fit nothing become U+FFFD rather than an error, so one bad byte costs one character.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _clean(data.decode(encoding, "replace"))
    declared = _DECLARED.match(data[:400])
    for name in (declared[1].decode("ascii") if declared else None, charset, "utf-8", _wide(data)):
        text = _try(data, name)
        if text is not None:
            return _clean(text)
    return _clean(data.decode("cp1252", "replace"))


def _try(data: bytes, encoding: str | None) -> str | None:
    if not encoding or not _ORDINARY.match(encoding):
        return None
    try:
        text = data.decode(encoding)
    except (LookupError, ValueError):  # UnicodeDecodeError is a ValueError
        return None
    # Without a mark, UTF-16 of plain text is also valid UTF-8: every second character is then a NUL.
    return None if text[:200].count("\0") > len(text[:200]) // 4 else text


def _wide(data: bytes) -> str | None:
    """UTF-16 without a mark, told by where its NULs are."""
    head = data[:400]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) * 3 < len(head):
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _clean(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\0", "")
