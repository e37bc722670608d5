"""A mission in a real browser: a tree that renews itself, usable by all, on a desk and on a phone in the dark.

Proves FR-752, FR-785 and FR-787.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from chimera.core.contracts import Mission, Plan, TaskResult, Verdict
from chimera.guards.oversight import Oversight
from chimera.review.queue import ReviewQueue
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool

pytestmark = pytest.mark.timeout(180)
FEED = Path(__file__).parents[2] / "data" / "sample_rss.xml"
GOAL = "Brief me on heat pumps in schools"
TITLES = ("Read the feeds of the week", "Compare what they say", "Write the briefing")
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}


def working(served: Any, mission_id: str, *done: str) -> None:
    """Plan the tasks of a mission, and finish some."""
    version = Mission(goal=GOAL).context_version

    async def work(pool: Pool, _queue: ReviewQueue, _oversight: Oversight) -> None:
        missions = MissionStore(pool, served.database_url)
        tasks = [
            {
                "id": f"t{n}",
                "title": title,
                "instruction": f"{title}, with sources.",
                "depends_on": [f"t{n - 1}"][: n - 1],
            }
            for n, title in enumerate(TITLES, 1)
        ]
        await missions.plan_tasks(mission_id, "team-1", 0, Plan.model_validate({"tasks": tasks}), version)
        for task in done:
            result = TaskResult(task_id=task, status="done", answer="Found four of them.", context_version=version)
            verdict = Verdict(outcome="approve", confidence=0.91, reasons=["every claim has its source"])
            await missions.start_task(mission_id, "team-1", 0, task, 1)
            assert await missions.commit_task(mission_id, "team-1", 0, "done", result, verdict)

    served.do(work)


def test_a_mission_is_watched_and_stopped(
    served: Any, log_in: Callable[..., Page], serious: Callable[[Page], list[str]], shot: Callable[[Page, str], None]
) -> None:
    mission = served.mission(GOAL)
    working(served, mission)
    page = log_in()
    failures: list[str] = []
    page.on("console", lambda said: failures.append(said.text) if said.type == "error" else None)
    page.goto("/missions")
    assert serious(page) == []
    shot(page, "missions")
    page.get_by_role("link", name=GOAL).click()
    expect(page.get_by_text("0 of 3")).to_be_visible()
    working(served, mission, "t1", "t2")
    expect(page.get_by_text("2 of 3")).to_be_visible()
    page.get_by_text("more").first.click()
    expect(page.get_by_text("Found four of them.").first).to_be_visible()
    assert serious(page) == []
    shot(page, "mission")
    page.get_by_text("Stop this mission").click()
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_role("heading", name=GOAL)).to_be_visible()
    assert failures == []


def test_a_mission_on_a_phone_in_the_dark(
    served: Any, log_in: Callable[..., Page], serious: Callable[[Page], list[str]], shot: Callable[[Page, str], None]
) -> None:
    mission = served.mission(GOAL)
    working(served, mission, "t1")
    page = log_in(**PHONE)
    for path in ("/missions", f"/missions/{mission}"):
        page.goto(path)
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    shot(page, "phone-mission")


def test_a_plan_is_edited_before_it_begins_and_the_mission_ends_with_what_was_edited(
    served: Any, log_in: Callable[..., Page], serious: Callable[[Page], list[str]], shot: Callable[[Page, str], None]
) -> None:
    page = log_in("ada", "operator")
    page.goto("/missions")
    page.get_by_label("What is wanted").fill("Find what is rising and write a short briefing with sources")
    page.get_by_text("Material, limits and voice").click()
    page.get_by_label("Material").fill(f"feed: {FEED}")
    page.get_by_label("show me the plan first").check()
    page.get_by_role("button", name="Begin").click()
    asked = page.get_by_role("link", name=re.compile("Is this plan")).first
    page.goto(str(asked.get_attribute("href")))
    page.keyboard.press("e")
    expect(page.get_by_label("Title").first).to_be_focused()
    page.get_by_label("Title").first.fill("Say it in my words")
    expect(page.locator(".diff .new").first).to_contain_text("Say it in my words")
    page.get_by_role("button", name="Add a task").click()
    page.get_by_label("After").last.fill("t77")
    expect(page.locator("#toasts, #compared").filter(has_text="title")).to_be_visible()
    page.get_by_role("checkbox", name=re.compile("leave t[0-9]+ out")).last.check()
    page.get_by_label("After").last.fill("")
    assert serious(page) == []
    shot(page, "plan")
    page.get_by_role("button", name="Use the edit").click()
    page.wait_for_url("**/reviews")
    page.goto("/missions")
    page.get_by_role("link", name=re.compile("Find what is rising")).first.click()
    expect(page.get_by_text("Say it in my words").first).to_be_visible()
    expect(page.locator(".tag.m-done, .tag.m-degraded, .tag.m-failed").first).to_be_visible(timeout=60_000)
    expect(page.locator(".tag.m-done").first).to_be_visible()
    assert serious(page) == []
