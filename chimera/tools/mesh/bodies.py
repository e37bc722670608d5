"""HTTP answers of a tool server, read in bounded memory and passed on only when the client session can take them."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from urllib.parse import urljoin, urlsplit

import httpx

from chimera.tools.mesh.faults import Fault, fault_answer
from chimera.tools.mesh.screen import NOISE_MAX_BYTES, Kind, answered_id, answers, kind_of

_EDGE = 4_096
_BOUNDARY = re.compile(rb"\r\n\r\n|\n\r\n|\n\n|\r\r")
_NEWLINE = re.compile(rb"\r\n|\n|\r")
_NO_MESSAGE = "the answer is not a valid MCP message"
_OTHERS = "the server answered another request than the one that was sent"
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
    if kind_of(body) is not Kind.ANSWER:
        yield fault_answer(request_id, Fault.MALFORMED, _NO_MESSAGE)
    elif not answers(body, request_id):
        yield fault_answer(request_id, Fault.MALFORMED, _OTHERS)
    else:
        yield bytes(body)


async def events(
    chunks: AsyncIterator[bytes], limit: int, request_id: int | None, *, opening: bool = False
) -> AsyncIterator[bytes]:
    """An event stream (WHATWG server-sent events): whole events that the session can take, or a last one with a fault.

    ``request_id`` is None for the stream of the server's own messages; ``opening``: that one holds the answers too, and
    names the endpoint for requests first. The reader closes the stream when it has its answer; so one that ends by
    itself is unfinished, unless its events were numbered: then the reader resumes it.
    """
    resumable = False
    fault, reason = Fault.LOST, _UNFINISHED
    try:
        async for event in _split(chunks, limit):
            name, data, numbered = _parse(event)
            resumable = resumable or numbered
            kind = kind_of(data) if data else Kind.REQUEST  # without data it only numbers the stream
            if kind is Kind.ANSWER and request_id is not None and not answers(data, request_id):
                fault, reason, resumable = Fault.MALFORMED, _OTHERS, False
                break
            if (name == b"message" and kind in (Kind.ANSWER, Kind.REQUEST)) or (opening and name == b"endpoint"):
                yield b"\n".join(_NEWLINE.split(event)) + b"\n\n"
            elif name == b"message" and kind is Kind.BROKEN and request_id is not None:
                fault, reason, resumable = Fault.MALFORMED, _NO_MESSAGE, False
                break
            elif opening and kind is Kind.BROKEN and (meant := answered_id(data[:_EDGE], data[-_EDGE:])) is not None:
                yield event_of(fault_answer(meant, Fault.MALFORMED, _NO_MESSAGE))
    except _Overlong:
        fault, reason, resumable = Fault.TOO_LARGE, _too_large(limit), False
    except httpx.HTTPError:
        if resumable or request_id is None:
            raise
    if request_id is not None and not resumable:
        yield event_of(fault_answer(request_id, fault, reason))


def event_of(message: bytes) -> bytes:
    """A message as an event of a stream."""
    return b"event: message\ndata: " + message + b"\n\n"


async def endpoint_checked(
    stream: AsyncIterator[bytes], url: str, alarm: Callable[[str], None]
) -> AsyncIterator[bytes]:
    """The events of a stream of HTTP+SSE from ``url``. ``alarm`` is called when it names an endpoint elsewhere."""
    async for event in stream:
        name, data, _ = _parse(event.removesuffix(b"\n\n"))
        if name == b"endpoint" and _origin(urljoin(url, data.decode("utf-8", "replace"))) != _origin(url):
            alarm("it names an endpoint at another address, which is not followed")
            return
        yield event


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


async def merged(stream: AsyncIterator[bytes], beside: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    """The events of a stream, and those that are put into ``beside``, until the stream ends."""
    theirs = asyncio.ensure_future(anext(stream, None))
    ours = asyncio.ensure_future(beside.get())
    try:
        while True:
            await asyncio.wait((theirs, ours), return_when=asyncio.FIRST_COMPLETED)
            if ours.done():
                yield ours.result()
                ours = asyncio.ensure_future(beside.get())
            if theirs.done():
                if (event := theirs.result()) is None:
                    return
                yield event
                theirs = asyncio.ensure_future(anext(stream, None))
    finally:
        for one in (theirs, ours):
            one.cancel()
        await asyncio.gather(theirs, ours, return_exceptions=True)


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
