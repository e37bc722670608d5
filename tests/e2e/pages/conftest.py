"""A real server and a real browser for the pages: one of each for a file, and a window of its own for a test."""

import shutil
from collections.abc import Callable, Generator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from chimera.store.embedded import Endpoints
from tests.e2e.pages.house import PASSWORD, House


@pytest.fixture(scope="module")
def served(
    shared_database_url: str, endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory
) -> Generator[House]:
    """A server that asks people to log in."""
    house = House(shared_database_url, endpoints.redis_url, tmp_path_factory.mktemp("home"))
    yield house
    house.kill()


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """The Chromium of the system."""
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
