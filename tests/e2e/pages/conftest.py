"""A real server and a real browser for the pages: one of each for a file, and a window of its own for a test."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from chimera.core.clock import SystemClock
from chimera.core.contracts import Mission, ReviewItem, ReviewPoint
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.oversight import Oversight, oversee
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.embedded import Endpoints
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch, open_pool
from chimera.store.principals import Principal

PASSWORD = "three odd words make it"
NEW = random_ids()
FEEDS = Path(__file__).parents[2] / "data"
Found = TypeVar("Found")


class House:
    """A server, and the database behind it."""

    def __init__(self, database_url: str, redis_url: str, home: Path, *options: str) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHIMERA_", "COV_"))}
        self.environment = {
            **kept,
            "CHIMERA_HOME": str(home),
            "CHIMERA_DATABASE_URL": database_url,
            "CHIMERA_REDIS_URL": redis_url,
            "CHIMERA_REVIEW_GRACE_S": "3",
            "CHIMERA_SERVER_FILES": str(FEEDS),
        }
        self.options = options
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start the server, on the port that it had before."""
        command = [sys.executable, "-m", "chimera", "serve", "--port", str(self.port), *self.options]
        self.process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        said = ""
        for line in self.process.stderr:
            said += line
            if line.startswith("serving "):
                self.url = line.split()[1].removesuffix("/mcp")
                self.port = int(self.url.rpartition(":")[2])
                return
        pytest.fail(f"it did not start: {said}")

    def kill(self) -> None:
        """End it as a machine does that loses its power."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def do(self, work: Callable[[Pool, ReviewQueue, Oversight], Awaitable[Found]]) -> Found:
        """Do something with the database."""

        async def done() -> Found:
            async with open_pool(self.database_url) as pool:
                queue, audit = ReviewQueue(pool), AuditLog(pool, SystemClock())
                settings = Settings.model_validate({"database_url": self.database_url})
                return await work(pool, queue, oversee(settings, pool, queue, audit, SystemClock(), NEW))

        with ThreadPoolExecutor(1) as executor:  # the browser has a loop in this thread
            return executor.submit(asyncio.run, done()).result()

    def enrol(self, name: str, role: str = "operator", tenant: str = "default") -> str:
        """Enrol a human, and return the invitation."""

        async def work(_pool: Pool, _queue: ReviewQueue, oversight: Oversight) -> str:
            async with oversight.principals.changing(tenant) as (connection, there):
                for one, its in (("root", "operator"), (name, role)):
                    if all(known.name != one for known in there):
                        made = Principal(tenant, one, "human", (its,), SystemClock().now(), "the tests")
                        await oversight.principals.write(connection, made)
            return await oversight.accounts.invite(name, "root", tenant=tenant)

        return self.do(work)

    def mission(self, goal: str = "Write a briefing", tenant: str = "default") -> str:
        """A mission that waits."""
        mission_id = NEW()

        async def work(pool: Pool, _queue: ReviewQueue, _oversight: Oversight) -> None:
            missions = MissionStore(pool, self.database_url)
            await missions.create(mission_id, Mission(goal=goal, tenant=tenant))

        self.do(work)
        return mission_id

    def ask(self, mission_id: str, *questions: str, **more: Any) -> list[str]:
        """Put questions on the queue."""
        point, confidence = more.pop("point", "quality"), more.pop("confidence", 0.6)
        items = [
            ReviewItem(
                id=NEW(), mission_id=mission_id, point=ReviewPoint(point), question=question, confidence=confidence,
                payload={"kind": "result", "answer": "The answer is 42.", "blocking": False, **more},
            )
            for question in questions
        ]  # fmt: skip

        async def work(_pool: Pool, queue: ReviewQueue, _oversight: Oversight) -> None:
            for item in items:
                await queue.open(item)

        self.do(work)
        return [item.id for item in items]

    def clear(self) -> None:
        """Leave nothing on the queue for the next test: the missions have gone on."""

        async def work(pool: Pool, _queue: ReviewQueue, _oversight: Oversight) -> None:
            await fetch(pool, "UPDATE reviews SET passed_at = now() WHERE passed_at IS NULL")

        self.do(work)

    def decision(self, item: str) -> dict[str, Any] | None:
        """What was decided."""

        async def work(_pool: Pool, queue: ReviewQueue, _oversight: Oversight) -> dict[str, Any] | None:
            decision = await queue.decision(item)
            return decision.plain() if decision else None

        return self.do(work)


@pytest.fixture(scope="module")
def served(
    shared_database_url: str, endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory
) -> Generator[House]:
    """A server that asks people to log in."""
    house = House(shared_database_url, endpoints.redis_url, tmp_path_factory.mktemp("home"))
    yield house
    house.kill()


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    """The Chromium of the system. Not for longer than a file: its loop must be gone where others begin one."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def context_of(browser: Browser, served: House) -> Generator[Callable[..., BrowserContext]]:
    """Makes windows that keep nothing of each other."""
    made: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        made.append(browser.new_context(base_url=served.url, **options))
        made[-1].set_default_timeout(15_000)
        return made[-1]

    yield make
    for context in made:
        context.close()


_joined: dict[tuple[str, str], dict[str, Any]] = {}


@pytest.fixture
def log_in(context_of: Callable[..., BrowserContext], served: House) -> Callable[..., Page]:
    """Logs somebody in by an invitation, once for each server, and opens a page."""

    def enter(name: str = "ada", role: str = "operator", tenant: str = "default", **options: Any) -> Page:
        key = (served.url, f"{tenant}/{name}")
        if key not in _joined:
            page = context_of().new_page()
            page.goto(f"/join/{served.enrol(name, role, tenant)}")
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            page.get_by_label("Once more").fill(PASSWORD)
            page.get_by_role("button", name="Begin").click()
            page.wait_for_url("**/reviews")
            _joined[key] = page.context.storage_state()  # pyright: ignore[reportArgumentType] - a typed dictionary
        return context_of(storage_state=_joined[key], **options).new_page()

    return enter


@pytest.fixture
def shot() -> Callable[[Page, str], None]:
    """Takes a picture of a page for the README, where the environment says into which folder."""

    def take(page: Page, name: str) -> None:
        if folder := os.environ.get("CHIMERA_SCREENSHOTS"):
            page.screenshot(path=str(Path(folder, f"{name}.png")))

    return take


@pytest.fixture
def serious() -> Callable[[Page], list[str]]:
    """Finds what people with disabilities could not use: serious and critical violations of the rules of axe."""

    def look(page: Page) -> list[str]:
        found = Axe().run(page).response["violations"]
        return [
            f"{one['id']}: {node['html'][:160]}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    return look
