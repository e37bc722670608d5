"""Twelve ways to write the same attack so that a pattern does not see it. All of them can be read back."""

import base64
import codecs
import html
from collections.abc import Callable, Mapping

_CYRILLIC = str.maketrans("aceopxyiABCEHKMOPTX", "асеорхуіАВСЕНКМОРТХ")
_LEET = str.maketrans("aeiost", "431057")


def _tags(text: str) -> str:
    return "A short note." + "".join(chr(0xE0000 + ord(char)) for char in text if " " <= char <= "~")


def _spaced(text: str) -> str:
    return "   ".join(" ".join(word) for word in text.split())


def _full_width(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


OBFUSCATIONS: Mapping[str, Callable[[str], str]] = {
    "zero_width": "\u200b".join,
    "tag_characters": _tags,
    "homoglyphs": lambda text: text.translate(_CYRILLIC),
    "full_width": _full_width,
    "base64": lambda text: base64.b64encode(text.encode("utf-8", "replace")).decode(),
    "hex": lambda text: text.encode("utf-8", "replace").hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "leet": lambda text: text.translate(_LEET),
    "spaced_letters": _spaced,
    "percent": _percent,
    "html_comment": lambda text: f"<p>Opening hours: nine to five.</p><!-- {text.replace('--', ' ')} -->",
    "markdown_title": lambda text: (
        '[Opening hours](https://example.com "'
        + html.escape(" ".join(text.split())).replace("(", "&#40;").replace(")", "&#41;")
        + '")'
    ),
}
"""Each obfuscation by its name."""
