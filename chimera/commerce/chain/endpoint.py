"""How an endpoint is asked over HTTP: by one session of its own.

web3's own provider looks for its session under a lock that it waits for in a thread, for each request, which costs
more than the request itself.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from web3 import AsyncHTTPProvider

_HEADERS = {"Content-Type": "application/json"}


def http_provider(url: str) -> "AsyncHTTPProvider":
    """web3's provider for an endpoint, which asks once and says what came of it.

    Raises:
        ImportError: web3 is not installed.
    """
    from aiohttp import ClientSession
    from web3 import AsyncHTTPProvider

    class OneSession(AsyncHTTPProvider):
        """The provider with one session, made with the first request."""

        _session: "ClientSession | None" = None

        async def _make_request(self, method: Any, request_data: bytes) -> bytes:
            if self._session is None:
                self._session = ClientSession(headers=_HEADERS)
            async with self._session.post(url, data=request_data) as response:
                response.raise_for_status()
                return await response.read()

        async def disconnect(self) -> None:
            """Close the session."""
            if self._session is not None:
                session, self._session = self._session, None
                await session.close()

    return OneSession(url, exception_retry_configuration=None)
