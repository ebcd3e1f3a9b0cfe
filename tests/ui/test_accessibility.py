"""Runs axe-core on every state of the page, in both themes and at phone width."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.ui.conftest import DESKTOP, PHONE, OpenPage
from tests.ui.simulated import SimulatedDispatcher

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def violations(page: "Page") -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:160]}: {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_of_the_page_has_a_violation(
    open_page: OpenPage, dispatcher: SimulatedDispatcher, viewport: Any, scheme: str
) -> None:
    page = open_page(viewport=viewport, scheme=scheme)
    page.wait_for_selector(".memory")
    assert violations(page) == []
    dispatcher.squeeze()
    page.locator("#rules summary").click()
    for tab in ("rerank", "relate", "classify", "embed"):
        page.click(f"#tab-{tab}")
        page.click(f"#{tab}-form button")
        page.wait_for_selector(f"#{tab}-outcome .route")
        assert violations(page) == [], tab
    page.wait_for_selector("#reroutes tbody")
    page.click("#tab-files")
    assert violations(page) == []
