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
