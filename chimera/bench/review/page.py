"""The page of reviews in a real browser: how soon many new questions are there, and how soon a decided one is gone.

Both times are taken inside the page, by its own clock. Everything is real but the people: the server, the database, the
events, and Chromium.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chimera.bench.review.installation import environment_of, served
from chimera.core.clock import SystemClock
from chimera.core.contracts import Mission, ReviewItem, ReviewPoint
from chimera.core.errors import ConfigError
from chimera.core.figures import Goal
from chimera.core.ids import random_ids
from chimera.guards.permissions.first import local_user
from chimera.review.queue import ReviewQueue
from chimera.store.embedded import EmbeddedServers
from chimera.store.migrate import migrate
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, open_pool
from chimera.store.principals import Principal, PrincipalStore

GOALS: dict[str, Goal] = {"burst_1000_ms": ("<=", 1_500.0), "click_p95_ms": ("<=", 50.0)}
NEW, ROWS, CLICKS, BURSTS = 1_000, 2_000, 100, 5
_AT_ONCE = 16
_COUNT = "document.querySelectorAll('#rows .item').length"
_UNTIL = f"""wanted => {{
    const begun = performance.now();
    window.shown = new Promise(resolve => {{
        const look = () => {_COUNT} === wanted ? resolve(performance.now() - begun) : requestAnimationFrame(look);
        look();
    }});
}}"""
_CLICK = """at => new Promise(resolve => {
    const row = document.querySelectorAll('#rows .item')[at], begun = performance.now();
    new MutationObserver((_, watching) => {
        if (!document.getElementById(row.id)) { watching.disconnect(); resolve(performance.now() - begun); }
    }).observe(document.getElementById('rows'), {childList: true});
    row.querySelector('.acts .good').click();
})"""


async def page(quick: bool) -> tuple[dict[str, float], dict[str, Goal], dict[str, Any]]:
    """Measure: figures, goals and conditions.

    Raises:
        ConfigError: there is no Chromium, or Playwright is not installed. StoreError: the servers cannot be started.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise ConfigError("there is no Chromium on this machine", remedy="Install the package chromium.")
    try:
        from playwright.async_api import async_playwright
    except ImportError as error:
        raise ConfigError("Playwright is not installed", remedy="pip install playwright") from error
    bursts, clicks = (1, 30) if quick else (BURSTS, CLICKS)
    async with (
        _installation() as (pool, mission, environment, home),
        served(environment, home) as url,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        window = await browser.new_page()
        burst = sorted([await _burst(window, pool, mission, url) for _ in range(bursts)])
        await _emptied(pool)
        await _asked(pool, mission, ROWS + clicks)
        await window.goto(f"{url}/reviews?limit={ROWS}")
        await _until(window, ROWS)
        took: list[float] = []
        for number in range(clicks):
            took.append(float(await window.evaluate(_CLICK, number * 7 % ROWS)))
            await asyncio.sleep(0.3)  # the page has shown what the click changed
        await browser.close()
    took.sort()
    figures = {
        "burst_1000_ms": round(burst[len(burst) // 2], 1),
        "burst_max_ms": round(burst[-1], 1),
        "click_p50_ms": round(took[len(took) // 2], 1),
        "click_p95_ms": round(took[min(len(took) - 1, int(0.95 * len(took)))], 1),
        "click_max_ms": round(took[-1], 1),
    }
    conditions = {
        "page": f"{NEW:,} questions asked by {_AT_ONCE} connections, one transaction each, until all are rows of "
        f"the page (median of {bursts}); {clicks} clicks on Approve among {ROWS:,} rows, 0.3 s apart, until the row is "
        "gone, which is when the server has answered; timed inside the page in Chromium, on the machine of the server",
    }
    return figures, GOALS, conditions


async def _burst(window: Any, pool: Pool, mission: str, url: str) -> float:
    await _emptied(pool)
    await window.goto(f"{url}/reviews?limit={ROWS}")
    await _until(window, 0)
    await window.evaluate(_UNTIL, NEW)
    await _asked(pool, mission, NEW)
    return float(await window.evaluate("window.shown"))


async def _until(window: Any, rows: int) -> None:
    await window.evaluate(_UNTIL, rows)
    await window.evaluate("window.shown")


async def _asked(pool: Pool, mission: str, count: int) -> None:
    queue, new_id = ReviewQueue(pool), random_ids()
    numbers = iter(range(count))

    async def ask() -> None:
        for number in numbers:
            payload = {"kind": "result", "answer": f"Answer {number}", "blocking": False}
            question = f"Is result {number} good enough?"
            await queue.open(
                ReviewItem(
                    id=new_id(),
                    mission_id=mission,
                    point=ReviewPoint.QUALITY,
                    question=question,
                    payload=payload,
                    confidence=number % 100 / 100,
                )
            )

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(ask())


async def _emptied(pool: Pool) -> None:
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM reviews")


@asynccontextmanager
async def _installation() -> AsyncGenerator[tuple[Pool, str, dict[str, str], Path]]:
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="chimera-bench-"))
    servers, mission = EmbeddedServers(home, idle_s=5.0), random_ids()()
    try:
        endpoints = await servers.acquire()
        async with open_pool(endpoints.database_url, _AT_ONCE) as pool:
            await migrate(pool)
            store, at = PrincipalStore(pool), SystemClock().now()
            async with store.changing("default") as (connection, _):
                await store.write(
                    connection, Principal("default", local_user(), "human", ("operator",), at, "the bench")
                )
            await MissionStore(pool, endpoints.database_url).create(
                mission, Mission(goal="Ask much", deadline_s=86_400)
            )
            yield pool, mission, environment_of(home, endpoints), home
    finally:
        try:
            await servers.purge(force=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
