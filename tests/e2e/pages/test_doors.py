"""What hostile visitors try at the pages, without a browser: each thing is refused, and the server goes on.

Proves FR-744, FR-745 and FR-746.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Generator
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.timeout(180)
PASSWORD = "three odd words make it"
Visitor = Callable[..., httpx.Client]


@pytest.fixture
def client(served: Any) -> Generator[Callable[[], httpx.Client]]:
    """Makes browsers that do what they are told."""
    made: list[httpx.Client] = []

    def make() -> httpx.Client:
        made.append(httpx.Client(base_url=served.url, timeout=20))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def joined(client: Callable[[], httpx.Client], served: Any) -> Visitor:
    """Somebody who has just chosen a password."""

    def join(name: str, role: str = "operator", tenant: str = "default") -> httpx.Client:
        one = client()
        answer = one.post(f"/join/{served.enrol(name, role, tenant)}", data={"password": PASSWORD, "again": PASSWORD})
        assert answer.status_code == 303
        return one

    return join


def csrf(one: httpx.Client) -> str:
    found = re.search(r'name="csrf" content="([^"]+)"', one.get("/reviews").text)
    assert found is not None
    return found[1]


def test_nobody_sees_a_page_without_a_login_and_unknown_paths_are_unknown(
    client: Callable[[], httpx.Client], joined: Visitor
) -> None:
    one = client()
    answer = one.get("/reviews?point=finance")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Freviews%3Fpoint%3Dfinance")
    assert one.post("/reviews/undo", data={"item": "x"}).status_code == 401
    assert one.get("/reviews/list", headers={"HX-Request": "true"}).status_code == 401
    assert one.get("/nothing-here").status_code == 404
    assert one.get("/static/../part.py").status_code == 404
    page = joined("headers").get("/reviews")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "'unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    assert not re.search(r"<script>|\son\w+=|style=\"|https?://", page.text)


def test_a_session_that_was_planted_never_counts(client: Callable[[], httpx.Client], joined: Visitor) -> None:
    joined("fixed")
    one, planted = client(), "planted-by-somebody-else-0123456789"
    one.cookies.set("chimera_session", planted)
    answer = one.post("/login", data={"name": "fixed", "password": PASSWORD})
    given = answer.headers["set-cookie"]
    assert answer.status_code == 303
    assert "HttpOnly" in given
    assert "SameSite=lax" in given
    assert planted not in given
    other = client()
    other.cookies.set("chimera_session", planted)
    assert other.get("/reviews").status_code == 303


def test_what_another_site_makes_a_browser_send_changes_nothing(served: Any, joined: Visitor) -> None:
    one = joined("forged")
    (item,) = served.ask(served.mission(), "May it be forged?")
    decide = {"action": "approve"}
    assert one.post(f"/reviews/{item}/decide", data=decide).status_code == 403
    assert one.post(f"/reviews/{item}/decide", data={**decide, "csrf": csrf(joined("other"))}).status_code == 403
    right = {**decide, "csrf": csrf(one)}
    answer = one.post(f"/reviews/{item}/decide", data=right, headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 403
    assert served.decision(item) is None
    assert one.post(f"/reviews/{item}/decide", data=right).status_code == 200
    assert served.decision(item)["reviewer"] == "forged"


def test_another_tenant_s_questions_are_none(served: Any, joined: Visitor) -> None:
    (theirs,) = served.ask(served.mission("Theirs alone", tenant="theirs"), "A secret question?")
    one = joined("curious")
    here = {"csrf": csrf(one)}
    unknown = one.get("/reviews/00000000-0000-4000-8000-000000000000")
    for answer in (
        one.get(f"/reviews/{theirs}"),
        one.post(f"/reviews/{theirs}/decide", data={**here, "action": "approve"}),
        one.post(f"/reviews/{theirs}/move", data={**here, "to_do": "claim"}),
        one.post(f"/reviews/{theirs}/compare", data={**here, "payload": "{}"}),
        one.post("/reviews/undo", data={**here, "item": theirs}),
    ):
        assert answer.status_code == unknown.status_code == 422
        assert "secret" not in answer.text
    assert "secret" not in one.get("/reviews").text
    assert served.decision(theirs) is None
    assert "A secret question?" in joined("friend", tenant="theirs").get("/reviews").text


def test_what_agents_write_stays_text(served: Any, joined: Visitor) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
    mission = served.mission(evil)
    (item,) = served.ask(mission, evil, answer=evil, artifacts=[evil])
    (call,) = served.ask(mission, "call", capability=evil, arguments={evil: evil}, threat=evil)
    (odd,) = served.ask(mission, "odd", kind="plan", plan={"tasks": evil})
    one = joined("careful")
    for path in ("/reviews", f"/reviews/{item}", f"/reviews/{call}", f"/reviews/{odd}"):
        text = one.get(path).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    shown = one.get(f"/reviews/{call}").text
    assert "&lt;script&gt;" in shown
    assert "{{ 7 * 7 }}" in shown


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nb"]
)
def test_a_login_leads_to_a_path_of_ours(client: Callable[[], httpx.Client], joined: Visitor, target: str) -> None:
    joined("guided")
    answer = client().post("/login", data={"name": "guided", "password": PASSWORD, "next": target})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_who_logs_out_is_out_everywhere_he_wants(client: Callable[[], httpx.Client], joined: Visitor) -> None:
    one = joined("leaving")
    other = client()
    assert other.post("/login", data={"name": "leaving", "password": PASSWORD}).status_code == 303
    token = one.cookies["chimera_session"]
    assert one.post("/logout", data={"csrf": csrf(one), "everywhere": "yes"}).status_code == 303
    assert other.get("/reviews").status_code == 303
    again = client()
    again.cookies.set("chimera_session", token)
    assert again.get("/reviews").status_code == 303


def test_guessing_is_slow_and_tells_no_names(client: Callable[[], httpx.Client], joined: Visitor) -> None:
    before = joined("guessed")
    one = client()
    wrong = one.post("/login", data={"name": "guessed", "password": "wrong wrong wrong"})
    nobody = one.post("/login", data={"name": "nobody-there", "password": "wrong wrong wrong"})
    assert (wrong.status_code, nobody.status_code) == (403, 403)
    assert wrong.text.replace("guessed", "") == nobody.text.replace("nobody-there", "")
    answers = [one.post("/login", data={"name": "guessed", "password": f"wrong wrong {n}"}) for n in range(6)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert one.post("/login", data={"name": "guessed", "password": PASSWORD}).status_code == 429
    assert before.get("/reviews").status_code == 200  # whoever is logged in stays so


def test_an_invitation_counts_once_and_a_password_has_to_be_good(
    served: Any, client: Callable[[], httpx.Client]
) -> None:
    one, link = client(), f"/join/{served.enrol('invited')}"
    for password, again in (("short", "short"), ("invited invited", "invited invited"), (PASSWORD, "another one!")):
        assert one.post(link, data={"password": password, "again": again}).status_code == 422
    assert one.post(link, data={"password": PASSWORD, "again": PASSWORD}).status_code == 303
    assert client().get(link).status_code == 410
    assert client().post(link, data={"password": PASSWORD, "again": PASSWORD}).status_code == 410
    assert client().get("/join/nonsense").status_code == 410


def test_the_command_invites_a_human_who_is_enrolled_and_nobody_else(
    served: Any, client: Callable[[], httpx.Client]
) -> None:
    def chimera(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "chimera", "principal", "invite", *words, "--by", "root", "--json"]
        return subprocess.run(command, env=served.environment, capture_output=True, text=True, timeout=60, check=False)

    served.enrol("commanded", "reviewer")
    made = chimera("commanded", "--url", f"{served.url}/")
    link = json.loads(made.stdout)["url"]
    assert (made.returncode, link.startswith(f"{served.url}/join/")) == (0, True)
    assert "commanded" in client().get(link).text
    refused = chimera("nobody-there")
    assert refused.returncode != 0
    assert "no human is enrolled" in refused.stdout + refused.stderr
