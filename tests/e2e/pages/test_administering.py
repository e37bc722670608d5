"""Administration in a real browser: an operator lets somebody in, without a terminal.

Proves FR-761 to FR-763.
"""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = pytest.mark.timeout(180)
EVIL = "<img src=x onerror=alert(1)>"
WORDS = "several rather odd words"


def test_an_operator_lets_somebody_in_and_out_again(
    served: Any,
    log_in: Callable[..., Page],
    context_of: Callable[..., BrowserContext],
    serious: Callable[[Page], list[str]],
    shot: Callable[[Page, str], None],
) -> None:
    for name, role in (("grace", "security-officer"), ("linus", "auditor"), (EVIL, "reviewer")):
        served.enrol(name, role)
    page = log_in()
    failures: list[str] = []
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: failures.append(dialog.message))
    page.goto("/reviews")
    page.get_by_role("link", name="Admin").click()
    expect(page.get_by_role("row", name=EVIL)).to_be_visible()
    page.get_by_label("Name").last.fill("mary")
    page.get_by_role("group", name="Person").get_by_label("reviewer").check()
    page.get_by_role("button", name="Enrol").click()
    expect(page.get_by_role("status").filter(has_text="Enrolled.")).to_be_visible()
    assert serious(page) == []
    shot(page, "admin-people")
    page.get_by_role("button", name="Invite mary").click()
    link = page.locator(".once pre").inner_text()
    assert serious(page) == []
    guest = context_of().new_page()
    guest.goto(link)
    guest.get_by_label("Password", exact=True).fill(WORDS)
    guest.get_by_label("Once more").fill(WORDS)
    guest.get_by_role("button", name="Begin").click()
    guest.wait_for_url("**/reviews")
    expect(guest.get_by_role("link", name="Admin")).to_have_count(0)
    page.goto("/admin/people")
    row = page.get_by_role("row", name="mary")
    expect(row).to_contain_text("1 logged in")
    row.get_by_text("More").click()
    row.get_by_role("button", name="Log out everywhere").click()
    guest.goto("/reviews")
    expect(guest).to_have_url(f"{served.url}/login?next=%2Freviews")
    assert failures == []


def test_keys_and_tenants_without_a_mouse_on_a_phone_in_the_dark(
    log_in: Callable[..., Page], serious: Callable[[Page], list[str]], shot: Callable[[Page, str], None]
) -> None:
    page = log_in(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto("/admin/keys")
    page.get_by_label("What it is for").focus()
    page.keyboard.type("the newsroom's agents")
    page.keyboard.press("Tab")
    page.keyboard.type("90")
    page.keyboard.press("Enter")
    expect(page.locator(".once pre")).to_contain_text("chk_")
    assert serious(page) == []
    page.goto("/admin/tenants")
    page.get_by_label("Name of the tenant").focus()
    page.keyboard.type("initech")
    page.keyboard.press("Tab")
    page.keyboard.type("bill")
    page.keyboard.press("Enter")
    expect(page.locator(".once pre")).to_contain_text("/join/")
    expect(page.get_by_role("row", name="initech")).to_be_visible()
    assert serious(page) == []
    shot(page, "admin-phone")
    for path in ("/admin/people", "/admin/keys", "/admin/tenants"):
        page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert (path, wide) == (path, 0)
        assert serious(page) == []
