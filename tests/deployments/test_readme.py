"""README's commands are run, and what it shows of their output is compared with what came back."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deployments.conftest import Client, Run

pytestmark = pytest.mark.ray

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
EXAMPLE = re.compile(r"```bash\n(curl .*?)```\n```json\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(README)

VOLATILE = {"id", "timings_ms", "embedding", "revision", "precision", "device", "created"}
"""Fields whose value differs from run to run or from machine to machine; they must be there all the same."""
SCORES = {"relevance_score", "score", "confidence", "relevance", "scores"}


@pytest.fixture(scope="module")
def client(run_app: Run) -> Client:
    return run_app("readme", device="cpu")


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


def test_the_configuration_table_tells_the_defaults() -> None:
    import yaml

    config = yaml.safe_load((Path(__file__).parent.parent.parent / "serve_config.yaml").read_text())
    args = config["applications"][0]["args"]
    rows = re.findall(r"^\| (`[a-z_.]+`.*?) \| `?(.*?)`? \|", README, re.MULTILINE)
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
