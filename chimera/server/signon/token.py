"""What an ID token says, once it is sure who says it: OpenID Connect Core 1.0, section 3.1.3.7."""

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from chimera.core.errors import SignOnFailed
from chimera.guards.permissions.identities import Identity

if TYPE_CHECKING:
    from joserfc.jwk import Key, KeySet

ALGORITHMS = ("RS256", "PS256", "ES256", "Ed25519", "EdDSA")
"""Of signatures. All are asymmetric: what a provider publishes must not be enough to sign."""
LEEWAY_S = 60
OLDEST_S = 600
RSA_LEAST_BITS = 2_048
_TEXT_MAX = 255


def keys_of(document: object) -> "KeySet":
    """The keys of a provider's document that a signature may be checked with.

    Raises:
        SignOnFailed: there is none.
    """
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry, KeySet

    try:
        given = _Keys.model_validate(document).keys
    except ValidationError:
        given = []
    found: list[Key] = []
    for one in given:
        if one.get("kty") not in ("RSA", "EC", "OKP") or one.get("use", "sig") != "sig" or _is_weak(one):
            continue
        try:
            found.append(JWKRegistry.import_key(one))
        except (JoseError, ValueError, TypeError, KeyError):  # one that cannot be read is no reason to refuse others
            continue
    if not found:
        raise SignOnFailed("the provider publishes no key that a signature could be checked with")
    return KeySet(found)


class _Keys(BaseModel):
    keys: list[dict[str, Any]]


def _is_weak(key: Mapping[str, Any]) -> bool:
    """Whether it is an RSA key with a modulus that is too short; the base64 of one has six bits a letter."""
    return key["kty"] == "RSA" and len(str(key.get("n", ""))) * 6 < RSA_LEAST_BITS


def claims_of(text: str, keys: "KeySet") -> dict[str, Any]:
    """What was signed with one of the keys.

    Raises:
        SignOnFailed: nothing was. UnknownKey: another key is named, which may be a new one.
    """
    from joserfc.errors import InvalidKeyIdError, JoseError
    from joserfc.jws import JWSRegistry
    from joserfc.jwt import decode

    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    try:
        return decode(text, keys, algorithms=list(ALGORITHMS), registry=registry).claims
    except InvalidKeyIdError:
        raise UnknownKey from None
    except (JoseError, ValueError, TypeError) as error:
        raise SignOnFailed(f"the provider's ID token cannot be believed: {type(error).__name__}") from None


class UnknownKey(Exception):
    """An ID token names a key that the provider did not publish when it was last asked."""


def identity_of(
    claims: Mapping[str, Any], *, issuer: str, client: str, nonce: str, claim: str, now: datetime
) -> Identity:
    """Who the token is about. ``claim``: which of its claims names the person here.

    Raises:
        SignOnFailed: it is of another issuer, for another client, of another login, or of another time; or does not
            say who it is about.
    """
    if claims.get("iss") != issuer:
        raise SignOnFailed("the ID token is of another issuer")
    if claims.get("aud") not in (client, [client]) or claims.get("azp", client) != client:
        raise SignOnFailed("the ID token is for another client")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise SignOnFailed("the ID token is of another login")
    ends, made = _time(claims, "exp"), _time(claims, "iat")
    leeway = timedelta(seconds=LEEWAY_S)
    if now >= ends + leeway or made > now + leeway or now - made > timedelta(seconds=OLDEST_S):
        raise SignOnFailed("the ID token is of another time", remedy="Compare the clocks of both machines.")
    name = _words(claims, claim)
    if claim == "email" and claims.get("email_verified") is not True:
        raise SignOnFailed("the provider has not verified that address")
    return Identity(issuer, _words(claims, "sub"), name)


def _words(claims: Mapping[str, Any], name: str) -> str:
    found = claims.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= _TEXT_MAX:
        raise SignOnFailed(f"the ID token does not say {name!r}", remedy="Let the provider send that claim.")
    return found


def _time(claims: Mapping[str, Any], name: str) -> datetime:
    from datetime import UTC

    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise SignOnFailed(f"the ID token does not say {name!r}")
    try:
        return datetime.fromtimestamp(found, UTC)
    except (ValueError, OverflowError, OSError):
        raise SignOnFailed(f"the ID token says no time as {name!r}") from None
