"""A real browser for the pages: Debian's Chromium, controlled by Playwright, without a network."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

PHONE, DESKTOP = (390, 844), (1280, 900)

# Without these options, the browser itself would check for updates and synchronize.
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-sandbox",  # tests may run as root in containers
    "--disable-gpu",
)


@dataclass
class Opened:
    """A page in the browser, and its errors so far.

    Attributes:
        page: page of Playwright.
        errors: errors in the console, and uncaught exceptions.
        requests: requests that left the page.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(file: Path, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> Iterator[Opened]:
    """Open an HTML file from disk in a window (width, height); skip the test if there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
        )
        seen = Opened(page)
        page.on("console", lambda note: seen.errors.append(note.text) if note.type == "error" else None)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("request", lambda request: _note(seen, request.url, file))
        page.goto(file.resolve().as_uri())
        yield seen
        browser.close()


def _note(seen: Opened, url: str, file: Path) -> None:
    if not url.startswith("data:") and url.partition("#")[0] != file.resolve().as_uri():
        seen.requests.append(url)
