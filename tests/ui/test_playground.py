"""The playground: requests, results and failures."""

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ui.conftest import OpenPage
from tests.ui.simulated import SimulatedDispatcher
from trivet.errors import Overloaded
from trivet.messages import ClassifyRequest, RerankRequest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def texts(page: "Page", selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_text_contents()]


def test_documents_are_sorted_with_bars(open_page: OpenPage, dispatcher: SimulatedDispatcher) -> None:
    page = open_page()
    page.fill("#rerank-query", "red green blue")
    page.fill("#rerank-documents", "nothing in common\nred and green\nred green blue all")
    page.click("#rerank-form button")
    page.wait_for_selector("#rerank-outcome .ranking")
    assert texts(page, "#rerank-outcome .text") == ["red green blue all", "red and green", "nothing in common"]
    widths = page.locator("#rerank-outcome .meter i").evaluate_all("all => all.map(one => one.offsetWidth)")
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[1]
    (request,) = [request for request in dispatcher.requests if isinstance(request, RerankRequest)]
    assert len(request.documents) == 3


def test_blank_lines_separate_documents_of_several_lines(open_page: OpenPage, dispatcher: SimulatedDispatcher) -> None:
    page = open_page()
    page.fill("#rerank-documents", "def one():\n    return 1\n\ndef two():\n    return 2\n")
    page.click("#rerank-form button")
    page.wait_for_selector("#rerank-outcome .ranking")
    (request,) = [request for request in dispatcher.requests if isinstance(request, RerankRequest)]
    assert request.documents == ("def one():\n    return 1", "def two():\n    return 2")


def test_pasted_text_is_not_cached(open_page: OpenPage) -> None:
    page = open_page()
    with page.expect_request("**/v1/rerank") as sent:
        page.click("#rerank-form button")
    assert sent.value.headers["cache-control"] == "no-store"


def test_pasted_markup_stays_text(open_page: OpenPage) -> None:
    page = open_page()
    page.fill("#rerank-documents", "<img src=x onerror=alert(1)>\n<b>bold</b>")
    page.click("#rerank-form button")
    page.wait_for_selector("#rerank-outcome .ranking")
    assert sorted(texts(page, "#rerank-outcome .text")) == ["<b>bold</b>", "<img src=x onerror=alert(1)>"]


