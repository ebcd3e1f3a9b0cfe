"""The judge of links by import: the syntax tree, and what packages export."""

from pathlib import Path

import pytest

from bench.links import exported, groups, judge, total


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package whose parts import each other by relative and absolute names."""
    (tmp_path / "pkg").mkdir()
    files = {
        "__init__.py": "from pkg.shapes import area_of_circle\n",
        "shapes.py": "from .numbers import CIRCLE_RATIO\n\n\ndef area_of_circle(r):\n    return CIRCLE_RATIO * r * r\n",
        "numbers.py": "CIRCLE_RATIO = 3.14159\n",
        "report.py": "from pkg import area_of_circle\n\nLARGEST_AREA = area_of_circle(9)\n",
        "empty.py": "",
    }
    for name, text in files.items():
        (tmp_path / "pkg" / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("paths", [False, True])
def test_links_are_compared_with_the_syntax_tree(package: Path, paths: bool) -> None:
    counts = judge(package, "pkg", paths=paths)
    assert counts["imports"] == 3
    assert counts["links"] == counts["right"] >= 2
    assert counts["found"] >= 2


def test_what_a_package_exports_is_imported_from_where_it_is() -> None:
    imports = {("a.py", "p/__init__.py"), ("p/__init__.py", "p/b.py"), ("a.py", "c.py"), ("c.py", "d.py")}
    assert exported(imports) == {("a.py", "p/b.py")}


def test_a_file_stands_beside_what_it_imports_and_others() -> None:
    files = [f"{number:02}.py" for number in range(30)]
    imports = {("00.py", file) for file in files[1:11]} | {("01.py", "02.py")}
    beside = dict(groups(imports, files, seed=1))
    assert all(len(set(others)) == 12 and file not in others for file, others in beside.items())
    assert sum(("00.py", other) in imports for other in beside["00.py"]) >= 6
    assert "02.py" in beside["01.py"]


def test_counts_are_added_up() -> None:
    one = {"links": 3, "right": 3, "imports": 4, "found": 2}
    assert total({"a": one, "b": {**one, "right": 1}}) == {
        "links": 6, "right": 4, "imports": 8, "found": 4, "precision": 0.6667, "recall": 0.5,
    }  # fmt: skip
