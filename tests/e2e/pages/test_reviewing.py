"""The reviewer's day in a real browser.

Proves FR-743, FR-750 and FR-751.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.timeout(180)


def test_a_question_is_seen_understood_decided_and_taken_back(
    served: Any, log_in: Callable[..., Page], serious: Callable[[Page], list[str]], shot: Callable[[Page, str], None]
) -> None:
    mission = served.mission("Write a briefing about rivers")
    first, second = served.ask(mission, "Is this result of 'rivers' good enough?", "And this one of 'lakes'?")
    page = log_in()
    failures: list[str] = []
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.goto("/reviews")
    expect(page.locator("#rows .item")).to_have_count(2)
    shot(page, "reviews")
    assert serious(page) == []
    page.locator(f"#q-{first} a.open").click()
    expect(page.locator("#card h2")).to_contain_text("rivers")
    expect(page.locator("#card")).to_contain_text("The answer is 42.")
    expect(page.locator("#card")).to_contain_text("Write a briefing about rivers")
    shot(page, "question")
    assert serious(page) == []
    page.locator("#card").get_by_role("button", name=re.compile("^Approve")).click()
    expect(page.locator(f"#q-{first}")).to_have_count(0)
    expect(page.locator("#toasts")).to_contain_text("Approved")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f"#q-{first}")).to_have_count(1)
    assert served.decision(first) is None
    page.locator(f"#q-{first} .acts .good").click()
    expect(page.locator(f"#q-{first}")).to_have_count(0)
    assert (served.decision(first) or {})["reviewer"] == "ada"
    page.locator(f"#q-{second} [data-reject]").click()
    page.locator("#card #reason").fill("the source is missing")
    page.locator("#card").get_by_role("button", name=re.compile("^Reject")).click()
    expect(page.locator(f"#q-{second}")).to_have_count(0)
    assert (served.decision(second) or {})["reason"] == "the source is missing"
    assert failures == []


def test_a_day_with_keys_alone(served: Any, log_in: Callable[..., Page]) -> None:
    mission = served.mission()
    items = served.ask(mission, "Key one?", "Key two?", "Key three?")
    page = log_in()
    page.goto("/reviews")
    expect(page.locator("#rows .item")).to_have_count(3)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("approve")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator("#card h2")).to_be_visible()
    first = page.locator("#card article").get_attribute("data-item")
    page.keyboard.press("a")
    expect(page.locator(f"#q-{first}")).to_have_count(0)
    expect(page.locator("#toasts")).to_contain_text("Undo")
    page.keyboard.press("u")
    expect(page.locator(f"#q-{first}")).to_have_count(1)
    assert served.decision(first) is None
    page.keyboard.press("j")
    expect(page.locator("#card h2")).to_be_visible()
    second = page.locator("#card article").get_attribute("data-item")
    page.keyboard.press("r")
    expect(page.locator("#reason")).to_be_focused()
    page.keyboard.type("not enough")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.locator(f"#q-{second}")).to_have_count(0)
    assert (served.decision(second) or {})["action"] == "reject"
    third = next(item for item in items if item != second)
    page.goto(f"/reviews/{third}")
    page.keyboard.press("e")
    edit = page.get_by_label("What goes on instead")
    expect(edit).to_be_focused()
    edit.fill(edit.input_value().replace("42", "43"))
    expect(page.locator(".diff .new")).to_contain_text("43")
    page.get_by_role("button", name="Use the edit").press("Enter")
    page.wait_for_url("**/reviews")
    decided = served.decision(third) or {}
    assert (decided["action"], decided["payload"]["answer"]) == ("edit", "The answer is 43.")
    served.clear()


def test_two_reviewers_see_each_other_s_work_and_a_stale_answer_is_refused(
    served: Any, log_in: Callable[..., Page]
) -> None:
    one, other = log_in("ada"), log_in("bob", "reviewer")
    one.goto("/reviews")
    other.goto("/reviews")
    taken, free = served.ask(served.mission(), "Who has this?", "And that?")
    expect(one.locator("#rows .item")).to_have_count(2)
    expect(other.locator("#rows .item")).to_have_count(2)
    one.locator(f"#q-{taken} a.open").click()
    one.get_by_text("Ask, claim or hand on").click()
    one.get_by_role("button", name=re.compile("^Claim")).click()
    expect(other.locator(f"#q-{taken}")).to_contain_text("with ada")
    other.locator(f"#q-{taken} [data-approve]").click()
    expect(other.locator("#toasts")).to_contain_text("ada")
    assert served.decision(taken) is None
    other.locator(f"#q-{free} [data-approve]").click()
    expect(one.locator(f"#q-{free}")).to_have_count(0)
    served.clear()


def test_a_phone_in_the_dark(
    served: Any, log_in: Callable[..., Page], serious: Callable[[Page], list[str]], shot: Callable[[Page, str], None]
) -> None:
    (item,) = served.ask(served.mission("Write about night"), "Is this good enough at night?")
    page = log_in(viewport={"width": 390, "height": 844}, color_scheme="dark", is_mobile=True, has_touch=True)
    page.goto("/reviews")
    assert serious(page) == []
    page.locator(f"#q-{item} a.open").tap()
    expect(page.locator("#card h2")).to_be_visible()
    shot(page, "phone")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    served.clear()


def test_a_page_finds_its_server_again(served: Any, log_in: Callable[..., Page]) -> None:
    """The server is killed and started again: what was asked meanwhile comes up by itself."""
    mission, page = served.mission(), log_in()
    page.goto("/reviews")
    expect(page.locator("#rows")).to_contain_text("Nothing waits for a human.")
    served.kill()
    (item,) = served.ask(mission, "Asked while nobody was there?")
    served.start()
    expect(page.locator(f"#q-{item}")).to_have_count(1, timeout=20_000)
    served.clear()
