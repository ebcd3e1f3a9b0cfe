"""Runs the command line in this process, against the real HTTP application on a real port."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.support.shared_app import dispatcher_fixture as dispatcher_fixture
from tests.support.shared_app import shared_server_fixture as shared_server_fixture
from tests.support.shared_app import url_fixture as url_fixture
from trivet.cli import main

Run = Callable[..., Result]


@pytest.fixture
def run(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `trivet …` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str, stdin: str | bytes | None = None, server: str = url, columns: int = 200) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin, env={"TRIVET_URL": server, "COLUMNS": str(columns)})

    return run_command


def records(result: Result) -> list[dict[str, Any]]:
    """Parse the lines of stdout."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small repository with files that a command should read and files that it should skip."""
    files: dict[str, bytes] = {
        ".git/config": b"[core]",
        ".gitignore": b"*.log\nbuild/\n!keep.log\n",
        "a.py": b"def area(r):\n    return PI * r * r\n",
        "b.md": "# Caf\u00e9\n\nnaïve prose\n".encode(),
        "build/out.py": b"generated",
        "empty.txt": b" \n",
        "keep.log": b"kept",
        "latin.txt": "caf\u00e9".encode("latin-1"),
        "noise.log": b"noise",
        "picture.png": b"\x89PNG\0\0",
        "sub/.gitignore": b"secret.txt\n!*.log\n",
        "sub/again.log": b"wanted here",
        "sub/secret.txt": b"secret",
        "sub/z.py": b"PI = 3.14\n",
    }
    for name, content in files.items():
        path = tmp_path / "repo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "repo" / "link.py").symlink_to("a.py")
    return tmp_path / "repo"


TAKEN = ["repo/.gitignore", "repo/a.py", "repo/b.md", "repo/keep.log", "repo/sub/.gitignore", "repo/sub/again.log"]
TAKEN += ["repo/sub/z.py"]
"""The files of `folder` that are text and not ignored, in order."""
