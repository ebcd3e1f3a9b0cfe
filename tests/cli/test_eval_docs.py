"""Checks docs/evaluation.md: its commands run, and its descriptions of the sets and the columns are correct."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dispatcher import FakeDispatcher
from tests.support.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.evaluation.bundled import BUNDLED
from trivet.evaluation.report import FIGURES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text()
COMMANDS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
INSTALL = "pip install"

pytestmark = pytest.mark.slow  # every block starts an interpreter


def rows(first_header: str) -> list[str]:
    """First cells of the table whose first column has this header."""
    table = PAGE.split(f"| {first_header} |")[1].split("\n\n")[0]
    return [line.strip("|").split("|")[0].strip(" `") for line in table.splitlines()[2:]]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    with served(create_app(FakeDispatcher(), ApiSettings())) as url:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        yield {**os.environ, "TRIVET_URL": url, "PATH": path, "COLUMNS": "200"}


@pytest.mark.parametrize("commands", [block for block in COMMANDS if INSTALL not in block])
def test_commands_run(commands: str, environment: dict[str, str], tmp_path: Path) -> None:
    script = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(script, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    if "--json" in commands:
        [line] = (tmp_path / "figures.jsonl").read_text().splitlines()
        assert list(json.loads(line)) == [
            *("service", "set", "way", "items", "accuracy", "macro-F1", "ECE", "p50_ms", "p95_ms", "item_ms")
        ]
    else:
        assert "p50 ms" in done.stdout


def test_the_sets_and_figures_on_the_page_exist() -> None:
    assert tuple(rows("`--set`")) == BUNDLED
    assert all(figure in PAGE for figure in FIGURES)
    [install] = [block for block in COMMANDS if INSTALL in block]
    assert re.search(r"^eval = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert "trivet[eval]" in install


def test_the_starter_models_in_this_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trivet", "eval", "--config", "serve_config.yaml", "--limit", "5", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["service"] for line in lines} == {"serve_config.yaml"}
    [embedder] = [line for line in lines if line["way"] == "embedder"]
    assert embedder["MRR"] > 0.5  # five questions over 600 sentences; chance is 0.01
