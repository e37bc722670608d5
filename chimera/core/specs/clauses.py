"""Clauses: numbered sentences that a test has to prove.

A clause is a paragraph or a list item that starts with its id in bold, ``**FR-12** A failed task is retried``. It is
open when it ends with ``(open: reason)``: promised, and not yet proven in full.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chimera.core.specs.fences import blocks, fail, spec_files

PREFIXES = {
    "_meta.md": ("META", "LAW"),
    "functional.md": ("FR",),
    "technical.md": ("TR",),
    "openclaw_integration.md": ("OC",),
}
"""Which ids may stand in which file."""

CLAUSE_ID = re.compile(r"\b(?:META|LAW|FR|TR|OC)-[1-9][0-9]*\b")
"""An id wherever it is mentioned."""

_START = re.compile(rf"(?:- )?\*\*(?P<id>{CLAUSE_ID.pattern})\*\* (?P<text>\S.*)")
_MEANT = re.compile(r"\s*(?:[-*] )?\*\*(?:META|LAW|FR|TR|OC)\b")
_OPEN = re.compile(r"\s*\(open:(?P<reason>.*)\)", re.DOTALL)


@dataclass(frozen=True)
class Clause:
    """One clause. ``open_reason`` says why it is not proven yet; None when it must be."""

    id: str
    text: str
    file: Path
    line: int
    open_reason: str | None


def clauses(root: Path | None = None) -> list[Clause]:
    """Every clause of the specifications, in reading order.

    Raises:
        SpecError: an id is malformed, in the wrong file or used twice, or an open clause gives no reason.
    """
    found: dict[str, Clause] = {}
    for path in spec_files(root):
        for line, identity, text in _paragraphs(path):
            if identity.partition("-")[0] not in PREFIXES[path.name]:
                fail(path, line, f"{identity} does not belong in {path.name}")
            if identity in found:
                first = found[identity]
                fail(path, line, f"{identity} is already used in {first.file.name}:{first.line}")
            found[identity] = _clause(path, line, identity, text)
    return list(found.values())


def _clause(path: Path, line: int, identity: str, text: str) -> Clause:
    body, mark, tail = text.partition("(open:")
    if not mark:
        return Clause(identity, text, path, line, None)
    match = _OPEN.fullmatch(mark + tail)
    if match is None or not match["reason"].strip():
        fail(path, line, f"{identity}: write `(open: reason)` at its end")
    return Clause(identity, body.strip(), path, line, match["reason"].strip())


def _paragraphs(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, id and whole text of each clause of a file; a clause ends at an empty line, a heading or a fence."""
    fenced = {line for block in blocks(path) for line in range(block.line, block.end + 1)}
    current: tuple[int, str, list[str]] | None = None
    for number, text in enumerate(path.read_text("utf-8").splitlines(), start=1):
        start = None if number in fenced else _START.fullmatch(text)
        if start is None and number not in fenced and _MEANT.match(text):
            fail(path, number, "a clause starts with its id and a text, as in `**FR-12** A failed task ...`")
        ends = start is not None or number in fenced or not text.strip() or text.startswith(("#", "- ", "|"))
        if current and ends:
            yield current[0], current[1], " ".join(current[2])
            current = None
        if start is not None:
            current = (number, start["id"], [start["text"].strip()])
        elif current:
            current[2].append(text.strip())
    if current:
        yield current[0], current[1], " ".join(current[2])
