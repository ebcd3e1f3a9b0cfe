"""deployments/environment/ray.env: every variable has an effect in a comment, and missing ones are logged with it."""

import logging
from pathlib import Path

import pytest

import app
from deployments.environment.variables import (
    SHIPPED_FILE,
    Variable,
    cluster_environment,
    explain,
    missing_variables,
    read_variables,
)

SHIPPED = SHIPPED_FILE.read_text(encoding="utf-8")

FILE = """# About the file.

# It is quicker.
RAY_ONE=1
RAY_TWO="a b"

# It is quieter,
# much.
RAY_THREE_BINARY_PATH=tool
"""
ONE = Variable("RAY_ONE", "1", "It is quicker.")
TWO = Variable("RAY_TWO", "a b", "It is quicker.")
THREE = Variable("RAY_THREE_BINARY_PATH", "tool", "It is quieter, much.")


def test_a_comment_belongs_to_the_lines_below_it() -> None:
    assert read_variables(FILE) == [ONE, TWO, THREE]


def test_every_shipped_variable_has_an_effect() -> None:
    variables = read_variables(SHIPPED)
    assert len(variables) >= 10
    assert [variable.name for variable in variables if len(variable.effect) < 20] == []


def test_another_value_is_not_missing() -> None:
    assert missing_variables([ONE, TWO], {"RAY_ONE": "0"}) == [TWO]


def test_missing_variables_are_grouped_by_effect() -> None:
    assert explain([ONE, TWO, THREE]).splitlines()[1:] == [
        "  RAY_ONE=1 RAY_TWO=a b: It is quicker.",
        "  RAY_THREE_BINARY_PATH=tool: It is quieter, much.",
    ]


def test_the_callers_environment_wins() -> None:
    environment = cluster_environment([ONE, THREE], {"RAY_ONE": "0", "HOME": "/h"}, programs=Path("/venv/bin"))
    assert environment == {
        "RAY_ADDRESS": "local",
        "RAY_ONE": "0",
        "HOME": "/h",
        "RAY_THREE_BINARY_PATH": "/venv/bin/tool",
    }


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy", "grpc_proxy"])
def test_a_proxy_of_the_environment_gets_no_call_within_the_machine(name: str) -> None:
    proxied = {name: "http://proxy:3128", "no_proxy": "example.com"}
    environment = cluster_environment([], proxied, programs=Path("/venv/bin"))
    for variable in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        assert {"example.com", "localhost", "127.0.0.1", "::1"} <= set(environment[variable].split(","))
    assert environment[name] == "http://proxy:3128"  # other hosts are still reached through it


def test_a_program_that_is_given_by_its_path_stays() -> None:
    own = Variable("RAY_SERVE_HAPROXY_BINARY_PATH", "/usr/sbin/haproxy", "")
    assert cluster_environment([own], {}, programs=Path("/venv/bin"))[own.name] == "/usr/sbin/haproxy"


class Kept(logging.Handler):
    """Collects messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.mark.parametrize("lacking", [(), ("RAY_worker_niceness", "RAY_SERVE_ENABLE_HA_PROXY")])
def test_the_application_logs_missing_variables(monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, ...]) -> None:
    for variable in read_variables(SHIPPED):
        if variable.name in lacking:
            monkeypatch.delenv(variable.name, raising=False)
        else:
            monkeypatch.setenv(variable.name, variable.value)
    kept = Kept()
    app.logger.addHandler(kept)
    try:
        app.log_missing_variables()
    finally:
        app.logger.removeHandler(kept)
    assert len(kept.messages) == bool(lacking)
    assert all(name in kept.messages[0] for name in lacking)
