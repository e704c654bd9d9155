"""A page in headless Chromium that must keep to itself: no error in its console, no request to anywhere else.

with chromium() as browser, page(browser, path, width=390, dark=True) as shown:
    shown.get_by_role("button", name="Play").click()
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Software WebGL, named so that Chromium takes it without a GPU and without a warning in the console.
ARGUMENTS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
PATIENCE_S = 60


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's browser; where there is none, the test is skipped, and in CI it fails."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"install Chromium (one of {', '.join(NAMES)} on the PATH) to test pages in a browser"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=PATIENCE_S * 1000)
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page(
    browser: Browser,
    place: Path | str,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    reduced_motion: bool = False,
    touch: bool = False,
    allowed: Sequence[str] = (),
    script: str = "",
    forgiven: Sequence[str] = (),
) -> Iterator[Page]:
    """A page opened at `place` (a file, or an address), in a context of its own.

    After the block it fails on errors and warnings of the console, on exceptions, and on every request but the page
    itself, `data:`, `blob:` and addresses that begin with one of `allowed`; those requests never leave. `script` runs
    before the page's own. `forgiven`: parts of console messages that a test brings about itself, such as a lost
    connection.
    """
    address = place.resolve().as_uri() if isinstance(place, Path) else place
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce" if reduced_motion else "no-preference",
        has_touch=touch,
    )
    context.set_default_timeout(PATIENCE_S * 1000)
    complaints: list[str] = []
    kept = ("data:", "blob:", *allowed)

    def stays(url: str) -> bool:
        return url.split("#")[0] == address.split("#")[0] or url.startswith(kept)

    def watch(request: Request) -> None:
        if not stays(request.url):
            complaints.append(f"asked for {request.url[:200]}")

    def decide(route: Route) -> None:
        if stays(route.request.url):
            route.continue_()
        else:
            route.abort()

    if script:
        context.add_init_script(script)
    shown = context.new_page()
    shown.on("request", watch)
    shown.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
    shown.on(
        "console",
        lambda message: (
            complaints.append(f"console {message.type}: {message.text}")
            if message.type in ("error", "warning") and not any(part in message.text for part in forgiven)
            else None
        ),
    )
    context.route("**/*", decide)
    try:
        shown.goto(address)
        yield shown
    finally:
        context.close()
    assert not complaints, "\n".join(complaints)
