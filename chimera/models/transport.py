"""How calls reach a model provider: over aiohttp, on connections that are kept."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

CONNECTIONS = 10_000
"""To one provider at most: one for each agent that waits for an answer."""


def pooled_client() -> "httpx.AsyncClient":
    """A client for the OpenAI SDK. Its owner closes it.

    httpx's own transport costs several times as much for each call, and more the more connections there are: see
    ``chimera bench transport``.
    """
    import httpx  # lazy, like the SDK: dear to import, and not needed without such a provider
    from openai import DefaultAioHttpClient

    return DefaultAioHttpClient(limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS))
