"""What RE2 can say in microseconds: that a pattern matches nowhere in a text. Where one does match is asked of Python.

RE2 knows letters of ASCII only and cannot look around. The patterns it is given lose what it lacks, so that they match
more and never less, and letters beyond ASCII are shown to it as one that no pattern names.
"""

import re
from collections.abc import Sequence
from typing import Any, cast

import re2

_AROUND = re.compile(r"\(\?<?[=!][^()]*\)")
_COUNTED = re.compile(r"\{(\d+),\d+\}")
_FOREIGN_LETTER = re.compile(r"[^\W\x00-\x7f]")
_FOREIGN_SIGN = re.compile(r"[^\x00-\x7f]")


class Hints:
    """Several patterns, looked for at once. ``pattern`` must be one of Python's that RE2 can read.

    ``worded``: they are long and hold words; those whose words are not in a text are not looked for. Short patterns of
    a few signs are faster as one automaton.
    """

    def __init__(self, patterns: Sequence[str], *, worded: bool = False) -> None:
        self._foreign = frozenset(at for at, pattern in enumerate(patterns) if not pattern.isascii())
        options = re2.Options()
        options.log_errors = False
        self._several: Any = re2.Filter() if worded else re2.Set.SearchSet(options)
        for pattern in patterns:
            self._several.Add(_loosened(pattern), options) if worded else self._several.Add(_loosened(pattern))
        self._several.Compile()

    def possible(self, shown: bytes, *, ascii_only: bool) -> frozenset[int]:
        """The patterns, by their place, that may match. ``shown``: what :func:`for_re2` made of the text."""
        found = frozenset(cast("list[int] | None", self._several.Match(shown)) or ())
        return found if ascii_only else found | self._foreign


def for_re2(text: str) -> bytes:
    """A text as RE2 is shown it."""
    if not text.isascii():
        text = _FOREIGN_SIGN.sub("\x7f", _FOREIGN_LETTER.sub("_", text))
    return text.encode("ascii")


def _loosened(pattern: str) -> str:
    """A pattern without looking around, and with counts that do not end: automata of counts are large."""
    return _COUNTED.sub(lambda count: "*" if count[1] == "0" else "+", _AROUND.sub("", pattern))
