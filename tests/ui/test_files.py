"""The Files tab: a folder becomes a graph with evidence, filters and downloads; an exported file draws the same."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.folders.streams import OVERLOADED, SUMMARY, Line, done, edge
from tests.ui.conftest import PHONE, OpenPage

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)></script>{{data}}"


class Answers:
    """Answers the page's requests of `/v1/graph`, one after the other; records their bodies."""

    def __init__(self, page: "Page", *answers: list[Line]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._left = list(answers)
        page.route("**/v1/graph", self._answer)

    def _answer(self, route: "Route") -> None:
        self.bodies.append(json.loads(route.request.post_data or ""))
        lines = "".join(f"{json.dumps(line)}\n" for line in self._left.pop(0))
        route.fulfill(status=200, content_type="application/x-ndjson", body=lines)


def lines_of(count: int) -> list[Line]:
    """A chain of relations between that many files, the last ones less confident."""
    found: list[Line] = [{"event": "progress", "stage": "embed", "done": 1, "total": count}]
    for at in range(count - 1):
        relation = "contradiction" if at % 5 == 0 else "dependency"
        found += [edge(f"f{at:03}.py", f"f{at + 1:03}.py", relation, 0.951 - 0.5 * at / count), done(f"f{at:03}.py")]
    return [*found, done(f"f{count - 1:03}.py"), SUMMARY]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for at in range(4):
        (folder / f"f{at:03}.py").write_text(f"text {at}")
    return folder


def texts(page: "Page", selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_text_contents()]


def relate(page: "Page", folder: Path) -> None:
    page.click("#tab-files")
    page.set_input_files("#files-folder", folder)
    page.wait_for_selector("#files-outcome .graph-drawing svg")


def test_a_folder_becomes_a_graph(open_page: OpenPage, notes: Path) -> None:
    (notes / "picture.png").write_bytes(b"\x89PNG\x00\xff")
    (notes / "drawing.svg").write_text("<svg/>")
    (notes / "rows.csv").write_text("1,2")
    (notes / "latin.txt").write_bytes(b"caf\xe9 \xff\xfe")
    (notes / "empty.txt").write_text("")
    (notes / ".hidden").write_text("secret")
    (notes / "f001.py").write_bytes("\ufefftext 1 é".encode("utf-16-le"))
    (notes / "f002.py").write_bytes("\ufefftext 2 é".encode("utf-16-be"))
    page = open_page()
    refused: Line = {"event": "refused_document", "id": "f003.py", "index": 3, "error": {"message": "too long"}}
    answers = Answers(page, [refused, *lines_of(3)])
    relate(page, notes)
    assert texts(page, "#files-outcome .graph-drawing .node text") == ["f000.py", "f001.py", "f002.py"]
    hints = texts(page, "#files-outcome > .hint")
    assert hints == ["Skipped: 1 hidden, 2 pictures, 1 data, 1 not text, and 1 empty."]
    assert texts(page, "#files-outcome .refused li") == ["f003.py: too long"]
    assert texts(page, "#files-outcome .edge-count") == [
        "2 of 2 relations between 4 files. 1 without a relation are not drawn."
    ]
    [body] = answers.bodies
    assert body["documents"][0] == {"id": "f000.py", "path": "f000.py", "text": "text 0"}
    assert [document["text"] for document in body["documents"][1:3]] == ["text 1 é", "text 2 é"]
    assert "secret" not in json.dumps(body)


def test_the_page_and_the_service_agree(open_page: OpenPage, notes: Path) -> None:
    """Without a route in between: the requests of the page reach the application."""
    (notes / "f000.py").write_text("from f001 import PI\n\ndef area(r):\n    return PI * r * r\n")
    (notes / "f001.py").write_text("PI = 3.14159\n")
    page = open_page()
    page.click("#tab-files")
    page.set_input_files("#files-folder", notes)
    page.wait_for_selector("#files-outcome .edge-count")
    assert "between 4 files." in texts(page, "#files-outcome .edge-count")[0]


def test_pointing_at_an_edge_shows_its_passages_side_by_side(open_page: OpenPage, notes: Path) -> None:
    page = open_page()
    Answers(page, lines_of(4))
    relate(page, notes)
    page.locator("#files-outcome .edge-hit").first.dispatch_event("pointerenter", {"bubbles": False})
    page.locator("#files-outcome .edge-group").first.dispatch_event("pointerenter")
    page.wait_for_selector("#files-outcome .passages")
    assert texts(page, "#files-outcome .passages pre") == ["text of f000.py", "text of f001.py"]
    assert texts(page, "#files-outcome figcaption") == ["f000.py:1-2", "f001.py:1-2"]
    left, right = (page.locator("#files-outcome figure").nth(at).bounding_box() for at in (0, 1))
    assert left is not None
    assert right is not None
    assert (left["y"], left["x"] + left["width"] <= right["x"]) == (right["y"], True)
    # A chosen row stays, whatever the pointer touches on its way.
    page.locator("#files-outcome .edge-choice").nth(2).click()
    page.locator("#files-outcome .edge-group").first.dispatch_event("pointerenter")
    assert texts(page, "#files-outcome .passages pre") == ["text of f002.py", "text of f003.py"]


def test_edges_are_filtered_by_relation_confidence_and_name(open_page: OpenPage, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for at in range(200):
        (folder / f"f{at:03}.py").write_text(f"text {at}")
    page = open_page()
    Answers(page, lines_of(200))
    relate(page, folder)

    def counted() -> tuple[int, int, str]:
        drawn = page.locator("#files-outcome .edge-group:not([hidden])").count()
        return drawn, page.locator("#files-outcome tbody tr").count(), texts(page, "#files-outcome .edge-count")[0]

    assert counted() == (199, 199, "199 of 199 relations between 200 files.")
    page.locator("#files-outcome .relation-filter input").first.uncheck()
    assert counted()[:2] == (159, 159) or counted()[:2] == (40, 40)
    page.locator("#files-outcome .relation-filter input").first.check()
    page.locator("#files-outcome input[type=range]").evaluate(
        "one => { one.value = 90; one.dispatchEvent(new Event('input')); }"
    )
    assert counted()[0] == 23
    page.fill("#files-outcome input[type=search]", "f00")
    assert counted()[0] == 10
    page.fill("#files-outcome input[type=search]", "nothing")
    assert counted()[:2] == (0, 0)
    assert texts(page, "#files-outcome .edge-table .evidence-hint") == ["No relation passes the filters."]


def test_the_drawing_zooms(open_page: OpenPage, notes: Path) -> None:
    page = open_page()
    Answers(page, lines_of(4))
    relate(page, notes)
    scene = page.locator("#files-outcome .graph-drawing > svg > g")
    assert scene.get_attribute("transform") == "translate(0.00 0.00) scale(1.0000)"
    page.get_by_role("button", name="Zoom in").click()
    assert "scale(1.5000)" in (scene.get_attribute("transform") or "")
    box = page.locator("#files-outcome .graph-drawing > svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.wheel(0, -200)
    page.wait_for_function(
        "!document.querySelector('.graph-drawing > svg > g').getAttribute('transform').includes('1.5000')"
    )
    page.get_by_role("button", name="Show all").click()
    assert scene.get_attribute("transform") == "translate(0.00 0.00) scale(1.0000)"


def test_a_broken_stream_is_continued(open_page: OpenPage, notes: Path) -> None:
    page = open_page()
    first = [edge("f000.py", "f001.py"), done("f000.py"), edge("f001.py", "f002.py")]
    rest = [edge("f001.py", "f002.py"), *(done(f"f00{at}.py") for at in (1, 2, 3)), SUMMARY]
    answers = Answers(page, [*first, OVERLOADED], rest)
    relate(page, notes)
    assert [body.get("done") for body in answers.bodies] == [None, ["f000.py"]]
    assert page.locator("#files-outcome tbody tr").count() == 2


def test_an_error_that_stops_the_run_is_shown(open_page: OpenPage, notes: Path) -> None:
    page = open_page(expect_errors=True)
    Answers(page, [OVERLOADED])
    page.click("#tab-files")
    page.set_input_files("#files-folder", notes)
    page.wait_for_selector("#files-outcome [role=alert]")
    assert texts(page, "#files-outcome [role=alert]") == ["The service stopped: full"]


def test_files_can_be_dropped(open_page: OpenPage) -> None:
    page = open_page()
    Answers(page, [edge("a.txt", "b.txt"), done("a.txt"), done("b.txt"), SUMMARY])
    page.click("#tab-files")
    transfer = page.evaluate_handle(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["the first text"], "a.txt", {type: "text/plain"}));
          transfer.items.add(new File(["the second text"], "b.txt", {type: "text/plain"}));
          return transfer;
        }"""
    )
    page.dispatch_event("#files-drop", "dragover", {"dataTransfer": transfer})
    assert page.locator("#files-drop").get_attribute("data-over") is not None
    page.dispatch_event("#files-drop", "drop", {"dataTransfer": transfer})
    page.wait_for_selector("#files-outcome .graph-drawing svg")
    assert page.locator("#files-drop").get_attribute("data-over") is None


def test_no_state_of_the_graph_has_a_violation(open_page: OpenPage, notes: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for viewport, scheme in ((PHONE, "dark"), ({"width": 1180, "height": 900}, "light")):
        page = open_page(viewport=viewport, scheme=scheme)
        Answers(page, lines_of(4))
        relate(page, notes)
        page.locator("#files-outcome .edge-choice").first.click()
        found = Axe().run(page).response["violations"]
        assert [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]] == []


@pytest.fixture
def hostile_lines() -> list[Line]:
    line = edge("f000.py", "f001.py", relation=HOSTILE)
    line["evidence"][0]["source"]["text"] = HOSTILE
    return [line, *(done(f"f00{at}.py") for at in range(4)), SUMMARY]


def test_downloads_hold_the_graph(open_page: OpenPage, notes: Path, tmp_path: Path, hostile_lines: list[Line]) -> None:
    page = open_page()
    Answers(page, hostile_lines)
    relate(page, notes)
    with page.expect_download() as json_file:
        page.click("#files-outcome >> text=Download JSON")
    assert json.loads(Path(json_file.value.path()).read_text())["edges"][0]["relation"] == HOSTILE
    with page.expect_download() as html_file:
        page.click("#files-outcome >> text=Download HTML")
    html_file.value.save_as(tmp_path / "graph.html")
    check_exported(page, tmp_path / "graph.html", ["text of f001.py"])


def test_the_commands_html_draws_the_same(open_page: OpenPage, tmp_path: Path, hostile_lines: list[Line]) -> None:
    from trivet.client.graph import GraphEdge, event_of
    from trivet.folders.exports import as_html
    from trivet.folders.graph import Graph

    found = event_of(json.dumps(hostile_lines[0]))
    assert isinstance(found, GraphEdge)
    (tmp_path / "graph.html").write_bytes(as_html(Graph(["f000.py", "f001.py", HOSTILE], [found])))
    check_exported(open_page(), tmp_path / "graph.html", ["text of f001.py"])


def check_exported(page: "Page", file: Path, last_texts: list[str]) -> None:
    """The file draws the graph by itself, shows hostile text as text, and requests nothing."""
    other = page.context.new_page()
    problems: list[str] = []
    other.on("console", lambda message: problems.append(message.text))
    other.on("pageerror", lambda error: problems.append(str(error)))
    other.on("dialog", lambda dialog: problems.append("a dialog"))
    other.on("request", lambda request: problems.append(request.url) if not request.url.startswith("file:") else None)
    other.goto(file.as_uri())
    other.wait_for_selector(".graph-drawing svg")
    other.locator(".edge-choice").first.click()
    assert texts(other, ".passages pre") == [HOSTILE, *last_texts]
    assert texts(other, ".edge-choice") == [HOSTILE]
    assert problems == []
    other.close()


def test_a_long_request_is_copied_as_curl_with_its_file(open_page: OpenPage, notes: Path, tmp_path: Path) -> None:
    (notes / "f000.py").write_text("word " * 6000)
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    Answers(page, lines_of(4))
    relate(page, notes)
    with page.expect_download() as downloaded:
        page.click("#files-outcome >> text=Copy as curl")
    downloaded.value.save_as(tmp_path / "request.json")
    page.wait_for_selector("#files-outcome .copied:has-text('request.json')")
    assert "--data-binary @request.json" in page.evaluate("navigator.clipboard.readText()")
    assert len(json.loads((tmp_path / "request.json").read_text())["documents"]) == 4
