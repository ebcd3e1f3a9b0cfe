"""Each test is in a target of the Makefile: other targets run every mark that `make test` leaves out."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SPECIAL = re.search(r"^SPECIAL := (.*)$", MAKEFILE, re.MULTILINE)[1].split(" or ")  # type: ignore[index]
"""The marks that `make test` leaves out."""


def folders_of(mark: str) -> list[Path]:
    """Return where those commands of the Makefile look for tests that select a mark, or select nothing."""
    found = []
    for line in MAKEFILE.splitlines():
        if line.startswith("\t") and " -m pytest " in line:
            arguments = shlex.split(line.partition(" -m pytest ")[2])
            selects = "-m" in arguments
            if not selects or arguments[arguments.index("-m") + 1].split()[0] == mark:
                paths = [ROOT / argument for argument in arguments if argument.split("/")[0] == "tests"]
                found += paths if paths or not selects else [ROOT / "tests"]
    return found


def test_every_mark_is_in_make_test_or_has_a_target() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    marks = {mark.partition(":")[0] for mark in pyproject["tool"]["pytest"]["ini_options"]["markers"]}
    assert marks == {*SPECIAL, "ray", "slow"}


@pytest.mark.parametrize("mark", SPECIAL)
def test_the_targets_of_a_mark_reach_every_file_that_has_it(mark: str) -> None:
    marked = [file for file in ROOT.glob("tests/**/test_*.py") if f"mark.{mark}" in file.read_text(encoding="utf-8")]
    folders = folders_of(mark)
    assert folders
    missed = [str(file.relative_to(ROOT)) for file in marked if not any(file.is_relative_to(each) for each in folders)]
    assert missed == [], f"no target that selects {mark} looks there"