@pytest.mark.parametrize("width", [1180, 360])
def test_a_source_and_its_candidates_are_shown_as_graph_and_table(open_page: OpenPage, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    page.click("#tab-relate")
    page.click("#relate-form button")
    page.wait_for_selector("#relate-outcome .graph svg")
    candidates = page.locator("#relate-candidates").input_value().strip().splitlines()
    assert page.locator("#relate-outcome .edge").count() == len(candidates)
    assert page.locator('#relate-outcome .node[data-role="source"]').count() == 1
    assert "The table below shows the same" in (
        page.locator("#relate-outcome svg[role=img]").get_attribute("aria-label") or ""
    )
    assert sorted(texts(page, "#relate-outcome tbody td.wide")) == sorted(candidates)
    # Boxes are inside the drawing and do not overlap.
    boxes = page.locator("#relate-outcome .node rect").evaluate_all(
        "all => all.map(one => { const {x, y, width, height} = one.getBBox(); return [x, y, x + width, y + height]; })"
    )
    drawing = page.locator("#relate-outcome .graph svg").evaluate("one => one.viewBox.baseVal.width")
    assert all(left >= 0 and right <= drawing for left, _, right, _ in boxes)
    for at, (left, top, right, bottom) in enumerate(boxes):
        for other_left, other_top, other_right, other_bottom in boxes[at + 1 :]:
            assert right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top


def test_a_graph_is_redrawn_at_another_width(open_page: OpenPage) -> None:
    page = open_page()
    page.click("#tab-relate")
    page.click("#relate-form button")
    page.wait_for_selector("#relate-outcome .graph svg")
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_function("document.querySelector('#relate-outcome .graph svg').viewBox.baseVal.width < 400")


def test_files_are_related_with_their_paths(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "area.py").write_text("from circle import ratio\r\n\r\nprint(ratio)\r\n")
    (tmp_path / "circle.py").write_text("ratio = 3.14\n")
    (tmp_path / "other.py").write_text("def fold(paper):\n    return paper\n")
    (tmp_path / "drawing.svg").write_text("<svg/>")
    page = open_page()
    page.click("#tab-relate")
    page.set_input_files("#relate-source-file", tmp_path / "area.py")
    page.set_input_files("#relate-files", [tmp_path / name for name in ("circle.py", "other.py", "drawing.svg")])
    page.wait_for_selector("#relate-candidates", state="hidden")
    assert texts(page, "#relate-chosen p") == ["2 files: circle.py and other.py", "Skipped: 1 pictures."]
    page.wait_for_function("document.querySelector('#relate-source').value.startsWith('from circle')")
    with page.expect_request("**/v1/relations") as sent:
        page.click("#relate-form button[type=submit]")
    body = json.loads(sent.value.post_data or "")
    assert (body["source_path"], body["candidate_paths"]) == ("area.py", ["circle.py", "other.py"])
    page.wait_for_selector("#relate-outcome .graph svg")
    assert texts(page, "#relate-outcome tbody td.wide") == ["circle.py"]
    assert texts(page, "#relate-outcome > .hint") == ["1 candidate of code that the source does not use: not read."]

    # An edited text is not the file's, and removed files give the text area back.
    page.fill("#relate-source", "from circle import ratio")
    page.click("#relate-chosen button")
    with page.expect_request("**/v1/relations") as sent:
        page.click("#relate-form button[type=submit]")
    body = json.loads(sent.value.post_data or "")
    assert not {"source_path", "candidate_paths"} & body.keys()
    assert len(body["candidates"]) == 4


def test_a_source_that_is_no_text_is_refused_in_place(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 \xff\xfe")
    page = open_page()
    page.click("#tab-relate")
    page.set_input_files("#relate-source-file", tmp_path / "latin.txt")
    page.wait_for_function("document.querySelector('#relate-source').validationMessage !== ''")
    message = page.locator("#relate-source").evaluate("one => one.validationMessage")
    assert message == "The file is not used: 1 not text."
    page.fill("#relate-source", "a text")
    assert page.locator("#relate-source").evaluate("one => one.validationMessage") == ""


def test_one_file_is_not_enough(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("alone")
    page = open_page()
    page.click("#tab-files")
    page.set_input_files("#files-pick", tmp_path / "one.txt")
    page.wait_for_selector("#files-outcome .empty")
    assert texts(page, "#files-outcome .empty") == ["At least two text files are needed to relate them."]


def test_a_text_is_classified_by_labels_of_the_users_choice(
    open_page: OpenPage, dispatcher: SimulatedDispatcher
) -> None:
    page = open_page()
    page.click("#tab-classify")
    page.fill("#classify-labels", "praise,  bug report , praise")
    page.check("#classify-multi")
    page.click("#classify-form button")
    page.wait_for_selector("#classify-outcome .ranking")
    assert sorted(texts(page, "#classify-outcome .text")) == ["bug report", "praise"]
    (request,) = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
    assert request.multi_label
    assert list(request.hypotheses) == ["praise", "bug report"]


def test_texts_are_compared_in_a_matrix(open_page: OpenPage) -> None:
    page = open_page()
    page.click("#tab-embed")
    page.fill("#embed-texts", "red green\nred green blue\nsomething else")
    page.click("#embed-form button")
    page.wait_for_selector("#embed-outcome .matrix")
    rows = [[float(value) for value in row.split()] for row in texts_of_rows(page)]
    assert [rows[at][at] for at in range(3)] == [1, 1, 1]
    assert rows[0][1] == rows[1][0] > 0.5 > rows[0][2]
    shares = page.locator("#embed-outcome td[style]").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert shares[0] == shares[4] != shares[2]


def texts_of_rows(page: "Page") -> list[str]:
    return page.locator("#embed-outcome tbody tr").evaluate_all(
        "all => all.map(row => [...row.querySelectorAll('td')].map(cell => cell.textContent).join(' '))"
    )


def test_a_request_can_be_copied_as_curl(open_page: OpenPage, url: str) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#rerank-query", "it's red")
    page.fill("#rerank-documents", "red\nblue")
    page.click("#rerank-form button")
    page.click("#rerank-outcome >> text=Copy as curl")
    page.wait_for_selector("#rerank-outcome .copied:has-text('Copied.')")
    command = page.evaluate("navigator.clipboard.readText()")
    answered = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30)
    assert [result["index"] for result in json.loads(answered.stdout)["results"]] == [0, 1]


def test_a_refusal_is_shown_as_a_sentence_and_the_form_works_again(
    open_page: OpenPage, dispatcher: SimulatedDispatcher
) -> None:
    page = open_page(expect_errors=True)
    page.wait_for_selector(".model-words", state="attached")
    dispatcher.error = Overloaded("12 tokens wait already", retry_after_s=3.0)
    page.click("#rerank-form button")
    page.wait_for_selector("#rerank-outcome [role=alert]")
    assert "The service is busy: 12 tokens wait already" in page.locator("#rerank-outcome [role=alert]").inner_text()
    assert "Try again in 3 s." in page.locator("#rerank-outcome [role=alert]").inner_text()
    dispatcher.error = None
    page.click("#rerank-form button")
    page.wait_for_selector("#rerank-outcome .ranking")
