"""HTTP answers of a tool server, read in bounded memory and passed on only when the client session can take them."""

import re
from collections.abc import AsyncIterator

import httpx

from chimera.tools.mesh.faults import Fault, fault_answer
from chimera.tools.mesh.screen import NOISE_MAX_BYTES, Kind, kind_of

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\r\n|\n\n|\r\r")
_NEWLINE = re.compile(rb"\r\n|\n|\r")
_NO_MESSAGE = "the answer is not a valid MCP message"
_UNFINISHED = "the connection ended before the answer was complete"


def _too_large(limit: int) -> str:
    return f"the answer is larger than {limit:,} bytes"


async def whole(chunks: AsyncIterator[bytes], limit: int, request_id: int) -> AsyncIterator[bytes]:
    """A JSON body: the answer itself, or a fault in its place."""
    body = bytearray()
    try:
        async for chunk in chunks:
            body += chunk
            if len(body) > limit:
                yield fault_answer(request_id, Fault.TOO_LARGE, _too_large(limit))
                return
    except httpx.HTTPError:
        yield fault_answer(request_id, Fault.LOST, _UNFINISHED)
        return
    if kind_of(body) is Kind.ANSWER:
        yield bytes(body)
    else:
        yield fault_answer(request_id, Fault.MALFORMED, _NO_MESSAGE)


async def events(
    chunks: AsyncIterator[bytes], limit: int, request_id: int | None, *, opening: bool = False
) -> AsyncIterator[bytes]:
    """An event stream (WHATWG server-sent events): whole events that the session can take, or a last one with a fault.

    ``request_id`` is None for the stream of the server's own messages; ``opening``: it may name an endpoint. The reader
    closes the stream when it has its answer; so one that ends by itself is unfinished, unless its events were numbered:
    then the reader resumes it.
    """
    resumable = False
    fault, reason = Fault.LOST, _UNFINISHED
    try:
        async for event in _split(chunks, limit):
            name, data, numbered = _parse(event)
            resumable = resumable or numbered
            kind = kind_of(data) if data else Kind.REQUEST  # without data it only numbers the stream
            if (name == b"message" and kind in (Kind.ANSWER, Kind.REQUEST)) or (opening and name == b"endpoint"):
                yield b"\n".join(_NEWLINE.split(event)) + b"\n\n"
            elif name == b"message" and kind is Kind.BROKEN and request_id is not None:
                fault, reason, resumable = Fault.MALFORMED, _NO_MESSAGE, False
                break
    except _Overlong:
        fault, reason, resumable = Fault.TOO_LARGE, _too_large(limit), False
    except httpx.HTTPError:
        if resumable or request_id is None:
            raise
    if request_id is not None and not resumable:
        yield b"event: message\ndata: " + fault_answer(request_id, fault, reason) + b"\n\n"


class _Overlong(Exception):
    """One event is longer than allowed, or all of them are more than noise by accident."""


async def _split(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """The events of a stream, without the blank lines that end them."""
    buffer = bytearray()
    scanned = total = 0
    async for chunk in chunks:
        buffer += chunk
        total += len(chunk)
        while boundary := _BOUNDARY.search(buffer, scanned):
            event = bytes(buffer[: boundary.start()])
            del buffer[: boundary.end()]
            scanned = 0
            if len(event) > limit:
                raise _Overlong
            yield event
        scanned = max(0, len(buffer) - 3)  # a boundary may be cut by the end of a chunk
        if len(buffer) > limit or total > NOISE_MAX_BYTES:
            raise _Overlong


def _parse(event: bytes) -> tuple[bytes, bytes, bool]:
    """The type of an event, its data, and whether it is numbered."""
    kind, data, numbered = b"message", list[bytes](), False
    for line in _NEWLINE.split(event):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value or kind
        elif name == b"id":
            numbered = True
    return kind, b"\n".join(data), numbered
