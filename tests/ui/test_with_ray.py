"""The page with the whole application (Ray Serve, the starter models, a simulated GPU), and the pictures in docs/img.

`make screenshots` updates the pictures; otherwise they go to a temporary folder and only their size is checked.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.deployments.conftest import Run, cluster, run_app  # noqa: F401  # fixtures
from tests.ui.conftest import PHONE, OpenPage

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.slow]

LARGEST_BYTES = 200_000
WAIT_MS = 240_000
SQUEEZE_BEGINS_S = 75
DOCUMENTS = [
    "Wait a little longer after every failed attempt, then send the request again.",
    "A CSS grid places items in rows and columns.",
    "def fetch(url): return with_backoff(lambda: client.get(url), attempts=5)",
]


@pytest.fixture(scope="module")
def base(run_app: Run) -> str:  # noqa: F811
    client = run_app(
        "page",
        device="simulated",
        simulated={"vram": "8GiB", "external": [[0, "1.2GiB"], [SQUEEZE_BEGINS_S, "7.9GiB"]]},
        vram={"dwell_s": 2, "probe_interval_s": 0.2, "offload_after_s": None},
    )
    return str(client.base_url).rstrip("/")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    wanted = os.environ.get("TRIVET_SCREENSHOTS")
    folder = Path(wanted) if wanted else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ask(base: str) -> None:
    """Send one request of each kind, so that the page has data to show."""
    with httpx.Client(base_url=base, timeout=120, headers={"cache-control": "no-store"}) as client:
        client.post("/v1/embeddings", json={"input": DOCUMENTS}).raise_for_status()
        client.post("/v1/rerank", json={"query": "retry a request", "documents": DOCUMENTS}).raise_for_status()
        body: dict[str, Any] = {"source": DOCUMENTS[0], "candidates": DOCUMENTS[1:]}
        client.post("/v1/relations", json=body).raise_for_status()


def until(base: str, page: "Page", headline: str) -> None:
    """Keep sending requests until the page has this headline."""
    deadline_s = time.monotonic() + WAIT_MS / 1000
    while headline not in page.locator("#headline").inner_text():
        assert time.monotonic() < deadline_s, page.locator("#headline").inner_text()
        ask(base)
        time.sleep(0.5)


def take(page: "Page", file: Path) -> None:
    page.screenshot(path=file)
    assert file.stat().st_size < LARGEST_BYTES


def test_the_page_shows_a_reroute(open_page: OpenPage, base: str, pictures: Path) -> None:
    page = open_page(base, viewport={"width": 1180, "height": 1080})
    page.set_default_timeout(WAIT_MS)
    until(base, page, "All three models run on the simulated GPU.")
    for _ in range(20):
        ask(base)
        time.sleep(0.5)
    page.wait_for_timeout(1500)
    assert "on the simulated GPU" in page.locator("#headline").inner_text()
    take(page, pictures / "ui-light.png")

    until(base, page, "on the CPU.")
    until(base, page, "All three models run on the CPU.")
    for _ in range(10):
        ask(base)
        time.sleep(0.5)
    page.click("#rerank-form button")
    page.wait_for_selector("#rerank-outcome .route-why")
    page.wait_for_selector("#reroutes tbody")
    assert "500 MiB needed: moved to cpu" in page.locator("#reroutes tbody").inner_text()
    page.wait_for_timeout(1500)
    page.evaluate("scrollTo(0, 0)")
    take(page, pictures / "ui-cpu.png")

    dark = open_page(base, viewport={"width": 1180, "height": 1180}, scheme="dark")
    dark.set_default_timeout(WAIT_MS)
    dark.wait_for_selector(".memory")
    dark.click("#tab-relate")
    dark.click("#relate-form button")
    dark.wait_for_selector("#relate-outcome .graph svg")
    dark.locator("#playground").evaluate("one => one.scrollIntoView()")
    dark.wait_for_timeout(500)
    take(dark, pictures / "ui-dark.png")

    phone = open_page(base, viewport=PHONE, scale=2)
    phone.wait_for_selector(".memory")
    phone.wait_for_timeout(500)
    take(phone, pictures / "ui-phone.png")
