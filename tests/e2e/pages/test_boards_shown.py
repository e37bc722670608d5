"""The boards in a real browser: drawn, renewed by themselves, usable by all, on a desk and on a phone in the dark.

Proves FR-753 to FR-756 and FR-788.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from chimera.commerce.assets import AssetStore, on_chain
from chimera.commerce.budgets import BudgetStore, Limit
from chimera.commerce.ledger import Ledger
from chimera.core.clock import SystemClock
from chimera.core.ids import random_ids
from chimera.guards.oversight import Oversight
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.incidents import IncidentStore, Report
from chimera.store.postgres import Pool, fetch

pytestmark = pytest.mark.timeout(180)
EVIL = "<img src=x onerror=alert(1)>"
TOKEN = on_chain("USDC", 31337, 6, "0x" + "ab" * 20)
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}


async def fill(pool: Pool, _queue: ReviewQueue, _oversight: Oversight) -> None:
    """Something on every board."""
    audit = AuditLog(pool, SystemClock())
    assets = AssetStore(pool, audit)
    await assets.add(TOKEN, "ada")
    budgets, ledger = BudgetStore(pool, assets, audit), Ledger(pool, assets, audit, random_ids())
    await budgets.set(Limit("default", "tenant", "", TOKEN, 250_000_000, "month"), "ada")
    await budgets.set(Limit("default", "agent", "research-1", TOKEN, 0), "ada")
    for number in range(5):
        await ledger.deposit("default", f"research-{number}", TOKEN.id, 40_000_000 + number, f"shown {number}")
    for agent, rule in (("t1", "mcp.poisoned"), (EVIL, "prompt.injection")):
        report = Report("default", None, agent, "research", "tool_call", rule, "critical", [EVIL], agent, agent)
        await IncidentStore(pool).open(report, datetime.now(UTC), 5, timedelta(hours=1))


def test_the_boards_are_drawn(
    served: Any, log_in: Callable[..., Page], serious: Callable[[Page], list[str]], shot: Callable[[Page, str], None]
) -> None:
    served.do(fill)
    for name, options in (("", {}), ("phone-", PHONE)):
        page = log_in(**options)
        failures: list[str] = []
        page.on(
            "console", lambda message, told=failures: told.append(message.text) if message.type == "error" else None
        )
        page.on("dialog", lambda dialog, told=failures: told.append(dialog.message))
        for title in ("Fleet", "Money", "Tools", "Incidents", "Audit"):
            page.goto(f"/{title.lower()}")
            expect(page.get_by_role("heading", name=title, exact=title != "Incidents", level=1)).to_be_visible()
            if title == "Fleet":
                expect(page.locator("#plot canvas")).to_be_visible()
            assert serious(page) == []
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{title} is wider than the screen"
            shot(page, f"{name}{title.lower()}")
        assert failures == []


def test_the_fleet_is_renewed_by_itself(served: Any, log_in: Callable[..., Page]) -> None:
    page = log_in()
    page.goto("/fleet")
    expect(page.get_by_text("No worker is running")).to_be_visible()

    async def come(pool: Pool, _queue: ReviewQueue, _oversight: Oversight) -> None:
        await fetch(
            pool,
            "INSERT INTO workers (id, epoch, state, engine, pools, concurrency, expires_at) "
            "VALUES ('new worker', 1, 'running', 'postgres', '{}', 7, now() + interval '1 minute') RETURNING id",
        )

    served.do(come)
    expect(page.get_by_role("row", name="new worker")).to_be_visible()


def test_an_incident_is_released_on_the_page(served: Any, log_in: Callable[..., Page]) -> None:
    page = log_in()
    page.goto("/incidents")
    page.get_by_role("link", name="mcp.poisoned").click()
    page.get_by_label("Reason").fill("a test of ours")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_text("by ada: a test of ours")).to_be_visible()
    page.get_by_role("link", name="All incidents").click()
    expect(page.get_by_role("link", name="mcp.poisoned")).to_have_count(0)
