"""Administration over real HTTP: who may see and change what, in his own tenant and nowhere else.

Proves FR-761 to FR-764, as each test says.
"""

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Site

PAGES = ("/admin/people", "/admin/keys", "/admin/tenants")
FORMS = (
    ("/admin/people/enrol", {"name": "zoe", "role": "human:auditor"}),
    ("/admin/people/remove", {"name": "bob"}),
    ("/admin/people/invite", {"name": "bob"}),
    ("/admin/people/log-out", {"name": "bob"}),
    ("/admin/people/unbind", {"name": "bob"}),
    ("/admin/keys/issue", {"name": "bob", "label": "x", "days": ""}),
    ("/admin/keys/revoke", {"key": "a" * 16}),
    ("/admin/tenants/begin", {"tenant": "newco", "name": "nell"}),
)
LINK = re.compile(r"http://127\.0\.0\.1:\d+/join/([A-Za-z0-9_-]{43})")
KEY = re.compile(r"chk_([a-z2-7]{16})_[A-Za-z0-9_-]{43}")


def counted(site: "Site") -> list[tuple[object, ...]]:
    """All that a form could change, as numbers."""
    tables = ("principals", "principal_keys", "account_invitations", "account_sessions", "account_identities")
    return [site.rows(f"SELECT count(*) FROM {table}")[0] for table in tables]


def test_who_may_see_the_pages(site: "Site") -> None:
    """Proves FR-761: by role; who may not is told so, and does not see them in the navigation."""
    seen = {
        role: [site.visitor(f"a {role}", role).get(path).status_code for path in PAGES]
        for role in ("operator", "security-officer", "auditor", "reviewer")
    }
    assert seen == {
        "operator": [200, 200, 200],
        "security-officer": [200, 200, 403],
        "auditor": [200, 200, 403],
        "reviewer": [403, 403, 403],
    }
    assert 'href="/admin"' not in site.visitor("a reviewer").get("/reviews").text
    assert 'href="/admin"' in site.visitor("a auditor").get("/reviews").text
    assert "<form" not in site.visitor("a auditor").get("/admin/people").text.partition("<main")[2]
    for path in PAGES:
        assert site.browser().get(path).headers["location"].startswith("/login?next=")


@pytest.mark.parametrize(("path", "form"), FORMS, ids=[path for path, _ in FORMS])
def test_a_form_counts_by_who_sends_it(site: "Site", path: str, form: dict[str, str]) -> None:
    """Proves FR-761 and FR-763: not of who is not logged in, of another page (CSRF), or of who may not; 0 changed."""
    site.enrol(site.database_url, "bob", roles=("reviewer",))
    ada, auditor = site.visitor("ada"), site.visitor("an auditor", "auditor")
    before = counted(site)
    assert site.browser().post(path, data=form).status_code == 401
    assert ada.client.post(path, data=form).status_code == 403
    assert ada.client.post(path, data={**form, "csrf": auditor.login.csrf}).status_code == 403
    from_elsewhere = ada.client.post(
        path, data={**form, "csrf": ada.login.csrf}, headers={"origin": "https://evil.example"}
    )
    assert from_elsewhere.status_code == 403
    assert ada.client.get(path).status_code == 405
    assert auditor.post(path, **form).status_code in (403, 422)  # 422: there is nothing of that name in any case
    assert counted(site) == before


def test_nobody_reaches_into_another_tenant(site: "Site") -> None:
    """Proves FR-764 (IDOR): neither by a name nor by the id of a key, and nothing of it is shown."""
    site.enrol(site.database_url, "gus", tenant="globex")
    gus, ada = site.visitor("gus", tenant="globex"), site.visitor("ada")
    gus.post("/admin/people/enrol", name="globex only", role="human:reviewer")
    issued = gus.post("/admin/keys/issue", name="globex only", label="of globex", days="")
    found = KEY.search(issued.text)
    assert found is not None
    before = counted(site)
    for path in ("/admin/people", "/admin/keys"):
        assert "globex only" in gus.get(path).text
        assert "globex only" not in ada.get(path).text
        assert found[1] not in ada.get(path).text
    for path in ("remove", "invite", "log-out", "unbind"):
        answer = ada.post(f"/admin/people/{path}", name="globex only", tenant="globex")
        assert answer.status_code == 422, path
    assert ada.post("/admin/keys/issue", name="globex only", tenant="globex").status_code == 422
    assert ada.post("/admin/keys/revoke", key=found[1], tenant="globex").status_code == 422
    assert gus.get("/admin/tenants").status_code == 403
    assert gus.post("/admin/tenants/begin", tenant="newco", name="nell").status_code == 403
    assert counted(site) == before
    assert gus.post("/admin/keys/revoke", key=found[1]).status_code == 303


