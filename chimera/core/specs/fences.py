"""Tagged fences: the parts of a specification file that are data.

    ```json schema id=MISSION            a JSON Schema (Draft 2020-12)
    ```json example of=MISSION           a value that the schema accepts
    ```json example of=MISSION invalid   a value that it refuses
    ```yaml slo id=bench.fleet           limits, one ``name: ["<=", 2000]`` a line
    ```mermaid erDiagram                 the tables of the database
    ```mermaid flowchart                 a picture; so are stateDiagram-v2 and sequenceDiagram
    ```text                              neither checked nor read; so is ``sh``

Whatever else opens with a fence is an error: data that nothing reads would look like a promise.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from chimera.core.errors import SpecError

FILES = ("_meta.md", "functional.md", "technical.md", "openclaw_integration.md")
PICTURES = ("flowchart", "stateDiagram-v2", "sequenceDiagram")

_PACKAGE = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"(?P<indent>[ \t]*)```(?P<info>[^`]*)")
_FORMS = {
    "json": (r"schema id=[A-Z][A-Z_]*(\.[a-z]+)?", r"example of=[A-Z][A-Z_]*(\.[a-z]+)?( invalid)?"),
    "yaml": (r"slo id=[a-z][a-z0-9_.]*",),
    "mermaid": ("erDiagram", *(re.escape(name) for name in PICTURES)),
    "text": ("",),
    "sh": ("",),
}


@dataclass(frozen=True)
class Block:
    """One fence. ``line`` is the line of its opening, counted from 1; ``end`` that of its closing."""

    language: str
    words: tuple[str, ...]
    body: str
    file: Path
    line: int
    end: int

    @property
    def kind(self) -> str:
        """The first word after the language: ``schema``, ``example``, ``slo``, ``erDiagram``; or empty."""
        return self.words[0] if self.words else ""

    def value(self, name: str) -> str:
        """The text after ``name=`` in the opening line; empty when there is none."""
        return next((word.removeprefix(f"{name}=") for word in self.words if word.startswith(f"{name}=")), "")

    def fail(self, what: str, *, offset: int = 0) -> NoReturn:
        """Refuse this block.

        Args:
            what: the complaint, in one line.
            offset: lines below the opening line to point at.

        Raises:
            SpecError: always, with the file and the line.
        """
        fail(self.file, self.line + offset, what)


def fail(file: Path, line: int, what: str) -> NoReturn:
    """Refuse a place in a specification file.

    Raises:
        SpecError: always, with the file and the line.
    """
    raise SpecError(f"{file}:{line}: {what}", file=str(file), line=line)


def specs_root(package: Path = _PACKAGE) -> Path:
    """The folder of the specifications: ``chimera/_specs`` in an installed wheel, ``specs`` beside it in a checkout.

    Raises:
        SpecError: neither is there.
    """
    for folder in (package / "_specs", package.parent / "specs"):
        if (folder / FILES[0]).is_file():
            return folder
    raise SpecError(f"no specifications beside or inside {package}", remedy="Reinstall chimera-swarm.")


def spec_files(root: Path | None = None) -> list[Path]:
    """The specification files, in reading order.

    Raises:
        SpecError: one of the four is missing.
    """
    folder = root or specs_root()
    for name in FILES:
        if not (folder / name).is_file():
            raise SpecError(f"{folder / name} is missing")
    return [folder / name for name in FILES]


def blocks(path: Path) -> Iterator[Block]:
    """All fences of one file, in order.

    Raises:
        SpecError: a fence is indented, not closed, or not of a form that is known; with file and line.
    """
    opened: tuple[int, str] | None = None
    body: list[str] = []
    for number, text in enumerate(path.read_text("utf-8").splitlines(), start=1):
        fence = _FENCE.fullmatch(text)
        if fence is None:
            body.append(text)
        elif fence["indent"]:
            fail(path, number, "a fence must not be indented")
        elif opened is None:
            opened, body = (number, fence["info"].strip()), []
        elif fence["info"].strip():
            fail(path, number, f"a fence opens inside the one of line {opened[0]}")
        else:
            yield _block(path, opened, body, number)
            opened = None
    if opened is not None:
        fail(path, opened[0], "the fence is not closed")


def _block(path: Path, opened: tuple[int, str], body: list[str], end: int) -> Block:
    line, info = opened
    language, _, rest = info.partition(" ")
    if language not in _FORMS:
        fail(path, line, f"unknown kind of fence {info!r}")
    if not any(re.fullmatch(form, rest) for form in _FORMS[language]):
        fail(path, line, f"a {language} fence cannot be {rest!r}")
    return Block(language, tuple(rest.split()), "\n".join(body) + "\n", path, line, end)
