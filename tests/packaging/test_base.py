"""The base installation has neither numpy nor the server: what needs them says so in a line, everything else works."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from trivet.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def only_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds links to the modules of the base's distributions, with all that they require."""
    folder = tmp_path_factory.mktemp("base")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [Requirement(line).name for line in project["dependencies"]]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")}:
            (folder / top).symlink_to(str(installed.locate_file(top)))
        requirements = map(Requirement, installed.requires or ())
        waiting += [each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    return folder


PROGRAM = """
import json, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
import trivet.client
from trivet.cli import main
for arguments in json.load(sys.stdin):
    out, err, code = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(arguments, prog_name="trivet")
        except SystemExit as ended:
            code = ended.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""
"""Runs every command line of stdin, and prints its exit code and its output: one process, since each takes a second."""

WITHOUT_EXTRA = {
    ("serve",): "serve",
    ("stop",): "serve",
    ("index", "a.txt", "--out", "index.jsonl"): "index",
    ("mcp",): "mcp",
    ("eval",): "eval",
}
WORKING = (("key", "ann"), ("plan", "--preset", "8gb"), ("init",))
HELP = [(entry.name, "--help") for entry in COMMANDS if entry.extra not in ("index", "mcp")]
"""The modules of the others import what their extra brings."""
EMBEDDING = ("embed", "a.txt", "--out", "v.jsonl", "--url", "http://127.0.0.1:9", "--timeout", "0.1")

Outcome = tuple[int, str, str]
"""Exit code, stdout and stderr."""


@pytest.fixture(scope="module")
def outcomes(only_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Outcome]:
    """What each command line does, in an empty folder, with the base and the package `trivet` and nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "a.txt").write_text("a text")
    lines: list[tuple[str, ...]] = [*WITHOUT_EXTRA, *WORKING, *HELP, EMBEDDING]
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM],
        cwd=folder,
        env={"PYTHONPATH": f"{only_base}{os.pathsep}{ROOT}", "COLUMNS": "200", "HOME": str(folder)},
        input=json.dumps(lines),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {line: tuple(json.loads(out)) for line, out in zip(lines, done.stdout.splitlines(), strict=True)}


@pytest.mark.slow
def test_what_needs_no_server_works(outcomes: dict[tuple[str, ...], Outcome]) -> None:
    """The import of the client too, which the program begins with."""
    assert {line: outcomes[line] for line in (*WORKING, *HELP) if outcomes[line][0]} == {}


def test_embedding_a_file_needs_no_numpy(outcomes: dict[tuple[str, ...], Outcome]) -> None:
    code, _, error = outcomes[EMBEDDING]
    assert code == 1
    assert "127.0.0.1:9" in error or "no answer within" in error


@pytest.mark.parametrize("line", WITHOUT_EXTRA, ids=lambda line: line[0])
def test_a_command_without_its_extra_says_how_to_install_it(
    line: tuple[str, ...], outcomes: dict[tuple[str, ...], Outcome]
) -> None:
    code, _, error = outcomes[line]
    assert code == 1
    assert f"pip install 'trivet[{WITHOUT_EXTRA[line]}]'" in error
    assert len(error.strip().splitlines()) == 1


def test_every_line_of_the_help_fits_a_terminal() -> None:
    assert [entry.name for entry in COMMANDS if len(entry.summary) > 66] == []
