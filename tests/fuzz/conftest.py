"""Collected only where TRIVET_FUZZ_CASES says how many requests to make up: it takes minutes, and schemathesis."""

import os

import pytest

if "TRIVET_FUZZ_CASES" not in os.environ:
    collect_ignore_glob = ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fuzz: requests made up from the OpenAPI schema (TRIVET_FUZZ_CASES of them)")
