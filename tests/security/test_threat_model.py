"""Every promise of docs/security.md names tests, and each of them exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
MODEL = PAGE.partition("## Threat model")[2].partition("## What listens")[0]
PROMISES = [line for line in MODEL.splitlines() if line.startswith("|") and not re.match(r"\|( promise |---)", line)]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`( \*)?", MODEL)


@cache
def functions_of(file: str) -> dict[str, bool]:
    """The tests of a file, each with whether it needs Ray, by its own marks or those of the file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    marks = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)]
    of_file = any(mark.startswith("pytestmark") and "mark.ray" in mark for mark in marks)
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {
        function.name: of_file or any("mark.ray" in ast.unparse(mark) for mark in function.decorator_list)
        for function in functions
    }


def test_there_are_promises() -> None:
    assert len(PROMISES) > 15


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_names_a_test(promise: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", promise)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name", "star"), sorted(set(NAMED)))
def test_a_named_test_exists_and_is_marked_if_it_needs_a_service(file: str, name: str, star: str) -> None:
    assert name in functions_of(file)
    assert functions_of(file)[name] == bool(star)
