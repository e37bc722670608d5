"""What is believed of an ID token, and what a browser remembers of a login that goes elsewhere.

Proves FR-757: a token counts only when it is signed with a named algorithm by a key of the provider, and is of this
issuer, client, login and time.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.jwt import encode
from pydantic import ValidationError
from starlette.responses import Response

from chimera.core.errors import SignOnFailed
from chimera.core.settings import Settings
from chimera.guards.permissions.accounts import Login
from chimera.server.asgi import address_of
from chimera.server.pages.visitors import keep
from chimera.server.signon.going import Going
from chimera.server.signon.token import UnknownKey, claims_of, identity_of, keys_of
from chimera.store.principals import Principal

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RSA = RSAKey.generate_key(2_048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OKP = OKPKey.generate_key("Ed25519", {"kid": "okp"})
SMALL = {"kty": "RSA", "kid": "small", "e": "AQAB", "n": "v" * 171}
PUBLIC = {"keys": [*(key.as_dict(private=False) for key in (RSA, EC, OKP)), SMALL]}
CLAIMS: dict[str, Any] = {
    "iss": "https://id.example",
    "aud": "chimera",
    "sub": "s-1",
    "nonce": "n",
    "email": "ada@example.com",
    "email_verified": True,
    "iat": int(NOW.timestamp()),
    "exp": int((NOW + timedelta(minutes=5)).timestamp()),
}


@pytest.fixture(scope="module")
def keys() -> KeySet:
    return keys_of(PUBLIC)


def signed(key: Any, algorithm: str, claims: dict[str, Any] = CLAIMS) -> str:
    return encode({"alg": algorithm, "kid": key.kid}, claims, key, algorithms=[algorithm])


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (OKP, "Ed25519")],
    ids=["RS256", "PS256", "ES256", "Ed25519"],  # of a key it would be its address, which no two workers share
)
def test_what_the_provider_signed_is_read(keys: KeySet, key: Any, algorithm: str) -> None:
    assert claims_of(signed(key, algorithm), keys)["sub"] == "s-1"


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def unsigned() -> str:
    return f"{part({'alg': 'none', 'kid': 'rsa'})}.{part(CLAIMS)}."


def with_public_key_as_secret() -> str:
    """Who knows what everybody knows signs with it (CVE-2015-9256 and its like)."""
    text = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(CLAIMS)}"
    digest = hmac.digest(RSA.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def changed() -> str:
    head, _, signature = signed(RSA, "RS256").split(".")
    return f"{head}.{part({**CLAIMS, 'sub': 'somebody else'})}.{signature}"


def by_a_stranger() -> str:
    return signed(RSAKey.generate_key(2_048, {"kid": "rsa"}), "RS256")


def by_a_weaker_kind() -> str:
    return signed(RSA, "RS512")


FORGED: list[Callable[[], str]] = [
    unsigned,
    with_public_key_as_secret,
    changed,
    by_a_stranger,
    by_a_weaker_kind,
    lambda: "",
    lambda: "a.b.c",
    lambda: "é" * 10,
]


@pytest.mark.parametrize("forged", FORGED, ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_what_the_provider_did_not_sign_is_not_read(keys: KeySet, forged: Callable[[], str]) -> None:
    with pytest.raises(SignOnFailed) as refused:
        claims_of(forged(), keys)
    assert "ada@" not in str(refused.value)


def test_a_key_that_is_not_published_is_asked_for(keys: KeySet) -> None:
    with pytest.raises(UnknownKey):
        claims_of(signed(RSAKey.generate_key(2_048, {"kid": "new"}), "RS256"), keys)


def test_a_weak_key_and_a_secret_are_no_keys(keys: KeySet) -> None:
    assert {key.kid for key in keys} == {"rsa", "ec", "okp"}
    documents: list[Any] = [{"keys": [SMALL, {"kty": "oct", "k": "AAAA"}]}, {}, [], {"keys": 1}]
    for document in documents:
        with pytest.raises(SignOnFailed):
            keys_of(document)


def who(**changes: Any) -> Any:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return identity_of(claims, issuer="https://id.example", client="chimera", nonce="n", claim="email", now=NOW)


def test_who_it_is() -> None:
    found = who(aud=["chimera"], azp="chimera")
    assert (found.issuer, found.subject, found.name) == ("https://id.example", "s-1", "ada@example.com")


BAD: list[dict[str, Any]] = [
    {"iss": "https://id.example/"},
    {"iss": None},
    {"aud": "another"},
    {"aud": ["chimera", "another"]},
    {"aud": None},
    {"azp": "another"},
    {"nonce": "m"},
    {"nonce": None},
    {"nonce": 1},
    {"exp": int((NOW - timedelta(seconds=61)).timestamp())},
    {"exp": None},
    {"exp": float("nan")},
    {"exp": True},
    {"exp": 1e300},
    {"iat": int((NOW + timedelta(seconds=61)).timestamp())},
    {"iat": int((NOW - timedelta(seconds=700)).timestamp())},
    {"iat": None},
    {"sub": ""},
    {"sub": None},
    {"sub": ["s-1"]},
    {"sub": "s" * 256},
    {"email": None},
    {"email": ""},
    {"email_verified": False},
    {"email_verified": "true"},
    {"email_verified": None},
]


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_a_token_of_something_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SignOnFailed):
        who(**changes)


def test_all_of_a_login_follows_from_its_cookie() -> None:
    """Proves FR-757: state, nonce and verifier belong to one login, and none of them shows another."""
    going = Going.begin("/queue?point=finance&x=é")
    assert Going.read(going.cookie) == going
    assert going.is_it(going.state)
    assert not going.is_it(Going.begin("").state)
    assert not going.is_it("é")
    assert len({going.token, going.state, going.nonce, going.verifier, going.challenge}) == 5
    digest = hashlib.sha256(going.verifier.encode()).digest()
    assert going.challenge == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert 43 <= len(going.verifier) <= 128


@pytest.mark.parametrize("cookie", ["", ".", "a.b", "é.é", "A" * 43 + ".é", "A" * 43 + ".!", "A" * 42 + "."])
def test_a_cookie_that_was_not_written_here_is_none(cookie: str) -> None:
    assert Going.read(cookie) is None


def test_a_long_way_back_is_left_out() -> None:
    assert Going.begin("/" * 501).to == ""


def test_the_address_that_browsers_see_is_one_of_the_server(tmp_path: Path) -> None:
    """Proves FR-745: with its host and origin, beside loopback; nothing else is an address."""
    settings = Settings.model_validate({"home": tmp_path, "server_url": "https://chimera.example.com:8443/"})
    address = address_of(settings, "127.0.0.1", 8321)
    assert "chimera.example.com:8443" in address.hosts
    assert "chimera.example.com" not in address.hosts
    assert "https://chimera.example.com:8443" in address.origins
    assert "http://127.0.0.1:8321" in address.origins
    for url in ("chimera.example.com", "ftp://a", "https://a/b", "https://u@a", "https://a?b", "https://a b"):
        with pytest.raises(ValidationError):
            Settings.model_validate({"home": tmp_path, "server_url": url})


@pytest.mark.parametrize("safe", [True, False])
def test_a_session_goes_over_tls_alone_where_browsers_use_it(safe: bool) -> None:
    """Proves FR-744."""
    person = Principal("default", "ada", "human", ("operator",), NOW, "the tests")
    response = Response()
    keep(response, Login(person, "token"), 60, safe=safe)
    assert ("Secure" in response.headers["set-cookie"]) is safe
    assert "HttpOnly" in response.headers["set-cookie"]
