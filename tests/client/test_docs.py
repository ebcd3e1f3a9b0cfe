"""Checks docs/client.md: its commands and programs run, and its tables are correct."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dispatcher import FakeDispatcher
from tests.support.serving import served
from trivet import client as package
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.client import ClientError
from trivet.client.errors import Busy, Refused
from trivet.client.retries import Retries
from trivet.folders.searching import candidates_for
from trivet.passages.estimate import PASSAGE_TOKENS

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
INSTALL = "pip install"

pytestmark = pytest.mark.slow  # every block starts interpreters


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def rows(first_header: str) -> list[list[str]]:
    """Cells of the table whose first column has this header."""
    table = PAGE.split(f"| {first_header} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A server, and a folder with the files that the page assumes."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "area.py").write_text("def area(r):\n    return PI * r * r\n")
    (tmp_path / "src" / "numbers.py").write_text("PI = 3.14159\n")
    (tmp_path / "notes.txt").write_text("It fails when the list is empty.\n")
    with served(create_app(FakeDispatcher(), ApiSettings())) as url:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        yield {**os.environ, "TRIVET_URL": url, "PATH": path}


@pytest.mark.parametrize("program", blocks("python"))
def test_programs_run(program: str, environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("commands", [block for block in blocks("bash") if INSTALL not in block])
def test_commands_run(commands: str, environment: dict[str, str], tmp_path: Path) -> None:
    script = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(script, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines() if "trivet search" not in commands else ():
        json.loads(line)


def test_the_extra_on_the_page_exists() -> None:
    [install] = [block for block in blocks("bash") if INSTALL in block]
    [extra] = re.findall(r"trivet\[(\w+)\]", install)
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert re.search(rf"^{extra} = \[", project, re.MULTILINE)


ARGUMENTS = {
    "trivet embed": ["src"],
    "trivet rerank": ["--query", "q", "src"],
    "trivet classify": ["--label", "a", "--label", "b", "src"],
    "trivet relate": ["--source", "src/area.py", "--include-unrelated", "src"],
    "trivet search --json": ["src", "area"],
}


def test_lines_have_the_fields_of_the_table(environment: dict[str, str], tmp_path: Path) -> None:
    table = {row[0].strip("`"): re.findall(r"`(\w+)`", row[1]) for row in rows("command")}
    assert set(table) == set(ARGUMENTS)
    subprocess.run(["trivet", "index", "src"], env=environment, cwd=tmp_path, check=True, timeout=120)
    for command, fields in table.items():
        line = [*command.split(), *ARGUMENTS[command]]
        done = subprocess.run(line, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=120)
        record = json.loads(done.stdout.splitlines()[0])
        assert list(record) == fields, command


def test_every_error_is_in_the_table() -> None:
    exported = {name for name in package.__all__ if isinstance(kind := getattr(package, name), type)
                and issubclass(kind, ClientError) and kind is not ClientError}  # fmt: skip
    assert {row[0].strip("`") for row in rows("error")} == exported
    assert "a `Refused`" in PAGE
    assert issubclass(package.Denied, Refused)
    assert {row[0].strip("`") for row in rows("error") if row[2] == "yes"} == {Busy.__name__, "Unreachable"}


def test_the_numbers_match_the_code() -> None:
    limits, retries = package.BatchLimits(), Retries()
    assert f"{limits.inputs} inputs or {limits.bytes // 1024} KiB" in PAGE
    assert f"double from {retries.wait_initial_s:g} s to {retries.wait_max_s:g} s" in PAGE
    from trivet.cli.mcp import DEFAULT_CALL_TIMEOUT_S

    assert f"at most {PASSAGE_TOKENS} estimated tokens" in PAGE
    assert f"at least {candidates_for(1)})" in PAGE
    assert f'"{DEFAULT_CALL_TIMEOUT_S:g}"' in PAGE
    settings = ApiSettings()
    assert f"at most {settings.max_inputs} and {settings.max_body_bytes // 1024**2} MiB" in PAGE


async def test_the_configuration_for_agents_works(environment: dict[str, str]) -> None:
    mcp = pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
    [configuration] = [json.loads(block) for block in blocks("json")]
    server = configuration["mcpServers"]["trivet"]
    assert "TRIVET_URL" in server["env"]
    command = shutil.which(server["command"], path=environment["PATH"])
    assert command is not None
    parameters = mcp.StdioServerParameters(
        command=command, args=server["args"], env={"TRIVET_URL": environment["TRIVET_URL"]}
    )
    async with mcp.Client(parameters) as client:
        result = await client.call_tool("rerank", {"query": "q", "documents": ["d"]})
    assert not result.is_error
