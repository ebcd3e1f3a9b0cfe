"""`/docs` and `/redoc` in a real browser, which refuses what their content security policy does not allow."""

from typing import TYPE_CHECKING

import pytest

from tests.support.dispatcher import FakeDispatcher
from tests.ui.conftest import served
from trivet.api.app import create_app
from trivet.api.key_ring import KeyRing, hash_key
from trivet.api.settings import ApiSettings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


def opened(browser: "Browser", url: str) -> "tuple[Page, list[str]]":
    """Open a page; the list gets errors and URLs that other hosts answered."""
    page = browser.new_page()
    page.set_default_timeout(20_000)
    problems: list[str] = []
    own = (url.rpartition("/")[0], "blob:", "data:")
    page.on("response", lambda response: None if response.url.startswith(own) else problems.append(response.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    return page, problems


def test_docs_sends_an_example_with_a_key(browser: "Browser") -> None:
    keys = KeyRing.parse(f"ann {hash_key('key')}", origin="test")
    with served(create_app(FakeDispatcher(), ApiSettings(keys=keys))) as base:
        page, problems = opened(browser, f"{base}/docs")
        page.get_by_role("button", name="Authorize").first.click()
        dialog = page.locator(".auth-container")
        dialog.locator("input").fill("key")
        dialog.get_by_role("button", name="Apply").click()
        dialog.get_by_role("button", name="Close").click()
        route = page.locator(".opblock").filter(has=page.locator('[data-path="/v1/rerank"]'))
        route.locator(".opblock-summary-control").click()
        with page.expect_response(f"{base}/v1/rerank") as answer:
            route.get_by_role("button", name="Execute").click()
        assert answer.value.status == 200
        assert answer.value.request.headers["authorization"] == "Bearer key"
        page.close()
    assert problems == []


def test_redoc_shows_the_routes(browser: "Browser") -> None:
    with served(create_app(FakeDispatcher(), ApiSettings())) as base:
        page, problems = opened(browser, f"{base}/redoc")
        page.get_by_role("heading", name="Rerank (Cohere v2)").first.wait_for()
        assert not page.locator('img[src*="//"]').locator("visible=true").count()
        page.close()
    assert problems == []
