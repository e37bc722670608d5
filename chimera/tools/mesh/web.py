"""The HTTP client below a streamable HTTP session: bounded answers, and every failure told to its own call.

Without it one refused connection, one error status or one broken stream ends the session with all its calls, or
leaves a call waiting for ever; and an answer is read whole, whatever its size.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
from pydantic import BaseModel, ValidationError

from chimera.core.errors import ToolServerDown
from chimera.tools.mesh.bodies import endpoint_checked, event_of, events, merged, whole
from chimera.tools.mesh.faults import Fault, fault_answer
from chimera.tools.mesh.oauth import Tokens

CONNECT_S = 10.0
NOTICE_S = 5.0
TAKEN_S = 4.0
"""HTTP+SSE: a server says so fast that it took a message. Until then no other can be sent, not even a withdrawal."""
ACCEPTED, UNAUTHORIZED, NOT_FOUND = 202, 401, 404
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)
_JSON, _EVENTS = "application/json", "text/event-stream"


class _Sent(BaseModel):
    """The part of an outgoing JSON-RPC message that says whether an answer is expected."""

    id: int | str | None = None
    method: str | None = None


class BoundedClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` for the MCP transport. An answer, or one event of it, holds at most ``limit`` bytes."""

    def __init__(
        self,
        limit: int,
        headers: dict[str, str],
        trust: ssl.SSLContext,
        *,
        tokens: Tokens | None = None,
        stream: tuple[str, Callable[[str], None]] | None = None,
    ) -> None:
        """``tokens``: requests are made with one. ``stream``: answers come on the stream of a GET (HTTP+SSE).

        From there: its URL, and whom to tell when it names an endpoint elsewhere. The SDK does not go there, and waits.
        """
        # No read deadline: each call has its own, and withdraw() ends what is left of it.
        timeout = httpx.Timeout(None, connect=CONNECT_S)
        # A compressed answer could unfold to any size.
        super().__init__(headers={**headers, "Accept-Encoding": "identity"}, timeout=timeout, verify=trust)
        self._tokens = tokens
        self._stream = stream
        self._limit = limit
        self._waits: dict[int, anyio.CancelScope] = {}
        self._refused: asyncio.Queue[bytes] = asyncio.Queue()

    def withdraw(self, request_id: int) -> None:
        """Stop waiting for an answer that nobody wants any more, and free its connection."""
        if scope := self._waits.get(request_id):
            scope.cancel()

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send as the base class does; a request that fails gets a fault for an answer."""
        if request.method == "DELETE":
            return await self._tell(request, options, status=204)
        if request.method == "GET":
            response = await self._send(request, **options)
            if response.is_success and isinstance(response.stream, httpx.AsyncByteStream):
                screened = self._events(response.stream)
                if self._stream is not None:
                    screened = merged(screened, self._refused)
                response.stream = _Body(response.stream, screened)
            return response
        try:
            message = _Sent.model_validate_json(request.content)
        except ValidationError:
            message = _Sent()
        if self._stream is not None:
            return await self._hand_over(request, options, message)
        if message.method is None or not isinstance(message.id, int):
            return await self._tell(request, options, status=202)
        return await self._ask(request, options, message.id, opening=message.method == "initialize")

    async def _send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send with a token, if there are any, and with another one when it was refused."""
        if self._tokens is None:
            return await super().send(request, **options)
        token = await self._tokens.current()
        request.headers["Authorization"] = f"Bearer {token}"
        response = await super().send(request, **options)
        if response.status_code == UNAUTHORIZED:
            await response.aclose()
            request.headers["Authorization"] = f"Bearer {await self._tokens.current(refused=token)}"
            response = await super().send(request, **options)
        return response

    async def _hand_over(self, request: httpx.Request, options: dict[str, Any], message: _Sent) -> httpx.Response:
        """HTTP+SSE: send what is answered on another stream. When it is not taken, that stream says so at once."""
        options["stream"] = True
        fault, reason = Fault.LOST, f"the server did not take the message within {TAKEN_S:g} s"
        with anyio.move_on_after(TAKEN_S):
            try:
                response = await _bare(await self._send(request, **options))
                if response.is_success:
                    return response
                said = "redirects it, which is not followed" if response.is_redirect else "refused it"
                fault, reason = Fault.REFUSED, f"the server answered HTTP {response.status_code}: it {said}"
            except _NOT_SENT as error:
                fault, reason = Fault.NOT_SENT, _cannot_connect(error)
            except ToolServerDown as error:  # no token
                fault, reason = Fault.NOT_SENT, error.message
            except httpx.HTTPError as error:
                fault, reason = Fault.LOST, f"the connection was lost: {type(error).__name__}"
        if message.method is not None and isinstance(message.id, int):
            self._refused.put_nowait(event_of(fault_answer(message.id, fault, reason)))
        return httpx.Response(ACCEPTED, request=request)

    def _events(self, source: httpx.AsyncByteStream) -> AsyncIterator[bytes]:
        found = events(self._chunks(source, None), self._limit, None, opening=self._stream is not None)
        return found if self._stream is None else endpoint_checked(found, *self._stream)

    async def _tell(self, request: httpx.Request, options: dict[str, Any], status: int) -> httpx.Response:
        """Send what needs no answer. The next request finds out whether the server is there."""
        with anyio.move_on_after(NOTICE_S):
            try:
                response = await self._send(request, **options)
                await response.aclose()
            except (httpx.HTTPError, ToolServerDown):
                pass
        return httpx.Response(status, request=request)

    async def _ask(
        self, request: httpx.Request, options: dict[str, Any], request_id: int, *, opening: bool
    ) -> httpx.Response:
        def instead(fault: Fault, reason: str) -> httpx.Response:
            content = fault_answer(request_id, fault, reason)
            return httpx.Response(200, headers={"Content-Type": _JSON}, content=content, request=request)

        try:
            with self._wait(request_id) as scope:
                response = await self._send(request, **options)
        except ToolServerDown as error:  # no token
            return instead(Fault.NOT_SENT, error.message)
        except _NOT_SENT as error:
            return instead(Fault.NOT_SENT, _cannot_connect(error))
        except httpx.HTTPError as error:
            return instead(Fault.LOST, f"the connection was lost: {type(error).__name__}")
        if scope.cancelled_caught:
            return instead(Fault.LOST, "withdrawn")
        if response.is_redirect:
            return await _bare(response)  # the transport follows it within its origin, or refuses it
        if (problem := _problem(response, opening)) is not None:
            await response.aclose()
            return instead(*problem)
        if isinstance(response.stream, httpx.AsyncByteStream):
            chunks = self._chunks(response.stream, request_id)
            screen = whole if _type(response) == _JSON else events
            response.stream = _Body(response.stream, screen(chunks, self._limit, request_id))
        return response

    async def _chunks(self, source: httpx.AsyncByteStream, request_id: int | None) -> AsyncIterator[bytes]:
        parts = aiter(source)
        while True:
            with self._wait(request_id) as scope:
                try:
                    part = await anext(parts)
                except StopAsyncIteration:
                    return
            if scope.cancelled_caught:
                raise httpx.ReadError("withdrawn")
            yield part

    @contextmanager
    def _wait(self, request_id: int | None) -> Generator[anyio.CancelScope]:
        """Leave the block early, with ``cancelled_caught`` set, when the request is withdrawn."""
        with anyio.CancelScope() as scope:
            if request_id is None:
                yield scope
                return
            self._waits[request_id] = scope
            try:
                yield scope
            finally:
                self._waits.pop(request_id, None)


