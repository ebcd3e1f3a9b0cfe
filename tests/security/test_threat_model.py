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
def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions}


def test_there_are_promises() -> None:
    assert len(PROMISES) > 15


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_names_a_test(promise: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", promise)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name"), sorted({(file, name) for file, name, _ in NAMED}))
def test_a_named_test_exists(file: str, name: str) -> None:
    assert name in names_in(file)
