"""The real application on a loopback port, and a real Chromium in front of it.

Needs Debian's `chromium` (or one at $CHROMIUM) and `pip install .[browser]`; without them these tests are skipped with
a reason. axe-core comes with the package axe-playwright-python, so that its version is pinned and the tests download
nothing.
"""

import importlib.util
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from tests.ui.simulated import SimulatedDispatcher
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1180, "height": 900}
PHONE = {"width": 360, "height": 780}

OpenPage = Callable[..., "Page"]


def missing() -> str | None:
    """Return what these tests lack on this machine; None if nothing."""
    for module, package in (("playwright", "playwright"), ("axe_playwright_python", "axe-playwright-python")):
        if importlib.util.find_spec(module) is None:
            return f"the Python package {package} is not installed (make test-browser installs it)"
    if CHROMIUM is None:
        return "Debian's package chromium is not installed (apt-get install chromium), and $CHROMIUM names no other"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = missing()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker("browser") is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application from a thread, on a free loopback port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="served")
        thread.start()
        deadline_s = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def dispatcher(tmp_path: Path) -> SimulatedDispatcher:
    return SimulatedDispatcher(tmp_path)


@pytest.fixture
def url(dispatcher: SimulatedDispatcher) -> Iterator[str]:
    with served(create_app(dispatcher, ApiSettings())) as base:
        yield base


# Not session-scoped: while it is open, Playwright runs an event loop in this thread, so asynchronous tests of other
# folders could not run theirs.
@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: "Browser", url: str) -> Iterator[OpenPage]:
    """Opens the page; at the end no page may have logged an error or requested anything from another host."""
    problems: list[str] = []
    contexts = []

    def open_at(
        base: str = url,
        *,
        viewport: Any = DESKTOP,
        scheme: Any = "light",
        scale: int = 1,
        expect_errors: bool = False,
    ) -> "Page":
        context = browser.new_context(
            viewport=viewport, color_scheme=scheme, device_scale_factor=scale, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        if not expect_errors:
            page.on("console", lambda message: problems.append(f"console: {message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("request", lambda request: problems.append(request.url) if not request.url.startswith(base) else None)
        page.goto(f"{base}/ui")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert problems == []
