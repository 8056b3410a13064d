"""A real browser: Debian's Chromium, one for all tests here, each of which gets a window of its own.

Without $CHROMIUM and /usr/bin/chromium these tests are skipped; where $CHROMIUM names one, it has to start.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path(os.environ.get("CHROMIUM") or "/usr/bin/chromium")
QUIET = [  # nothing but what the page does: no look for updates, no profile, no sandbox for root
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, with a profile that is thrown away."""
    if not CHROMIUM.exists() and "CHROMIUM" not in os.environ:
        pytest.skip(f"needs a browser: found no {CHROMIUM}, and $CHROMIUM names none")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty window, 1024 × 768, light; `overheard(page)` tells what happens in it."""
    context = browser.new_context(viewport={"width": 1024, "height": 768}, color_scheme="light")
    context.set_default_timeout(60_000)  # a machine that is busy is not a fault
    yield context.new_page()
    context.close()


@dataclass
class Overheard:
    """What a window did: addresses it asked for; what its console complained of, refusals of its policy included."""

    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture
def overheard(page: Page) -> Overheard:
    """What the window of this test does from now on."""
    heard = Overheard()
    page.on("request", lambda request: heard.requests.append(request.url))
    page.on("pageerror", lambda error: heard.errors.append(str(error)))
    page.on("console", lambda said: heard.errors.append(said.text) if said.type in ("error", "warning") else None)
    return heard
