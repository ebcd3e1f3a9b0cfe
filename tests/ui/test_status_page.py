"""What the page says of the service: in a real browser, over the real VRAM policy and a simulated GPU."""

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


def say(page: "Page", selector: str, text: str) -> None:
    """Wait until an element says it."""
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_contain_text(text, timeout=20_000)


def test_everything_on_a_simulated_gpu_and_it_is_called_simulated(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "#headline", "All three models answer on the simulated GPU.")
    say(page, ".memory .badge", "simulated")
    say(page, ".memory .note", "This GPU is simulated")
    say(page, ".memory .legend", "Other programs 512 MiB")
    assert "free" in (page.locator(".memory .bar").get_attribute("aria-label") or "")
    for task in ("embedder", "reranker", "classifier"):
        say(page, f'.model[data-of="{task}"] .pill', "on the simulated GPU")
    say(page, "#reroutes", "None since the service started")


def test_a_newcomer_learns_why_a_request_went_to_the_cpu(
    open_page: OpenPage, dispatcher: SimulatedDispatcher, url: str
) -> None:
    page = open_page()
    say(page, "#headline", "on the simulated GPU")
    dispatcher.squeeze()
    httpx.post(f"{url}/v1/embeddings", json={"input": "where am I?"}).raise_for_status()

    say(page, "#headline", "All three models answer on the CPU.")
    say(
        page,
        "#why",
        "The simulated GPU has too little free memory (a model needs at least 500 MiB)",
    )
    say(page, "#why", "once 1 GiB is free")
    say(page, '.model[data-of="embedder"] .pill', "on the CPU")
    say(page, '.model[data-of="embedder"] .model-words', "500 MiB needed: moved to cpu")
    say(page, "#reroutes tbody", "500 MiB needed: moved to cpu")

    page.click("#rerank-form button")
    say(page, "#rerank-outcome .route-why", "Moved from the simulated GPU, because: reranker: 0 B free, 500 MiB needed")
    say(page, "#reroutes tbody", "Reranker")

    dispatcher.release()
    say(page, "#headline", "All three models answer on the simulated GPU.")
    page.click("#rerank-form button")
    say(page, "#rerank-outcome .pill", "simulated:0 (a simulated GPU)")


def test_there_are_words_for_every_cause(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(".memory")
    said = page.evaluate(
        """async (causes) => {
          const { why } = await import("./words.js");
          const status = await (await fetch("../v1/status")).json();
          return causes.map((cause) => why({ cause }, { ...status, cpu_only_reason: "no words" }));
        }""",
        list(get_args(Cause)),
    )
    assert "no words" not in said
    assert len(set(said)) == len(get_args(Cause))
    assert all("simulated GPU" in sentence for sentence in said)


def test_the_rules_are_told_with_the_services_own_numbers(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector("#rules summary")
    page.locator("#rules summary").focus()
    page.keyboard.press("Enter")
    say(page, "#rules-body", "less than 500 MiB of GPU memory available leaves the GPU at once")


def test_without_a_gpu_it_says_so_and_shows_no_gpu(open_page: OpenPage) -> None:
    with served(create_app(FakeDispatcher(), ApiSettings())) as base:
        page = open_page(base)
        say(page, "#headline", "All three models answer on the CPU.")
        say(page, "#why", "the fake dispatcher has no GPU")
        say(page, "#reroutes", "there is no GPU lane to move away from")
        assert page.locator(".memory").count() == 0


def test_sparklines_follow_the_traffic(open_page: OpenPage, url: str) -> None:
    page = open_page()
    spark = page.locator('.model[data-of="embedder"] .spark svg').first
    spark.wait_for()
    assert spark.get_attribute("aria-label") == "Requests a second: nothing in the last two minutes"
    for _ in range(5):
        httpx.post(f"{url}/v1/embeddings", json={"input": "a"}).raise_for_status()
    page.wait_for_function(
        """() => /at most/.test(document.querySelector('.model[data-of="embedder"] .spark svg').ariaLabel)"""
    )
    say(page, '.model[data-of="embedder"] .facts', "5 requests")


def test_a_lost_service_is_said_and_found_again(open_page: OpenPage) -> None:
    page = open_page(expect_errors=True)  # Chromium itself reports requests that fail
    say(page, "#live-text", "live")
    page.route("**/v1/status", lambda route: route.abort())
    say(page, "#live-text", "no answer")
    say(page, "#why", "What you see is from")
    page.unroute("**/v1/status")
    say(page, "#live-text", "live")
    say(page, "#headline", "simulated GPU")


def test_a_key_is_asked_for_and_used(open_page: OpenPage) -> None:
    keys = KeyRing.parse(f"someone {hash_key('tvt_secret')}", origin="test")
    with served(create_app(FakeDispatcher(), ApiSettings(keys=keys))) as base:
        page = open_page(base, expect_errors=True)
        say(page, "#headline", "The service asks for a key.")
        page.fill("#key", "tvt_secret")
        page.keyboard.press("Enter")
        say(page, "#headline", "All three models answer on the CPU.")
        assert page.locator("#key-form").is_hidden()
        page.click("#rerank-form button")
        page.wait_for_selector("#rerank-outcome .ranking")


def test_the_theme_goes_round_and_is_kept(open_page: OpenPage) -> None:
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
    say(page, "#headline", "simulated GPU")
    dispatcher.squeeze()
    for tab, form in (("rerank", "rerank"), ("relate", "relate"), ("classify", "classify")):
        page.click(f"#tab-{tab}")
        page.click(f"#{form}-form button")
        page.wait_for_selector(f"#{form}-outcome .route")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_the_whole_page_by_keyboard(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "#headline", "simulated GPU")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("#tab-rerank").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-relate"
    assert page.locator("#panel-relate").is_visible()
    page.keyboard.press("End")
    assert page.locator("#panel-classify").is_visible()
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
