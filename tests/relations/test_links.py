"""Which document uses what another one defines."""

import re
import time

from trivet.relations.division import Document, divide, whole
from trivet.relations.links import links


def linked(**texts: str) -> set[tuple[str, str]]:
    """The links between files, whose names are given as `folder__file_py`."""
    named = [re.sub(r"_(py|md|ts|js|go)$", r".\1", name).replace("____init__", "/INIT") for name in texts]
    paths = [name.replace("__", "/").replace("INIT", "__init__") for name in named]
    documents = [Document(text, path) for path, text in zip(paths, texts.values(), strict=True)]
    found = links(documents, [divide(document, 200) for document in documents])
    return {(str(documents[link.source].path), str(documents[link.target].path)) for link in found}


def test_python_imports_lead_to_what_defines() -> None:
    assert linked(
        pkg__area_py="from pkg.circle import ratio\n\ndef area(r):\n    return ratio * r * r\n",
        pkg__circle_py="ratio = 3.14159\n",
        other__circle_py="ratio = 2\n",
    ) == {("pkg/area.py", "pkg/circle.py")}


def test_scripts_and_modules_of_a_package() -> None:
    assert linked(
        app_py="from pkg import circle\n\nprint(circle.draw_circle())\n",
        pkg__circle_py="def draw_circle():\n    pass\n",
    ) == {("app.py", "pkg/circle.py")}
    assert linked(
        ui__page_ts="import { drawPage } from './draw'\ndrawPage()\n", ui__draw_ts="export function drawPage() {}\n"
    ) == {("ui/page.ts", "ui/draw.ts")}


def test_an_import_leads_to_files_of_its_own_language() -> None:
    page = "import { table } from '../table.js'\ntable()\n"
    script, python = "export function table() {}\n", "def table():\n    pass\n"
    assert linked(ui__pages__page_js=page, ui__table_js=script, planning__table_py=python) == {
        ("ui/pages/page.js", "ui/table.js")
    }
    assert linked(ui__pages__page_js=page, planning__table_py=python) == set()
    assert linked(app_ts="import { table } from './table'\ntable()\n", table_js=script) == {("app.ts", "table.js")}


def test_a_path_from_the_own_folder_means_one_place() -> None:
    shape = "export function drawShape() {}\n"
    use = "import { drawShape } from '%s'\ndrawShape()\n"
    two = {"ui__shape_ts": shape, "old__shape_ts": shape}
    assert linked(ui__page_ts=use % "./shape", **two) == {("ui/page.ts", "ui/shape.ts")}
    assert linked(ui__page_ts=use % "../old/shape", **two) == {("ui/page.ts", "old/shape.ts")}
    assert linked(ui__page_ts=use % "./none/shape", **two) == set()
    assert linked(ui__page_ts=use % "@/old/shape", **two) == {("ui/page.ts", "old/shape.ts")}
    assert linked(ui__page_ts=use % "./shapes", ui__shapes__index_ts=shape) == {("ui/page.ts", "ui/shapes/index.ts")}
    assert linked(ui__page_ts=use % "./shapes/index.js", ui__shapes__index_ts=shape) == {
        ("ui/page.ts", "ui/shapes/index.ts")
    }


def test_python_imports_from_the_own_package() -> None:
    circle = "def draw_circle():\n    pass\n"
    two = {"pkg__circle_py": circle, "pkg__sub__circle_py": circle}
    one, up = "from .circle import draw_circle\ndraw_circle()\n", "from ..circle import draw_circle\ndraw_circle()\n"
    assert linked(pkg__app_py=one, **two) == {("pkg/app.py", "pkg/circle.py")}
    assert linked(pkg__sub__app_py=one, **two) == {("pkg/sub/app.py", "pkg/sub/circle.py")}
    assert linked(pkg__sub__app_py=up, **two) == {("pkg/sub/app.py", "pkg/circle.py")}
    assert linked(pkg__sub____init___py=one, **two) == {("pkg/sub/__init__.py", "pkg/sub/circle.py")}
    module = "from . import circle\ncircle.draw_circle()\n"
    assert linked(pkg__sub__app_py=module, **two) == {("pkg/sub/app.py", "pkg/sub/circle.py")}


def test_prose_names_only_what_is_distinct() -> None:
    code = "def reading():\n    pass\n\n\ndef read_text():\n    pass\n"
    assert linked(guide_md="Reading is fun.", texts_py=code) == set()
    assert linked(guide_md="Call `read_text` first.", texts_py=code) == {("guide.md", "texts.py")}


def test_a_name_leads_through_the_package_that_exports_it() -> None:
    documents = [
        Document("from pkg import Circle\n\nprint(Circle, Colour)\n", "app.py"),
        Document("from pkg.shapes import Circle\nfrom pkg.colours import Colour\n", "pkg/__init__.py"),
        Document("class Circle:\n    pass\n", "pkg/shapes.py"),
        Document("class Colour:\n    pass\n", "pkg/colours.py"),
    ]
    found = links(documents, [divide(document, 200) for document in documents])
    assert {(link.source, link.target, link.imported) for link in found} == {(0, 2, True), (1, 2, True), (1, 3, True)}


