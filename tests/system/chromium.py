"""A real Chromium for the console's tests: windows whose logged errors fail the test, and people who log in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.system.appliance import CACHE_DIR, Appliance

PICTURES = CACHE_DIR / "last-test-pictures"
QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")  # while it is open, this thread has an event loop: other modules need their own
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium: apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, appliance: Appliance) -> Iterator[Page]:
    """A new person's window; whatever a page logs as an error fails the test."""
    context: BrowserContext = browser.new_context(
        base_url=appliance.facts["console_url"], viewport={"width": 1280, "height": 900}, locale="en-US"
    )
    window = context.new_page()
    faults: list[str] = []
    window.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    window.on("pageerror", lambda error: faults.append(str(error)))
    yield window
    context.close()
    assert faults == []


def log_in(page: Page, name: str, password: str) -> None:
    page.goto("/login/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login/" not in url)


def operator(page: Page, appliance: Appliance) -> None:
    facts = appliance.facts["operator"]
    log_in(page, facts["name"], facts["password"])