def _cannot_connect(error: Exception) -> str:
    return f"cannot connect: {error or type(error).__name__}"


class _Body(httpx.AsyncByteStream):
    """A response body as its screen lets it through."""

    def __init__(self, source: httpx.AsyncByteStream, screened: AsyncIterator[bytes]) -> None:
        self._source = source
        self._screened = screened

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._screened

    async def aclose(self) -> None:
        await self._source.aclose()


async def _bare(response: httpx.Response) -> httpx.Response:
    """A redirect, or an answer that says nothing, without its body, which the transport would read whole."""
    await response.aclose()
    headers = {"Location": response.headers["Location"]} if response.is_redirect else {}
    bare = httpx.Response(response.status_code, headers=headers, request=response.request)
    bare.next_request = response.next_request
    return bare


def _type(response: httpx.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _problem(response: httpx.Response, opening: bool) -> tuple[Fault, str] | None:
    """What makes this no answer to an MCP request."""
    if response.status_code == NOT_FOUND and not opening:
        return Fault.GONE, "the server has forgotten this session"  # streamable HTTP: 404 to a session id
    if not response.is_success:
        return Fault.REFUSED, f"the server answered HTTP {response.status_code}"
    if response.status_code == ACCEPTED:
        return Fault.MALFORMED, "the server took the request without an answer"
    if _type(response) not in (_JSON, _EVENTS):
        return Fault.MALFORMED, f"the server answered {_type(response) or 'nothing'} instead of an MCP message"
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        return Fault.MALFORMED, "the server compressed its answer though it was asked not to"
    return None
