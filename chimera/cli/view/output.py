"""The two streams: data and answers on stdout, everything else on stderr."""

import json
import os
import re
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chimera.cli.view.text import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH = 140
# JSON escapes the ASCII controls by itself; a terminal that shows the document must not act on the others either.
_RISKY = re.compile("[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def stdout() -> "Console":
    """The console of answers."""
    return _console(stderr=False)


def stderr() -> "Console":
    """The console of progress, questions and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH  # rich's 80 would cut the columns of tables that go into a pipe
    return console


def interactive() -> bool:
    """Whether a person can be asked: both ends are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def show(*parts: "RenderableType") -> None:
    """Put something on stdout. Plain strings are made safe first."""
    console = stdout()
    for part in parts:
        console.print(clean(part) if isinstance(part, str) else part)


def tell(text: str = "") -> None:
    """Put a line of plain text on stderr at once."""
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()


def write_text(text: str) -> None:
    """Put text on stdout as it is, but safe: no wrapping, no colours."""
    sys.stdout.write(clean(text).rstrip("\n") + "\n")
    sys.stdout.flush()


def emit(data: Any) -> None:
    """Put one JSON document on stdout."""
    text = json.dumps(data, ensure_ascii=False, indent=2, default=_plain)
    sys.stdout.write(escaped(text) + "\n")
    sys.stdout.flush()


def escaped(document: str) -> str:
    """A JSON text in which everything that a terminal could act on is written as an escape."""
    return _RISKY.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
