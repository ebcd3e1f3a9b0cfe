"""What a text is written in, by its path, its kind, or its look."""

import pytest

from trivet.passages import format_of


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
