"""A strict reader of printed records: the block form in which YAML printers write plain data, and nothing else.

It knows sequences, mappings and scalars (plain, or quoted and folded over lines), and refuses anchors, tags,
aliases, merged and repeated keys, literal blocks and flow collections with content. A value that a printer quoted
stays one value: nothing that stands in it can become a field. What does not fit in full is refused in full.

Source: YAML 1.2, sections 7.3 (flow scalars) and 8.2 (block collections).
"""

import re
from typing import Any

DEPTH_MAX = 32
_KEY = re.compile(r"([A-Za-z_][\w.@+ -]{0,200}|'(?:[^'\n]|''){0,400}'|\"[^\"\\\n]{0,400}\"):(?: +|$)")
_NUMBER = re.compile(r"[-+]?\d[\d_]*(\.\d*)?([eE][-+]?\d+)?|[-+]?\.\d+")
_SPECIAL = frozenset("&*!|>%@`{}[]#,\"'")
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b", " ": " ",
    '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_HEX = {"x": 2, "u": 4, "U": 8}


class BlockMalformed(ValueError):
    """The text is not printed data of this form: it is read as plain text then."""


def read_block(text: str) -> Any:
    """The data that was printed.

    Raises:
        BlockMalformed: the text is anything else.
    """
    return _Reader(text).whole()


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.place = 0

    def whole(self) -> Any:
        found = self.node(0, 0, -1)
        while self.place < len(self.lines):
            if self.lines[self.place].strip():
                raise BlockMalformed(f"line {self.place + 1} belongs to nothing")
            self.place += 1
        return found

    def node(self, indent: int, depth: int, parent: int) -> Any:
        """What starts at ``indent`` of this line; ``parent`` is the indent of what it belongs to."""
        if depth > DEPTH_MAX:
            raise BlockMalformed("nested too deep")
        line = self._line()
        body = line[indent:]
        if line[:indent].strip() or body.startswith((" ", "\t")):
            raise BlockMalformed(f"line {self.place + 1} is indented unlike its neighbours")
        if body == "-" or body.startswith("- "):
            return self.sequence(indent, depth)
        if _KEY.match(body):
            return self.mapping(indent, depth)
        return self.scalar(body, parent)

    def sequence(self, indent: int, depth: int) -> list[Any]:
        items: list[Any] = []
        while self.place < len(self.lines) and self._at(indent) and self._line()[indent : indent + 2] in ("- ", "-"):
            line = self._line()
            if not line[indent + 1 :].strip():
                self.place += 1
                items.append(self.node(self._deeper(indent), depth + 1, indent))
                continue
            self.lines[self.place] = line[:indent] + " " + line[indent + 1 :]
            step = len(line[indent + 1 :]) - len(line[indent + 1 :].lstrip(" "))
            items.append(self.node(indent + 1 + step, depth + 1, indent))
        return items

    def mapping(self, indent: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.place < len(self.lines) and self._at(indent):
            body = self._line()[indent:]
            match = _KEY.match(body)
            if match is None:
                raise BlockMalformed(f"line {self.place + 1} is no field")
            key = str(_quoted(match[1]) if match[1][0] in "'\"" else match[1])
            if key in found or key == "<<":
                raise BlockMalformed(f"the field {key[:40]!r} stands twice")
            rest = body[match.end() :]
            if rest:
                found[key] = self.scalar(rest, indent)
                continue
            self.place += 1
            if self.place < len(self.lines) and self._at(indent) and self._line()[indent : indent + 2] in ("- ", "-"):
                found[key] = self.sequence(indent, depth + 1)
            else:
                found[key] = self.node(self._deeper(indent), depth + 1, indent)
        return found

    def scalar(self, rest: str, indent: int) -> Any:
        """One value, with the lines that it was folded over."""
        self.place += 1
        quote = rest[0] if rest[:1] in ("'", '"') else ""
        parts = [rest]
        while quote and not _ends(parts[-1], quote, first=len(parts) == 1):
            if self.place >= len(self.lines):
                raise BlockMalformed("a quotation has no end")
            parts.append(self.lines[self.place])
            self.place += 1
        if quote:
            return _quoted("\n".join(parts))
        while self.place < len(self.lines) and self._continues(indent):
            parts.append(self.lines[self.place])
            self.place += 1
        return _plain(_folded(parts))

    def _continues(self, indent: int) -> bool:
        """Whether the next line goes on with a plain value: it stands deeper, or is empty before one that does."""
        for line in self.lines[self.place :]:
            if line.strip():
                return len(line) - len(line.lstrip(" ")) > indent
        return False

    def _line(self) -> str:
        if self.place >= len(self.lines):
            raise BlockMalformed("a value is missing")
        return self.lines[self.place]

    def _at(self, indent: int) -> bool:
        line = self._line()
        return len(line) > indent and not line[:indent].strip() and line[indent] != " "

    def _deeper(self, indent: int) -> int:
        line = self._line()
        found = len(line) - len(line.lstrip(" "))
        if found <= indent:
            raise BlockMalformed(f"line {self.place + 1} should stand deeper")
        return found


def _ends(part: str, quote: str, *, first: bool) -> bool:
    """Whether a quotation closes at the end of this line."""
    place, end = (1 if first else 0), len(part)
    while place < end:
        letter = part[place]
        if quote == '"' and letter == "\\":
            place += 2
            continue
        if letter == quote:
            if quote == "'" and part[place + 1 : place + 2] == "'":
                place += 2
                continue
            if part[place + 1 :].strip():
                raise BlockMalformed("text after a quotation")
            return True
        place += 1
    return False


def _quoted(text: str) -> str:
    quote, inner = text[0], text.rstrip()[1:-1]
    lines = inner.split("\n")
    if quote == "'":
        return _folded(lines).replace("''", "'")
    return _unescaped(_joined(lines))


def _folded(lines: list[str]) -> str:
    """Single line breaks are blanks, an empty line is a line break."""
    if len(lines) == 1:
        return lines[0]
    out, breaks = [lines[0].rstrip(" \t")], 0
    for number, line in enumerate(lines[1:], 1):
        last = number == len(lines) - 1
        text = line.lstrip(" \t") if last else line.strip(" \t")
        breaks += 1
        if text or last:
            out.append(" " if breaks == 1 else "\n" * (breaks - 1))
            out.append(text)
            breaks = 0
    return "".join(out)


def _joined(lines: list[str]) -> str:
    """Folding of a double-quoted value: a line that ends with a backslash goes on without a blank."""
    out, index = lines[0], 1
    while index < len(lines):
        line = lines[index].lstrip(" \t")
        index += 1
        if _odd_backslashes(out):
            out = out[:-1] + line
            continue
        breaks = 1
        while not line and index < len(lines):
            line, breaks, index = lines[index].lstrip(" \t"), breaks + 1, index + 1
        out = out.rstrip(" \t") + (" " if breaks == 1 else "\n" * (breaks - 1)) + line
    return out


def _odd_backslashes(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def _unescaped(text: str) -> str:
    out: list[str] = []
    place = 0
    while place < len(text):
        letter = text[place]
        if letter != "\\":
            out.append(letter)
            place += 1
            continue
        code = text[place + 1 : place + 2]
        if code in _HEX:
            digits = text[place + 2 : place + 2 + _HEX[code]]
            try:
                out.append(chr(int(digits, 16)))
            except (ValueError, OverflowError):
                raise BlockMalformed("an escape that is none") from None
            place += 2 + _HEX[code]
        elif code in _ESCAPES:
            out.append(_ESCAPES[code])
            place += 2
        else:
            raise BlockMalformed("an escape that is none")
    return "".join(out)


def _plain(text: str) -> Any:
    if text == "[]":
        return []
    if text == "{}":
        return {}
    if (
        not text
        or text[0] in _SPECIAL
        or text.startswith(("? ", "- "))
        or ": " in text
        or " #" in text
        or text[-1] == ":"
    ):
        raise BlockMalformed("a plain value that no printer writes")
    if text in ("null", "~"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text) and len(text) < 1_000:
        return float(text) if any(sign in text for sign in ".eE") else int(text.replace("_", ""))
    return text
