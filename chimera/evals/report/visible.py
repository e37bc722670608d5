"""Text from anywhere, made safe to look at."""

import unicodedata

_KEPT = "\n\t"


def visible(text: str) -> str:
    """``text`` with every character that hides, reorders or steers spelled out, such as ``⟨U+202E⟩``."""
    return "".join(
        char if char in _KEPT or unicodedata.category(char)[0] != "C" else f"⟨U+{ord(char):04X}⟩" for char in text
    )
