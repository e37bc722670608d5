"""Guessing passwords over real HTTP: it tells nothing, and keeps nobody out.

Proves FR-744, as each test says.
"""

from typing import TYPE_CHECKING

import httpx

from chimera.server.pages.login import KNOWN

if TYPE_CHECKING:
    from conftest import Site

WORDS = "seven quite odd words"


def guess(site: "Site", browser: httpx.Client, name: str, password: str = "wrong wrong wrong") -> httpx.Response:
    site.forget_tries_of_addresses()
    return browser.post("/login", data={"name": name, "password": password, "next": "/"})


def joined(site: "Site", name: str) -> httpx.Client:
    """Somebody who has chosen a password, in the browser in which he did."""
    site.enrol(site.database_url, name, roles=("reviewer",))
    token = site.do(site.app.context.oversight.accounts.invite(name, "ada"))
    browser = site.browser()
    assert browser.post(f"/join/{token}", data={"password": WORDS, "again": WORDS}).status_code == 303
    return browser


def test_a_shut_door_does_not_tell_who_there_is(site: "Site") -> None:
    """Proves FR-744: names that somebody has and names that nobody has are answered alike, however often."""
    joined(site, "pat")
    stranger = site.browser()
    answers = [[guess(site, stranger, name) for _ in range(7)] for name in ("pat", "tap")]
    assert [answer.status_code for answer in answers[0]] == [answer.status_code for answer in answers[1]]
    assert answers[0][-1].status_code == 429
    assert answers[0][-1].text.replace("pat", "tap") == answers[1][-1].text


def test_who_guesses_from_elsewhere_keeps_nobody_out(site: "Site") -> None:
    """Proves FR-744: a browser in which he has logged in before passes a shut door, with the right password."""
    his, stranger = joined(site, "quin"), site.browser()
    for _ in range(6):
        guess(site, stranger, "quin")
    assert guess(site, stranger, "quin", WORDS).status_code == 429
    his.cookies.delete("chimera_session")
    assert guess(site, his, "quin").status_code == 403
    back = guess(site, his, "quin", WORDS)
    assert back.status_code == 303
    for _ in range(6):
        guess(site, stranger, "quin")
    stolen = his.cookies.get(KNOWN)
    assert stolen is not None
    stranger.cookies.set(KNOWN, "x" + stolen, domain="127.0.0.1", path="/login")
    assert guess(site, stranger, "quin", WORDS).status_code == 429
    statuses = {guess(site, his, "quin").status_code for _ in range(8)}
    assert statuses == {403, 429}  # also such a browser guesses slowly
