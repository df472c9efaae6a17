"""A browser at the page: what every test of the page needs."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    expect,
    sync_playwright,
)

Theme = Literal["light", "dark"]

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = (
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
DESK = (1440, 900)
PHONE = (390, 844)
PATIENCE_MS = 15_000
IMAGES = Path(__file__).parents[2] / "docs" / "images"


@contextmanager
def launched() -> Iterator[Browser]:
    """Debian's chromium; a test that needs it is skipped where it is missing, and fails in CI."""
    if not CHROMIUM.exists():
        missing = f"{CHROMIUM} is missing: `make browser-tools` installs it on Debian, as root"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright, _browser(playwright) as browser:
        yield browser


@contextmanager
def _browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class Visit:
    """One tab with the page in it.

    Attributes:
        page: playwright's.
        url: where the console is.
        problems: what the browser's console complained of.
        elsewhere: requests that went to another origin.
    """

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def heard(self, said: ConsoleMessage) -> None:
        """Something was written to the browser's console."""
        if said.type in ("error", "warning"):
            self.problems.append(said.text)

    def asked(self, request: Request) -> None:
        """The page asked for something."""
        if not request.url.startswith(self.url.removesuffix("/console")):
            self.elsewhere.append(request.url)

    def go(self, view: str) -> None:
        """Opens a view by its deep link."""
        self.page.goto(f"{self.url}#/{view}")

    def accessible(self) -> None:
        """axe finds nothing to complain of."""
        found = Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()

    def fits(self) -> None:
        """Nothing sticks out at the side."""
        wide, window = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= window, f"{wide} px on a screen of {window} px"

    def shoot(self, name: str) -> None:
        """A picture for the docs, where they are to be made anew."""
        if os.environ.get("ORCHESTRATOR_SCREENSHOTS") == "1":
            IMAGES.mkdir(parents=True, exist_ok=True)
            self.page.mouse.move(0, 0)
            self.page.screenshot(path=IMAGES / f"{name}.png")


@contextmanager
def visiting(
    browser: Browser,
    url: str,
    key: str = "",
    *,
    theme: Theme = "light",
    size: tuple[int, int] = DESK,
    allowed: Callable[[str], bool] = lambda _: False,
) -> Iterator[Visit]:
    """A visit that must end without a complaint in the browser's console.

    Args:
        browser: whose tab it is.
        url: of the cluster.
        key: API key that is held already; empty: the login is shown.
        theme: what the system prefers.
        size: of the window.
        allowed: which complaints are part of the test.
    """
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    if key:
        context.add_init_script(f"sessionStorage.setItem('orchestrator.key', '{key}')")
    page = context.new_page()
    visit = Visit(page, f"{url}/console")
    page.on("console", visit.heard)
    page.on("pageerror", lambda error: visit.problems.append(str(error)))
    page.on("request", visit.asked)
    try:
        yield visit
    finally:
        context.close()
    assert not [each for each in visit.problems if not allowed(each)]
    assert not visit.elsewhere
