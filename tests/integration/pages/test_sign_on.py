"""Logging in by a provider of OpenID Connect, over real HTTP on loopback, with a provider that keeps its rules.

Proves FR-757 to FR-760, as each test says.
"""

import asyncio
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import ECKey
from pydantic import SecretStr

from chimera.core.clock import ManualClock, SystemClock
from chimera.core.errors import ConfigError, SignOnFailed
from chimera.server.pages.visitors import COOKIE
from chimera.server.signon.going import Going
from chimera.server.signon.provider import Provider, Registration

if TYPE_CHECKING:
    from conftest import OpenIdProvider, Site


@pytest.fixture(autouse=True)
def sound(provider: "OpenIdProvider", site: "Site") -> Generator[None]:
    """The provider keeps the rules again, and nobody has tried to log in before."""
    key = provider.key
    site.forget_tries()
    yield
    provider.claims, provider.signer, provider.down, provider.key = {}, None, False, key


def way(browser: httpx.Client, to: str = "/") -> httpx.Response:
    """The provider's answer to a browser that was sent there: the address to come back to."""
    there = browser.get("/login/there", params={"next": to})
    assert there.status_code == 303, there.text
    return httpx.get(there.headers["location"])


def come_back(browser: httpx.Client, sent: httpx.Response) -> httpx.Response:
    return browser.get(sent.headers["location"])


def log_in(site: "Site", provider: "OpenIdProvider", subject: str, name: str, to: str = "/") -> httpx.Response:
    """The whole way of a new browser."""
    provider.who = subject, name
    site.forget_tries()
    browser = site.browser()
    answer = come_back(browser, way(browser, to))
    answer.extensions["browser"] = browser
    return answer


def events(site: "Site", kind: str, name: str) -> list[str]:
    query = "SELECT body::jsonb->'data'->>'principal' FROM audit_events WHERE kind = %s"
    return [who for (who,) in site.rows(query, kind) if who == name]


def test_somebody_who_is_enrolled_logs_in(site: "Site", provider: "OpenIdProvider") -> None:
    """Proves FR-757 and FR-758: with PKCE, state and nonce; the session is one of his own."""
    site.enrol(site.database_url, "bea@example.com", roles=("auditor",))
    assert "/login/there" in site.browser().get("/login").text
    answer = log_in(site, provider, "s-bea", "bea@example.com", "/admin/people")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/people")
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    page = answer.extensions["browser"].get("/admin/people")
    assert page.status_code == 200
    assert "bea@example.com" in page.text
    asked = provider.asked[-1]
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert events(site, "principal.logged-in", "bea@example.com") == ["bea@example.com"]
    assert events(site, "principal.identity-bound", "bea@example.com") == ["bea@example.com"]


def test_a_session_that_was_there_before_is_not_taken_over(site: "Site", provider: "OpenIdProvider") -> None:
    """Proves FR-757: no session that somebody planted becomes his who logs in."""
    site.enrol(site.database_url, "eve@example.com", roles=("auditor",))
    provider.who = "s-eve", "eve@example.com"
    browser = site.browser()
    browser.cookies.set(COOKIE, "planted" * 6, domain="127.0.0.1", path="/")
    answer = come_back(browser, way(browser))
    token = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE))
    assert "planted" not in token
    other = site.browser()
    other.cookies.set(COOKIE, "planted" * 6, domain="127.0.0.1", path="/")
    assert other.get("/admin/people").status_code == 303


def test_an_answer_counts_in_the_browser_that_asked_alone_and_once(site: "Site", provider: "OpenIdProvider") -> None:
    """Proves FR-757: nobody can be logged in as somebody else by a link that he is sent (login CSRF), nor twice."""
    site.enrol(site.database_url, "mia@example.com")
    provider.who = "s-mia", "mia@example.com"
    attacker, victim = site.browser(), site.browser()
    sent = way(attacker)
    way(victim)
    refused = come_back(victim, sent)
    assert refused.status_code == 502
    assert "CH907" in refused.text
    assert COOKIE not in refused.headers.get("set-cookie", "")
    assert come_back(site.browser(), sent).status_code == 502
    first = come_back(attacker, sent)
    assert first.status_code == 303
    assert come_back(attacker, sent).status_code == 502


def test_a_name_that_is_given_to_somebody_else_opens_nothing(site: "Site", provider: "OpenIdProvider") -> None:
    """Proves FR-758: from the first login on the subject counts, until somebody who may forgets it."""
    site.enrol(site.database_url, "kim@example.com", roles=("auditor",))
    assert log_in(site, provider, "s-kim", "kim@example.com").status_code == 303
    assert log_in(site, provider, "s-kim", "kim.new@example.com").status_code == 303  # he has married
    refused = log_in(site, provider, "s-other", "kim@example.com")
    assert refused.status_code == 403
    assert COOKIE not in refused.headers.get("set-cookie", "")
    ada = site.visitor("ada")
    assert ada.post("/admin/people/unbind", name="kim@example.com").status_code == 303
    assert log_in(site, provider, "s-other", "kim@example.com").status_code == 303
    assert log_in(site, provider, "s-kim", "kim@example.com").status_code == 403


