"""`empty_cache` on every request stalls requests for up to 20 s: only recovery, offloading and
preparing a replica may call it."""

import ast
from functools import cache
from pathlib import Path

import pytest

import trivet

ROOT = Path(trivet.__file__).parent.parent
ALLOWED = {
    ("trivet/engine/cuda/runner.py", "free_cache"),
    ("trivet/simulation/accelerator.py", "free_cache"),
}
FREE_CACHE_ALLOWED = {
    ("trivet/engine/cuda/backend.py", "_after_oom"),
    ("trivet/engine/cuda/backend.py", "trim"),  # while nothing waits and nothing runs
    ("trivet/engine/cuda/runner.py", "offload"),
    ("trivet/engine/cuda/runner.py", "prepare"),  # before the replica is ready, and after a reload
    ("trivet/engine/cuda/runner.py", "reload"),  # the weights have just come, and no request can be there yet
}


@cache
def calls() -> list[tuple[str, str, str]]:
    """(method, file, function) of every call of a method in the product's code."""
    return [
        (node.func.attr, file.relative_to(ROOT).as_posix(), function.name)
        for file in (*ROOT.glob("trivet/**/*.py"), *ROOT.glob("deployments/**/*.py"))
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]


def callers(method: str) -> set[tuple[str, str]]:
    """(file, function) of every call of a method of that name in the product's code."""
    return {(file, function) for name, file, function in calls() if name == method}


@pytest.mark.slow
def test_one_place_per_device_returns_memory_to_the_driver() -> None:
    assert callers("empty_cache") == ALLOWED


@pytest.mark.slow
def test_and_that_place_is_reached_by_recovery_offloading_and_preparation_alone() -> None:
    assert callers("free_cache") == FREE_CACHE_ALLOWED
