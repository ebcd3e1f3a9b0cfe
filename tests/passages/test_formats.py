"""What a text is written in, by its path, its kind, or its look."""

import pytest

from trivet.passages import format_of
from trivet.passages.program import looks_like_program


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/app.py", "python"), ("C:\\src\\App.TSX", "tsx"), ("a.h", "cpp"), ("Gemfile", "ruby"), (".py", "lines"),
        ("README", "markdown"), ("x.md", "markdown"), ("docs/index.rst", "rst"), ("LICENSE", "plain"),
        ("Makefile", "lines"), (".gitignore", "lines"), ("data.yaml", "lines"), ("archive.tar.unknown", "lines"),
    ],
)  # fmt: skip
def test_by_path(path: str, expected: str) -> None:
    assert (
        format_of("target: x\n\tcc x\n", path) == expected
        if path == "Makefile"
        else format_of("a b c", path) == expected
    )


def test_by_kind() -> None:
    assert format_of("x", None, "rust") == "rust"
    assert format_of("x", "x.py", "prose") == "markdown"
    assert format_of("x", "x.rst", "prose") == "rst"
    assert format_of("x", "x.py", "code") == "python"
    assert format_of("x", "x.md", "code") == "lines"
    with pytest.raises(ValueError, match="kind is 'novel'; it may be code, prose or one of bash, c, cpp"):
        format_of("x", None, "novel")


def test_by_the_program_that_its_first_line_names() -> None:
    assert format_of("#!/usr/bin/env python3\nimport os\n", "tool") == "python"
    assert format_of("#!/bin/sh\n", None) == "bash"
    assert format_of("#!/usr/bin/env -S node --flag\n", "tool") == "javascript"
    assert format_of("#!/usr/bin/perl\n", "tool") == "lines"


def test_by_look() -> None:
    assert format_of("Retries happen three times.\nThen the call fails.\n") == "markdown"
    assert (
        format_of("def retry(call):\n    for attempt in range(3):\n        call()\n    raise Failed(call)\n") == "lines"
    )
    assert format_of("int main() {\n  return 0;\n}\n") == "lines"
    assert format_of("") == "markdown"


PYTHON = '''"""Says what this module is for, in a sentence that reads like prose."""

from shapes.circle import Circle


def area(circle: Circle) -> float:
    """Compute the area of a circle, which is what its name says."""
    return circle.ratio / 2 * circle.radius**2
'''


@pytest.mark.parametrize(
    "text",
    [
        PYTHON,
        "    def middle(self) -> int:\n        return self.start\n\n    def end(self):\n        return self.stop\n",
        "import { Circle } from './circle'\n\nexport const ratio = 6.28\n",
        "#include <math.h>\n\n/* A comment that explains at length what the next line does. */\nfloat ratio;\n",
        "package shapes\n\nfunc Area(r float64) float64 {\n\treturn r\n}\n",
    ],
)
def test_a_program_is_known_by_what_it_imports_and_defines(text: str) -> None:
    assert looks_like_program(text)
    assert format_of(text) == "lines"


@pytest.mark.parametrize(
    "text",
    [
        "class action suits, which many people join,\nare rare in this country and take years to end.\n",
        "Import the file first.\nThen read what it says about the release.\n",
        f"# Areas\n\nA circle has one:\n\n```python\n{PYTHON}```\n",
        f"Areas\n=====\n\nA circle has one::\n\n{PYTHON}",
        "name: circle\nratio: 6.28\n",
        '{"import": "circle", "class": ["area"]}\n',
        "The next line is quoted from a file of the package that this note is about:\n"
        "from shapes.circle import Circle\nand with it every sentence here has become longer than a line of code.\n",
    ],
)
def test_prose_and_data_are_no_program(text: str) -> None:
    assert not looks_like_program(text)