def test_somebody_is_enrolled_invited_changed_and_removed(site: "Site") -> None:
    """Proves FR-761: the whole life of a person, each step on the record in the name of who did it."""
    ada = site.visitor("ada")
    assert ada.post("/admin/people/enrol", name="lea", role=["human:reviewer", "human:auditor"]).status_code == 303
    page = ada.post("/admin/people/invite", name="lea")
    link = LINK.search(page.text)
    assert link is not None
    assert link[1] not in ada.get("/admin/people").text
    lea = site.browser()
    words = {"password": "four very odd words", "again": "four very odd words"}
    joined = lea.post(f"/join/{link[1]}", data=words)
    assert joined.status_code == 303, joined.text
    assert lea.post(f"/join/{link[1]}", data=words).status_code == 410
    assert lea.get("/admin/people").status_code == 200
    row = ada.get("/admin/people").text.partition('"row">lea ')[2].partition("</tr>")[0]
    assert "password" in row
    assert "1 logged in" in row
    assert ada.post("/admin/people/log-out", name="lea").status_code == 303
    assert lea.get("/admin/people").status_code == 303
    assert ada.post("/admin/people/enrol", name="lea", role="human:reviewer").status_code == 303
    answer = ada.post("/admin/people/enrol", name="lea", role=["human:reviewer", "service:service"])
    assert answer.status_code == 422
    assert ada.post("/admin/people/enrol", name="lea", role="human:king").status_code == 422
    assert ada.post("/admin/people/enrol", name="lea", role="service:service").status_code == 409
    issued = KEY.search(ada.post("/admin/keys/issue", name="lea", label="her laptop", days="30").text)
    assert issued is not None
    assert "her laptop" in ada.get("/admin/keys").text
    assert issued[0] not in ada.get("/admin/keys").text
    assert ada.post("/admin/keys/issue", name="lea", days="-1").status_code == 422
    assert ada.post("/admin/people/remove", name="lea", reason="left us").status_code == 303
    assert ada.post("/admin/people/remove", name="ada").status_code == 403  # nobody removes himself
    assert site.rows("SELECT count(*) FROM accounts WHERE name = 'lea'") == [(0,)]
    kinds = site.rows(
        "SELECT kind, body::jsonb->>'actor' FROM audit_events WHERE body::jsonb->'data'->>'principal' = 'lea' "
        "ORDER BY seq"
    )
    assert kinds == [
        ("principal.enrolled", "ada"),
        ("principal.invited", "ada"),
        ("principal.password-set", "lea"),
        ("principal.logged-in", "lea"),
        ("principal.logged-out", "ada"),
        ("principal.enrolled", "ada"),
        ("principal.key-issued", "ada"),
        ("principal.removed", "ada"),
        ("principal.key-revoked", "ada"),
    ]


def test_a_password_does_not_come_back_with_a_name(site: "Site") -> None:
    """Proves FR-761: who is enrolled again after he was removed comes in by nothing that he had."""
    ada = site.visitor("ada")
    ada.post("/admin/people/enrol", name="max", role="human:reviewer")
    link = LINK.search(ada.post("/admin/people/invite", name="max").text)
    assert link is not None
    max_ = site.browser()
    max_.post(f"/join/{link[1]}", data={"password": "five very odd words", "again": "five very odd words"})
    other = LINK.search(ada.post("/admin/people/invite", name="max").text)
    assert other is not None
    ada.post("/admin/people/remove", name="max")
    ada.post("/admin/people/enrol", name="max", role="human:operator")
    assert max_.get("/reviews").headers["location"].startswith("/login")
    assert max_.get(f"/join/{other[1]}").status_code == 410
    site.forget_tries()
    refused = site.browser().post("/login", data={"name": "max", "password": "five very odd words", "next": "/"})
    assert refused.status_code == 403


def test_a_tenant_is_begun_with_its_operator_and_is_its_own(site: "Site") -> None:
    """Proves FR-762: whoever began it has no say in it; a name is a plain one, and taken once."""
    ada = site.visitor("ada")
    page = ada.post("/admin/tenants/begin", tenant="initech", name="bill")
    link = LINK.search(page.text)
    assert link is not None
    assert "initech" in ada.get("/admin/tenants").text
    bill = site.browser()
    words = {"password": "six rather odd words", "again": "six rather odd words"}
    assert bill.post(f"/join/{link[1]}", data=words).status_code == 303
    people = bill.get("/admin/people")
    assert people.status_code == 200
    assert '"row">bill ' in people.text
    assert '"row">ada ' not in people.text
    assert '"row">bill ' not in ada.get("/admin/people").text
    assert ada.post("/admin/tenants/begin", tenant="initech", name="ada").status_code == 409
    for name in ("", "A", "a/b", "-a", "a" * 64, "<b>", "a b"):
        assert ada.post("/admin/tenants/begin", tenant=name, name="x").status_code == 422, name
    assert site.rows("SELECT tenant FROM principals WHERE name = 'bill'") == [("initech",)]


def test_a_name_that_is_markup_stays_a_name(site: "Site") -> None:
    """Proves FR-763 (XSS): names, labels and what a form gives back are text, wherever they are shown."""
    bad = "<img src=x onerror=alert(1)>"
    ada = site.visitor("ada")
    assert ada.post("/admin/people/enrol", name=bad, role="human:operator").status_code == 303
    page = ada.post("/admin/keys/issue", name=bad, label='"><script>alert(1)</script>', days="")
    assert page.status_code == 200
    texts = [page.text, ada.get("/admin/people").text, ada.get("/admin/keys").text]
    texts += [ada.post("/admin/people/enrol", name=bad + "\n", role=f"human:{bad}").text]
    texts += [ada.post("/admin/people/invite", name=f"{bad} nobody").text, ada.get(f"/admin/people?done={bad}").text]
    texts += [site.visitor(bad).get("/admin/people").text]
    for text in texts:
        assert "<img src=x" not in text
        assert "<script>alert" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in texts[1]


def test_what_is_shown_once_is_kept_by_no_browser(site: "Site") -> None:
    """Proves FR-763: the answer with a key or an invitation is not stored, framed, or run as a script."""
    page = site.visitor("ada").post("/admin/keys/issue", name="ada", label="", days="")
    assert KEY.search(page.text)
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