def test_who_is_not_enrolled_is_refused(site: "Site", provider: "OpenIdProvider") -> None:
    """Proves FR-758: a provider enrols nobody; neither do other tenants, other kinds, or those who were removed."""
    site.enrol(site.database_url, "robot@example.com", kind="service", roles=("service",))
    site.enrol(site.database_url, "there@example.com", tenant="globex")
    site.enrol(site.database_url, "gone@example.com", roles=("auditor",))
    assert log_in(site, provider, "s-gone", "gone@example.com").status_code == 303
    answer = log_in(site, provider, "s-gone", "gone@example.com")
    ada = site.visitor("ada")
    assert ada.post("/admin/people/remove", name="gone@example.com").status_code == 303
    assert answer.extensions["browser"].get("/admin/people").headers["location"].startswith("/login")
    for name in ("nobody@example.com", "robot@example.com", "there@example.com", "gone@example.com", "ADA", "x\0y"):
        refused = log_in(site, provider, f"s-{name}", name)
        assert refused.status_code == 403, name
        assert "Traceback" not in refused.text
    site.enrol(site.database_url, "gone@example.com", roles=("auditor",))  # somebody else of that name, perhaps
    assert answer.extensions["browser"].get("/admin/people").headers["location"].startswith("/login")
    assert site.rows("SELECT count(*) FROM account_identities WHERE name = 'gone@example.com'") == [(0,)]


WRONG: list[dict[str, Any]] = [
    {"nonce": "of another login"},
    {"aud": "another"},
    {"iss": "https://another.example"},
    {"exp": 1},
    {"email_verified": False},
]


@pytest.mark.parametrize("claims", WRONG, ids=str)
def test_a_token_that_is_wrong_logs_nobody_in(site: "Site", provider: "OpenIdProvider", claims: dict[str, Any]) -> None:
    """Proves FR-757, through the whole way."""
    provider.claims = claims
    refused = log_in(site, provider, "s-ada", "ada")
    assert refused.status_code == 502
    assert COOKIE not in refused.headers.get("set-cookie", "")


async def test_the_provider_is_asked_again_for_a_key_that_is_new(provider: "OpenIdProvider") -> None:
    """Proves FR-757: a key of somebody else signs nothing; one that the provider changed to counts soon."""
    clock = ManualClock(datetime.now(UTC))
    asking = Provider(Registration(provider.url, provider.client, SecretStr(provider.secret), "email"), clock)

    async def comes_back() -> str:
        going = Going.begin("")
        sent = await asyncio.to_thread(httpx.get, await asking.address(going, "http://here/login/back"))
        told = parse_qs(urlsplit(sent.headers["location"]).query)
        assert going.is_it(told["state"][0])
        return (await asking.identity(told["code"][0], going, "http://here/login/back", told["iss"][0])).subject

    provider.who = "s-ann", "ann@example.com"
    assert await comes_back() == "s-ann"
    provider.signer = ECKey.generate_key("P-256", {"kid": "first"})
    with pytest.raises(SignOnFailed, match="BadSignature"):
        await comes_back()
    provider.signer, provider.key = None, ECKey.generate_key("P-256", {"kid": "second"})
    with pytest.raises(SignOnFailed, match="does not publish"):
        await comes_back()
    clock.advance(31)
    assert await comes_back() == "s-ann"


async def test_a_provider_that_answers_what_it_may_not_is_not_believed(provider: "OpenIdProvider") -> None:
    """Proves FR-757: another issuer's document, an answer of another provider (RFC 9207), nobody there at all."""
    registration = Registration(provider.url, provider.client, SecretStr(provider.secret), "email")
    going = Going.begin("")
    for issuer in (f"{provider.url}/", "http://127.0.0.1:9", f"{provider.url}/nowhere"):
        with pytest.raises(SignOnFailed):
            await Provider(replace(registration, issuer=issuer), SystemClock()).address(going, "http://here")
    for named in (None, "https://another.example"):
        with pytest.raises(SignOnFailed, match="another provider"):
            await Provider(registration, SystemClock()).identity("code", going, "http://here", named)


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_the_way_back_leads_nowhere_else(site: "Site", provider: "OpenIdProvider", to: str) -> None:
    """Proves FR-759: no open redirect, also when the way back was kept in a cookie."""
    site.enrol(site.database_url, "ola@example.com", roles=("auditor",))
    assert log_in(site, provider, "s-ola", "ola@example.com", to).headers["location"] == "/"


def test_what_the_provider_says_goes_wrong_is_told_without_its_words(site: "Site", provider: "OpenIdProvider") -> None:
    """Proves FR-760: a line with what helps; nothing that a stranger put into the address, and no secret."""
    browser = site.browser()
    sent = way(browser)
    state = parse_qs(urlsplit(sent.headers["location"]).query)["state"][0]
    words = "<script>alert(1)</script>"
    refused = browser.get("/login/back", params={"error": words, "error_description": words, "state": state})
    assert refused.status_code == 502
    assert words not in refused.text
    assert "alert(1)" not in refused.text
    provider.down = True
    failed = log_in(site, provider, "s-ada", "ada")
    assert failed.status_code == 502
    assert "HTTP 400" in failed.text
    assert provider.secret not in failed.text


def test_too_many_ways_there_have_to_wait(site: "Site") -> None:
    """Proves FR-760: whoever goes there and back without end does not make this server ask the provider as often."""
    browser = site.browser()
    answers = [browser.get("/login/back") for _ in range(40)]
    assert {answer.status_code for answer in answers} == {502, 429}


def test_without_a_provider_there_is_no_way(site: "Site") -> None:
    """Proves FR-757: it is off unless it is configured, and half a configuration is refused."""
    settings = site.app.settings
    assert Registration.of(settings.model_copy(update={"oidc_issuer": None})) is None
    for change in ({"oidc_client_id": ""}, {"oidc_issuer": "http://id.example"}, {"oidc_issuer": "ftp://id.example"}):
        with pytest.raises(ConfigError):
            Registration.of(settings.model_copy(update=change))
