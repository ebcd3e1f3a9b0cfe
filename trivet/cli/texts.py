"""Reads the files, folders and stdin (`-`) of the command line as texts; reports what it skipped and why."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.index.git_settings import excludes_file
from trivet.index.names import shown
from trivet.index.texts import DATA, DEFAULT_MAX_BYTES, MOST_BYTES, is_data, read_text, text_of
from trivet.index.walking import Skipped, walk

STDIN = "-"
_NAMED_SKIPS = 10
_NOTHING: Mapping[Path, str] = {}

Inputs = Annotated[list[str], typer.Argument(help="Files, folders, or - for stdin.", metavar="FILES")]
Lines = Annotated[bool, typer.Option("--lines", help="Treat each line, instead of each file, as a text.")]
MaxFileBytes = Annotated[int, typer.Option(min=1, max=MOST_BYTES, help="Skip larger files.")]

DEFAULT_MAX_FILE_BYTES = DEFAULT_MAX_BYTES


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its origin. `line` counts from 1; None for a whole file."""

    path: str
    line: int | None
    text: str

    def place(self) -> dict[str, str | int]:
        """Return the first fields of the text's output line."""
        return {"path": self.path} if self.line is None else {"path": self.path, "line": self.line}


def read_texts(
    inputs: Iterable[str],
    console: Console,
    *,
    lines: bool,
    max_file_bytes: int,
    excluded: Mapping[Path, str] = _NOTHING,
    data: bool = True,
) -> list[Text]:
    """Read all texts, in the inputs' order, and report on the console what was skipped.

    Without `data`, files of folders that hold tables or records (CSV, JSON and the like) are skipped; files that the
    command line names are read in any case.

    `excluded` maps resolved paths that are not read to the reason. It applies to files in folders and to files named on
    the command line, since a shell expands `folder/*` before the command sees it.
    """
    texts: list[Text] = []
    skipped: list[Skipped] = []
    for found, is_named in _files(inputs):
        if isinstance(found, Path):
            reason = excluded.get(found.resolve()) or (DATA if not (data or is_named) and is_data(found) else None)
            found = Skipped(str(found), reason) if reason else _read(found, max_file_bytes)
        if isinstance(found, Skipped):
            skipped.append(found)
        elif lines:
            numbered = enumerate(found.text.split("\n"), start=1)
            texts.extend(Text(found.path, number, line.rstrip("\r")) for number, line in numbered if line.strip())
        else:
            texts.append(found)
    report_skipped(skipped, console)
    return texts


def _files(inputs: Iterable[str]) -> Iterator[tuple[Path | Skipped | Text, bool]]:
    """Every file, and whether the command line names it, not only its folder."""
    for name in inputs:
        path = Path(name)
        if name == STDIN:
            yield _stdin(), True
        elif path.is_dir():
            yield from ((found, False) for found in walk(path, global_excludes=excludes_file(path)))
        elif path.exists():
            yield path, True
        else:
            raise typer.BadParameter(f"{name!r} is not an existing file or folder")


def _read(path: Path, max_file_bytes: int) -> Text | Skipped:
    read = read_text(path, max_bytes=max_file_bytes)
    return read if isinstance(read, Skipped) else Text(str(path), None, read.text)


def _stdin() -> Text | Skipped:
    text = text_of(STDIN, sys.stdin.buffer.read())
    return text if isinstance(text, Skipped) else Text(STDIN, None, text)


def report_skipped(skipped: Sequence[Skipped], console: Console) -> None:
    """Print a line for each of the first few, then the counts by reason."""
    for one in skipped[:_NAMED_SKIPS]:
        console.print(f"skipped {shown(one.path)}: {one.reason}", markup=False, highlight=False)
    if len(skipped) > _NAMED_SKIPS:
        counts = Counter(one.reason for one in skipped).most_common()
        reasons = ", ".join(f"{reason} ({count})" for reason, count in counts)
        console.print(f"skipped {len(skipped)} in all: {reasons}", markup=False, highlight=False)
