"""The status page in a real browser, with the real VRAM policy and a simulated GPU."""

import re
from typing import TYPE_CHECKING, get_args

import httpx
import pytest

from tests.support.dispatcher import FakeDispatcher
from tests.ui.conftest import PHONE, OpenPage, served
from tests.ui.simulated import SimulatedDispatcher
from trivet.api.app import create_app
from trivet.api.key_ring import KeyRing, hash_key
from trivet.api.settings import ApiSettings
from trivet.vram.types import Cause

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def expect_text(page: "Page", selector: str, text: str) -> None:
    """Wait until an element contains the text."""
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_contain_text(text, timeout=20_000)


def test_a_simulated_gpu_is_called_simulated_everywhere(open_page: OpenPage) -> None:
    page = open_page()
    expect_text(page, "#headline", "All three models run on the simulated GPU.")
    expect_text(page, ".memory .badge", "simulated")
    expect_text(page, ".memory .note", "This GPU is simulated")
    expect_text(page, ".memory .legend", "Other processes 512 MiB")
    assert "free" in (page.locator(".memory .bar").get_attribute("aria-label") or "")
    for task in ("embedder", "reranker", "classifier"):
        expect_text(page, f'.model[data-of="{task}"] .pill', "on the simulated GPU")
    expect_text(page, "#reroutes", "None since the service started")


def test_the_page_explains_why_a_request_went_to_the_cpu(
    open_page: OpenPage, dispatcher: SimulatedDispatcher, url: str
) -> None:
    page = open_page()
    expect_text(page, "#headline", "on the simulated GPU")
    dispatcher.squeeze()
    httpx.post(f"{url}/v1/embeddings", json={"input": "where am I?"}).raise_for_status()

    expect_text(page, "#headline", "All three models run on the CPU.")
    expect_text(
        page,
        "#why",
        "The simulated GPU has too little free memory (a model needs at least 500 MiB)",
    )
    expect_text(page, "#why", "once 1 GiB is free")
    expect_text(page, '.model[data-of="embedder"] .pill', "on the CPU")
    expect_text(page, '.model[data-of="embedder"] .model-words', "500 MiB needed: moved to cpu")
    expect_text(page, "#reroutes tbody", "500 MiB needed: moved to cpu")

    page.click("#rerank-form button")
    expect_text(
        page, "#rerank-outcome .route-why", "Moved from the simulated GPU, because: reranker: 0 B free, 500 MiB needed"
    )
    expect_text(page, "#reroutes tbody", "Reranker")

    dispatcher.release()
    expect_text(page, "#headline", "All three models run on the simulated GPU.")
    page.click("#rerank-form button")
    expect_text(page, "#rerank-outcome .pill", "simulated:0 (a simulated GPU)")


def test_every_cause_has_an_explanation(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(".memory")
    explanations = page.evaluate(
        """async (causes) => {
          const { why } = await import("./words.js");
          const status = await (await fetch("../v1/status")).json();
          return causes.map((cause) => why({ cause }, { ...status, cpu_only_reason: "no words" }));
        }""",
        list(get_args(Cause)),
    )
    assert "no words" not in explanations
    assert len(set(explanations)) == len(get_args(Cause))
    assert all("simulated GPU" in sentence for sentence in explanations)


def test_the_rules_have_the_values_of_the_service(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector("#rules summary")
    page.locator("#rules summary").focus()
    page.keyboard.press("Enter")
    expect_text(page, "#rules-body", "less than 500 MiB of GPU memory available leaves the GPU immediately")


def test_without_a_gpu_the_page_shows_none(open_page: OpenPage) -> None:
    with served(create_app(FakeDispatcher(), ApiSettings())) as base:
        page = open_page(base)
        expect_text(page, "#headline", "All three models run on the CPU.")
        expect_text(page, "#why", "the fake dispatcher has no GPU")
        expect_text(page, "#reroutes", "there is no GPU to move from")
        assert page.locator(".memory").count() == 0


def test_sparklines_follow_the_traffic(open_page: OpenPage, url: str) -> None:
    page = open_page()
    spark = page.locator('.model[data-of="embedder"] .spark svg').first
    spark.wait_for()
    assert spark.get_attribute("aria-label") == "Requests per second: nothing in the last two minutes"
    for _ in range(5):
        httpx.post(f"{url}/v1/embeddings", json={"input": "a"}).raise_for_status()
    page.wait_for_function(
        """() => /at most/.test(document.querySelector('.model[data-of="embedder"] .spark svg').ariaLabel)"""
    )
    expect_text(page, '.model[data-of="embedder"] .facts', "5 requests")


def test_a_lost_service_is_reported_until_it_answers_again(open_page: OpenPage) -> None:
    page = open_page(expect_errors=True)  # Chromium itself reports requests that fail
    expect_text(page, "#live-text", "live")
    page.route("**/v1/status", lambda route: route.abort())
    expect_text(page, "#live-text", "no answer")
    expect_text(page, "#why", "The data shown is from")
    page.unroute("**/v1/status")
    expect_text(page, "#live-text", "live")
    expect_text(page, "#headline", "simulated GPU")


def test_the_page_asks_for_a_key_and_uses_it(open_page: OpenPage) -> None:
    keys = KeyRing.parse(f"someone {hash_key('tvt_secret')}", origin="test")
    with served(create_app(FakeDispatcher(), ApiSettings(keys=keys))) as base:
        page = open_page(base, expect_errors=True)
        expect_text(page, "#headline", "The service requires a key.")
        page.fill("#key", "tvt_secret")
        page.keyboard.press("Enter")
        expect_text(page, "#headline", "All three models run on the CPU.")
        assert page.locator("#key-form").is_hidden()
        page.click("#rerank-form button")
        page.wait_for_selector("#rerank-outcome .ranking")


def test_the_theme_button_cycles_and_the_choice_is_kept(open_page: OpenPage) -> None:
    page = open_page(scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    button = page.get_by_role("button", name="Theme: system")
    button.click()
    assert page.locator("#theme").inner_text() == "Theme: light"
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.locator("#theme").inner_text() == "Theme: light"
    assert page.evaluate(ground) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(open_page: OpenPage, dispatcher: SimulatedDispatcher, scheme: str) -> None:
    page = open_page(viewport=PHONE, scheme=scheme)
    expect_text(page, "#headline", "simulated GPU")
    dispatcher.squeeze()
    for tab, form in (("rerank", "rerank"), ("relate", "relate"), ("classify", "classify")):
        page.click(f"#tab-{tab}")
        page.click(f"#{form}-form button")
        page.wait_for_selector(f"#{form}-outcome .route")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_the_whole_page_works_by_keyboard(open_page: OpenPage) -> None:
    page = open_page()
    expect_text(page, "#headline", "simulated GPU")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("#tab-rerank").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-relate"
    assert page.locator("#panel-relate").is_visible()
    page.keyboard.press("End")
    assert page.locator("#panel-embed").is_visible()
    page.keyboard.press("Home")
    assert page.locator("#panel-rerank").is_visible()
    assert page.locator('[role="tab"][tabindex="0"]').count() == 1
    page.locator("#rerank-query").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#rerank-outcome .ranking")
    assert page.evaluate("document.activeElement.id") == "rerank-query"


def test_version_and_links(open_page: OpenPage, url: str) -> None:
    page = open_page()
    page.wait_for_function("document.getElementById('version').textContent !== ''")
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", page.locator("#version").inner_text())
    for link in page.locator("footer a").all():
        target = link.evaluate("anchor => anchor.href")
        assert httpx.get(target).status_code == 200, target
