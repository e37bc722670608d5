"""Reading a stdio server's output in bounded memory.

The stdio transport decodes output with a named codec before it looks for lines, keeps what has no end yet without any
limit, and gives up on the first byte that is not UTF-8. The codec here hands it only whole messages that it can take:
an over-long or unreadable answer becomes a fault for its call, other noise is dropped.
"""

import codecs
import functools
import re

from typing_extensions import Buffer

from chimera.tools.mesh.faults import Fault, fault_answer
from chimera.tools.mesh.screen import NOISE_MAX_BYTES, Kind, answered_id, kind_of

_EDGE = 4_096
_NAME = re.compile(r"chimera_lines_([0-9]+)")


class Flooded(ValueError):
    """A server wrote more noise than can be an accident. Ends its session."""


class _Lines(codecs.IncrementalDecoder):
    limit = 0

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(errors)
        self._line = bytearray()
        self._tail = b""
        self._over = False
        self._noise = 0

    def decode(self, input: Buffer, final: bool = False) -> str:  # noqa: A002 - the base's name
        *ended, rest = bytes(input).split(b"\n")
        found: list[str] = []
        for piece in ended:
            self._take(piece)
            found.append(self._finish())
        self._take(rest)
        return "".join(found)

    def reset(self) -> None:
        self._line.clear()
        self._tail, self._over = b"", False

    def _take(self, piece: bytes) -> None:
        if self._over:
            self._tail = (self._tail + piece)[-_EDGE:]
            self._waste(len(piece))
            return
        self._line += piece
        if len(self._line) > self.limit:
            self._over = True
            self._tail = bytes(self._line[-_EDGE:])
            self._waste(len(self._line))
            del self._line[_EDGE:]

    def _finish(self) -> str:
        line, tail, over = bytes(self._line), self._tail, self._over
        self.reset()
        kind = Kind.BROKEN if over else kind_of(line)
        self._noise = 0 if kind is Kind.ANSWER else self._noise
        if kind is not Kind.ANSWER and not over:
            self._waste(len(line))
        if kind is not Kind.BROKEN:
            return "" if kind is Kind.OTHER else line.decode() + "\n"
        request = answered_id(line[:_EDGE], tail or line[-_EDGE:])
        if request is None:
            return ""
        fault = Fault.TOO_LARGE if over else Fault.MALFORMED
        reason = f"the answer is larger than {self.limit:,} bytes" if over else "the answer is not a valid MCP message"
        return fault_answer(request, fault, reason).decode() + "\n"

    def _waste(self, size: int) -> None:
        self._noise += size
        if self._noise > NOISE_MAX_BYTES:
            raise Flooded("the server floods its output")


def line_encoding(limit: int) -> str:
    """The name of the codec that lets through lines of at most ``limit`` bytes."""
    return f"chimera_lines_{limit}"


@functools.cache
def _codec(limit: int) -> codecs.CodecInfo:
    return codecs.CodecInfo(
        name=line_encoding(limit),
        encode=codecs.utf_8_encode,
        decode=codecs.utf_8_decode,
        incrementaldecoder=type("_LimitedLines", (_Lines,), {"limit": limit}),
    )


def _search(name: str) -> codecs.CodecInfo | None:
    match = _NAME.fullmatch(name)
    return _codec(int(match[1])) if match else None


codecs.register(_search)
