"""The commands that docs/models.md shows are commands of the program."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from trivet.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
COMMANDS = re.findall(r"^trivet .+$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_can_be_called(line: str) -> None:
    program, *arguments = shlex.split(line)
    group: Any = typer.main.get_command(main)
    context = group.make_context(program, list(arguments))
    name, command, rest = group.resolve_command(context, list(arguments))
    command.make_context(name, rest, parent=context)  # raises a usage error for an unknown option


def test_the_page_shows_what_verify_prints() -> None:
    assert any(line.startswith("trivet verify") for line in COMMANDS)
    text = PAGE.read_text(encoding="utf-8")
    for task, library in (
        ("embedder", "SentenceTransformer"),
        ("reranker", "CrossEncoder"),
        ("classifier", "ZeroShotClassificationPipeline"),
    ):
        assert re.search(
            rf"^{task}: trivet-starter-{task} on cpu \(openvino bf16\) agrees with {library}; ", text, re.M
        )
