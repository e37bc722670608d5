"""Tokens by OAuth 2.1 client credentials, for servers that take them.

The token's endpoint is what the operator wrote, and not what the server names: a server could name any address.
"""

import asyncio
import ssl

import httpx
from pydantic import BaseModel, Field, SecretStr, ValidationError

from chimera.core.clock import Clock
from chimera.core.contracts import Contract
from chimera.core.errors import ToolServerDown

_EARLY_S = 30.0
_UNTOLD_S = 300.0
_TOKEN_MAX_BYTES = 65_536
_TIMEOUT_S = 10.0


class ClientCredentials(Contract):
    """What a server's tokens are got with (RFC 6749, section 4.4)."""

    token_url: str = Field(repr=False)
    client_id: SecretStr
    client_secret: SecretStr
    scopes: list[str] = Field(default_factory=list)


class _Token(BaseModel):
    access_token: str = Field(min_length=1, max_length=16_384)
    expires_in: float = _UNTOLD_S


class Tokens:
    """The current token of one server, got when there is none that lasts, and anew when it was refused."""

    def __init__(self, given: ClientCredentials, clock: Clock, trust: ssl.SSLContext) -> None:
        self._given = given
        self._clock = clock
        self._trust = trust
        self._one_at_a_time = asyncio.Lock()
        self._token = ""
        self._until = 0.0

    async def current(self, refused: str = "") -> str:
        """A token, another one than ``refused``.

        Raises:
            ToolServerDown: none is given.
        """
        async with self._one_at_a_time:
            if self._token in ("", refused) or self._clock.monotonic() >= self._until:
                token = await self._ask()
                self._token = token.access_token
                self._until = self._clock.monotonic() + max(0.0, token.expires_in - _EARLY_S)
            return self._token

    async def _ask(self) -> _Token:
        given = self._given
        form = {"grant_type": "client_credentials", **({"scope": " ".join(given.scopes)} if given.scopes else {})}
        who = (given.client_id.get_secret_value(), given.client_secret.get_secret_value())
        try:
            async with httpx.AsyncClient(verify=self._trust, timeout=_TIMEOUT_S, auth=who) as client:
                asked = client.build_request("POST", given.token_url, data=form)
                response = await client.send(asked, stream=True)
                if not response.is_success:
                    raise ToolServerDown(f"the token endpoint answered HTTP {response.status_code}")
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _TOKEN_MAX_BYTES:
                        raise ToolServerDown("the answer of the token endpoint is too large")
                return _Token.model_validate_json(bytes(body))
        except httpx.HTTPError as error:
            raise ToolServerDown(f"the token endpoint cannot be reached: {type(error).__name__}") from None
        except ValidationError:
            raise ToolServerDown("the token endpoint gave no token") from None
