"""The commands of README and docs are run; the output that README and the quick start show is compared with theirs."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deployments.conftest import Client

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
PAGES_WITH_OUTPUT = (ROOT / "README.md", ROOT / "docs" / "index.md")
EXAMPLE = re.compile(r"```bash\n(curl .*?)```\n```json\n(.*?)```", re.DOTALL)
EXAMPLES = [example for page in PAGES_WITH_OUTPUT for example in EXAMPLE.findall(page.read_text(encoding="utf-8"))]

PAGES_WITH_TESTS = {
    "api.md": "tests/api/test_docs.py",
    "client.md": "tests/client/test_docs.py",
    "evaluation.md": "tests/cli/test_eval_docs.py",
}
"""Pages whose commands another test runs."""
RUN_ELSEWHERE = {
    ".venv/bin/trivet serve configs/8gb.yaml": "needs a GPU and a model hub; tests/deployments/test_serve.py serves",
    ".venv/bin/trivet prepare configs/8gb.yaml": "needs a model hub; tests/cli/test_prepare.py prepares from a folder",
    "ray start --head": "tests/deployments/conftest.py starts a head",
    "ray start --address": "tests/deployments/test_two_nodes.py starts a second node",
    "serve deploy configs/cluster.yaml": "tests/ops/test_kuberay.py reads it; test_two_nodes.py has two nodes",
    "trivet verify": "loads every model twice; tests/evaluation/test_verify.py runs it on a small one",
    "prometheus --config.file": "tests/ops/test_prometheus.py starts it (make test-prometheus)",
}
"""Beginnings of commands that are not run here, and the reason or the test that replaces it."""

VOLATILE = {"id", "timings_ms", "embedding", "revision", "precision", "device", "created"}
"""Fields whose value differs from run to run or from machine to machine; only their presence is checked."""
SCORES = {"relevance_score", "score", "confidence", "relevance", "scores"}


@pytest.fixture
def client(starters: Client) -> Client:
    return starters


def same_shape(shown: Any, actual: Any, where: str = "") -> None:
    """Compare keys and values; scores within the rounding of bf16, volatile fields by type."""
    assert type(shown) is type(actual), where
    if isinstance(shown, dict):
        assert list(shown) == list(actual), where
        for key in shown:
            if key in SCORES and isinstance(shown[key], float):
                assert actual[key] == pytest.approx(shown[key], abs=0.03), f"{where}.{key}"
            elif key not in VOLATILE:
                same_shape(shown[key], actual[key], f"{where}.{key}")
    elif isinstance(shown, list):
        assert len(shown) == len(actual), where
        for index, (a, b) in enumerate(zip(shown, actual, strict=True)):
            same_shape(a, b, f"{where}[{index}]")
    elif isinstance(shown, float):
        assert actual == pytest.approx(shown, abs=0.03), where
    else:
        assert actual == shown, where


def test_there_is_a_curl_for_every_route() -> None:
    routes = {re.search(r"127\.0\.0\.1:8000(/\S+)", command)[1] for command, _ in EXAMPLES}  # type: ignore[index]
    assert routes == {"/v1/embeddings", "/v1/rerank", "/v1/classify", "/v1/relations", "/readyz", "/v1/models"}


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[c.split("8000")[1].split()[0] for c, _ in EXAMPLES])
def test_the_command_answers_as_shown(client: Client, command: str, shown: str) -> None:
    command = command.replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/"))
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=True)
    same_shape(json.loads(shown), json.loads(done.stdout))


def test_the_configuration_table_has_the_defaults() -> None:
    import yaml

    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    args = config["applications"][0]["args"]
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z_.]+`.*?) \| `?(.*?)`? \|", page, re.MULTILINE)
    checked = 0
    for keys, default in rows:
        for key in re.findall(r"`([a-z_.]+)`", keys):
            value: Any = args
            for part in key.split("."):
                value = value[part]
            if isinstance(value, str | int | float):
                assert str(value) == default, key
                checked += 1
    assert checked >= 6


def commands() -> list[tuple[str, str]]:
    """Return (page, command) of every bash or sh block in README and docs, except for `PAGES_WITH_TESTS`."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = []
    for page in pages:
        if page.name in PAGES_WITH_TESTS:
            continue
        for block in re.findall(
            r"^```(?:bash|sh)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            # A command starts in the first column; the lines of a quoted body are indented.
            found += [(page.name, command.strip()) for command in re.split(r"\n(?=\S)", block) if command.strip()]
    return found


def test_the_tests_of_other_pages_exist() -> None:
    for page, test in PAGES_WITH_TESTS.items():
        assert f"docs/{page}" in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "command"), commands(), ids=lambda value: value[:40])
def test_each_command_of_the_documentation_works(client: Client, page: str, command: str) -> None:
    if any(command.startswith(beginning) for beginning in RUN_ELSEWHERE):
        return
    command = command.replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/"))
    command = command.replace("curl ", "curl --fail-with-body ").replace(
        ".venv/bin/", f"{Path(sys.executable).parent}/"
    )
    done = subprocess.run(["bash", "-euc", command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (page, done.stdout, done.stderr)
    assert done.stdout


def test_every_skipped_command_is_still_in_the_documentation() -> None:
    for beginning in RUN_ELSEWHERE:
        assert any(command.startswith(beginning) for _, command in commands()), beginning
