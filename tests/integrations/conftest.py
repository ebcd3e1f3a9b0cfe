"""Real client libraries against the running application, over HTTP.

They need a separate environment (requirements-clients.txt), without torch and without Trivet:

    TRIVET_PYTHON=.venv/bin/python .venv-clients/bin/python -m pytest tests/integrations   starts a server
    .venv-clients/bin/python -m pytest tests/integrations --base-url http://127.0.0.1:8000  uses a running one

If the client libraries are not installed, nothing here is collected.
"""

import importlib.util
import os
import subprocess
from collections.abc import Iterator

import pytest

if importlib.util.find_spec("litellm") is None:
    collect_ignore_glob = ["test_*.py"]

# No telemetry, and no price lists from the internet.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_DISABLE_TELEMETRY": "1"}

STARTING_TAKES_S = 600  # the first start converts three models


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--base-url", help="a running Trivet; without it one is started by $TRIVET_PYTHON")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "clients: needs the client libraries of requirements-clients.txt")


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest) -> Iterator[str]:
    given = request.config.getoption("--base-url")
    if given:
        yield given.rstrip("/")
        return
    python = os.environ.get("TRIVET_PYTHON")
    if not python:
        pytest.fail("give --base-url, or TRIVET_PYTHON: the interpreter that Trivet is installed for")
    with subprocess.Popen(
        [python, "-m", "tests.integrations.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address.startswith("http://"), f"the server did not start (exit code {server.poll()})"
        yield address
        server.stdin.close()  # which stops it
