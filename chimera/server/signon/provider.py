"""The provider of OpenID Connect that the settings name: its document, its keys, and codes redeemed there."""

import asyncio
import base64
import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote_plus, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from chimera.core.clock import Clock
from chimera.core.errors import ConfigError, SignOnFailed
from chimera.core.settings import Settings
from chimera.guards.permissions.identities import Identity
from chimera.server.doors import LOOPBACK
from chimera.server.signon.going import Going
from chimera.server.signon.token import UnknownKey, claims_of, identity_of, keys_of

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

_WITHIN_S = 10.0
_READ_MAX = 262_144
_FRESH_S = 3_600.0
_ASK_AGAIN_S = 30.0
"""How soon a provider is asked for its keys again because of one that it did not publish."""
_SCOPES = "openid email profile"


class Document(BaseModel):
    """What a provider says of itself (OpenID Connect Discovery 1.0, section 3), as far as it is used."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    names_itself: bool = Field(False, alias="authorization_response_iss_parameter_supported")


class _Redeemed(BaseModel):
    id_token: str = Field(min_length=1, max_length=64_000)


@dataclass(frozen=True)
class Registration:
    """How this installation is known there. ``secret``: None for a public client; PKCE is used in any case."""

    issuer: str
    client: str
    secret: SecretStr | None
    claim: str

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """What the settings say; None where nobody logs in so.

        Raises:
            ConfigError: an issuer without a client, or whose address others can read along.
        """
        if not settings.oidc_issuer:
            return None
        if not settings.oidc_client_id:
            raise ConfigError("oidc_issuer is set, and oidc_client_id is not")
        if not _is_safe(settings.oidc_issuer):
            raise ConfigError("oidc_issuer is no https address", remedy="Only on this machine http is enough.")
        return cls(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret, settings.oidc_claim)


class Provider:
    """Asks the provider, and believes what can be checked. What it says of itself is kept for an hour."""

    def __init__(self, registration: Registration, clock: Clock) -> None:
        self._registration = registration
        self._clock = clock
        self._asking = asyncio.Lock()
        self._known: tuple[float, Document, KeySet] | None = None

    async def address(self, going: Going, back: str) -> str:
        """Where a browser is sent to log in. ``back``: the address that it returns to.

        Raises:
            SignOnFailed: the provider cannot be reached, or says what cannot be.
        """
        document, _ = await self._ask()
        wanted = {
            "response_type": "code",
            "client_id": self._registration.client,
            "redirect_uri": back,
            "scope": _SCOPES,
            "state": going.state,
            "nonce": going.nonce,
            "code_challenge": going.challenge,
            "code_challenge_method": "S256",
        }
        sign = "&" if urlsplit(document.authorization_endpoint).query else "?"
        return f"{document.authorization_endpoint}{sign}{urlencode(wanted)}"

    async def identity(self, code: str, going: Going, back: str, issuer: str | None) -> Identity:
        """Who has logged in there. ``issuer``: what the answer said of who sent it (RFC 9207).

        Raises:
            SignOnFailed: it cannot be known.
        """
        document, keys = await self._ask()
        if (issuer is None and document.names_itself) or issuer not in (None, document.issuer):
            raise SignOnFailed("the answer is of another provider")
        text = await self._redeem(document, code, going, back)
        try:
            claims = claims_of(text, keys)
        except UnknownKey:
            _, keys = await self._ask(at_most_s=_ASK_AGAIN_S)
            try:
                claims = claims_of(text, keys)
            except UnknownKey:
                raise SignOnFailed("the ID token is signed with a key that the provider does not publish") from None
        registration = self._registration
        return identity_of(
            claims,
            issuer=registration.issuer,
            client=registration.client,
            nonce=going.nonce,
            claim=registration.claim,
            now=self._clock.now(),
        )

    async def _redeem(self, document: Document, code: str, going: Going, back: str) -> str:
        registration = self._registration
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": going.verifier}
        headers: dict[str, str] = {}
        if registration.secret is None:
            form["client_id"] = registration.client
        elif "client_secret_basic" in document.token_endpoint_auth_methods_supported:
            pair = f"{quote_plus(registration.client)}:{quote_plus(registration.secret.get_secret_value())}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": registration.client, "client_secret": registration.secret.get_secret_value()}
        try:
            return _Redeemed.model_validate(await _fetched(document.token_endpoint, form, headers)).id_token
        except ValidationError:
            raise SignOnFailed("the provider gave no ID token for the code") from None

    async def _ask(self, at_most_s: float = _FRESH_S) -> "tuple[Document, KeySet]":
        async with self._asking:
            now = self._clock.monotonic()
            if self._known is not None and now - self._known[0] < at_most_s:
                return self._known[1:]
            issuer = self._registration.issuer
            found = await _fetched(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            try:
                document = Document.model_validate(found)
            except ValidationError:
                raise SignOnFailed("the provider's document lacks what a login needs") from None
            if document.issuer != issuer:
                raise SignOnFailed("the provider calls itself otherwise than oidc_issuer, letter by letter")
            ends = (document.authorization_endpoint, document.token_endpoint, document.jwks_uri)
            if not all(map(_is_safe, ends)):
                raise SignOnFailed("the provider has an address that others can read along")
            keys = keys_of(await _fetched(document.jwks_uri))
            self._known = now, document, keys
            return document, keys


async def _fetched(url: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Any:
    """The JSON that is answered there, with a bound on time and size; no redirect is followed.

    Raises:
        SignOnFailed: there is none.
    """
    import httpx

    where = urlsplit(url).hostname
    try:
        async with asyncio.timeout(_WITHIN_S), httpx.AsyncClient(timeout=_WITHIN_S) as client:
            asked = {"Accept": "application/json", **(headers or {})}
            request = client.build_request("GET" if form is None else "POST", url, data=form, headers=asked)
            async with aclosing(await client.send(request, stream=True)) as answer:
                read = bytearray()
                async for part in answer.aiter_bytes():
                    read += part
                    if len(read) > _READ_MAX:
                        raise SignOnFailed(f"{where} answers more than {_READ_MAX} bytes")
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
        raise SignOnFailed(f"{where} cannot be reached: {type(error).__name__}") from None
    if answer.status_code != 200:
        raise SignOnFailed(f"{where} answers with HTTP {answer.status_code}")
    try:
        return json.loads(read)
    except ValueError:
        raise SignOnFailed(f"{where} does not answer with JSON") from None


def _is_safe(url: str) -> bool:
    """Whether what is sent there is read by nobody else: https, or this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    on_loopback = parts.scheme == "http" and parts.hostname in {name.strip("[]") for name in LOOPBACK}
    return bool(parts.hostname) and (parts.scheme == "https" or on_loopback) and not parts.username