def test_where_uses_need_imports_an_equal_name_is_a_coincidence() -> None:
    definition = "def read_text():\n    pass\n"
    assert linked(files_py="path.read_text()\n", texts_py=definition) == set()
    assert linked(main_go="func main() { ReadText() }\n", texts_go="func ReadText() {}\n") == {("main.go", "texts.go")}


def test_a_link_knows_whether_an_import_proves_it() -> None:
    documents = [
        Document("from circle import ratio_of\n\nratio_of()\n", "area.py"),
        Document("Call `ratio_of` first.", "guide.md"),
        Document("def ratio_of():\n    pass\n", "circle.py"),
    ]
    found = links(documents, [divide(document, 200) for document in documents])
    assert {(link.source, link.target, link.imported) for link in found} == {(0, 2, True), (1, 2, False)}


def test_a_name_that_many_define_links_nothing() -> None:
    one = "def run_all():\n    pass\n"
    assert linked(a_py=one, b_py=one, c_md="Call `run_all`.\n") == set()


def test_a_name_that_many_imported_documents_define_links_nothing() -> None:
    def linked_of(count: int) -> int:
        names = [f"part{number}" for number in range(count)]
        definers = {f"{name}_py": "def run_all():\n    pass\n" for name in names}
        return len(linked(app_py="".join(f"import {name}\n" for name in names) + "run_all()\n", **definers))

    assert (linked_of(8), linked_of(9)) == (8, 0)


def test_passages_that_use_come_before_those_that_import() -> None:
    filler = "\n".join(f"value_{number} = {number}" for number in range(150))
    user = Document(f"from circle import draw_circle\n\n{filler}\n\n\ndef picture():\n    draw_circle(1)\n", "user.py")
    circle = Document("def draw_circle(r):\n    pass\n", "circle.py")
    passages = [divide(document, 200) for document in (user, circle)]
    (link,) = links([user, circle], passages)
    assert "def picture" in passages[0][link.passages[0][0]].text


def unnamed_links(*texts: str) -> dict[tuple[int, int], bool]:
    """The links between texts without paths, and whether an import proves them."""
    documents = [Document(text) for text in texts]
    found = links(documents, [divide(document, 200) for document in documents])
    return {(link.source, link.target): link.imported for link in found}


CIRCLE = "class Circle:\n    pass\n"


def test_without_paths_an_imported_name_leads_to_what_alone_defines_it() -> None:
    use = "from shapes import Circle\n\nprint(Circle())\n"
    assert unnamed_links(use, CIRCLE, "class Square:\n    pass\n") == {(0, 1): True}
    assert unnamed_links(use, CIRCLE, CIRCLE) == {}
    # A module and a local variable have such names, too.
    assert unnamed_links("from shapes import circle\n\nprint(circle)\n", "def circle():\n    pass\n") == {}


def test_without_paths_a_name_that_is_not_imported_is_a_coincidence_where_others_are() -> None:
    definition = "def read_text():\n    pass\n"
    assert unnamed_links("from pathlib import Path\n\nPath().read_text()\n", definition) == {}
    assert unnamed_links("def show():\n    read_text()\n", definition) == {(0, 1): False}
    assert unnamed_links("Call `read_text` first.", definition) == {(0, 1): False}


def test_where_both_texts_have_paths_the_paths_decide() -> None:
    documents = [
        Document("from shapes import Circle\n\nprint(Circle())\n", "app.py"),
        Document(CIRCLE, "other/figures.py"),
    ]
    assert links(documents, [divide(document, 200) for document in documents]) == []


def test_a_name_for_what_is_required_is_no_definition() -> None:
    assert linked(
        classes__range_js="const SemVer = require('./semver')\nvar debug = require('../debug')\ndebug(new SemVer())\n",
        classes__semver_js="class SemVer {\n}\nmodule.exports = SemVer\n",
        debug_js="const debug = (text) => { console.log(text) }\n",
    ) == {("classes/range.js", "classes/semver.js"), ("classes/range.js", "debug.js")}


def test_names_are_imported_over_several_lines_with_comments() -> None:
    assert linked(
        app_py="from pkg import (  # the parts (all)\n    square,\n    circle,\n)\n\nprint(circle.draw_circle())\n",
        pkg__circle_py="def draw_circle():\n    pass\n",
    ) == {("app.py", "pkg/circle.py")}


def test_python_s_library_is_no_file_of_the_folder() -> None:
    own = "def loads():\n    pass\n\n\nclass SimpleNamespace:\n    pass\n"
    assert linked(
        pkg__read_py="import json\nfrom types import SimpleNamespace\n\njson.loads(SimpleNamespace())\n",
        pkg__own_py="from .json import loads\n\nloads()\n",
        pkg__json_py=own,
        pkg__types_py=own,
    ) == {("pkg/own.py", "pkg/json.py")}


def test_brackets_that_do_not_close_take_linear_time() -> None:
    texts = ["from circle import (\n" * 12_000, "def draw_circle():\n    pass\n"]
    before_s = time.process_time()
    assert links([Document(text, "app.py") for text in texts], [(whole(text),) for text in texts]) == []
    assert time.process_time() - before_s < 0.7  # some seconds if the text is searched to its end from each bracket
