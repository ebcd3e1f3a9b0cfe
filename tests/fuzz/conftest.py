import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fuzz: requests made up from the OpenAPI schema (TRIVET_FUZZ_CASES of them)")
