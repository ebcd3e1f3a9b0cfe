"""Reads the files, folders and stdin (`-`) of the command line as texts; reports what it skipped and why."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.index.names import shown
from trivet.index.walking import Skipped, walk

STDIN = "-"
_NAMED_SKIPS = 10
_NOTHING: Mapping[Path, str] = {}

Inputs = Annotated[list[str], typer.Argument(help="Files, folders, or - for stdin.", metavar="FILES")]
Lines = Annotated[bool, typer.Option("--lines", help="Treat each line, instead of each file, as a text.")]
MaxFileBytes = Annotated[int, typer.Option(min=1, help="Skip larger files.")]

DEFAULT_MAX_FILE_BYTES = 1024**2


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
) -> list[Text]:
    """Read all texts, in the inputs' order, and report on the console what was skipped.

    `excluded` maps resolved paths that are not read to the reason. It applies to files in folders and to files named on
    the command line, since a shell expands `folder/*` before the command sees it.
    """
    texts: list[Text] = []
    skipped: list[Skipped] = []
    for found in _files(inputs):
        if isinstance(found, Path):
            reason = excluded.get(found.resolve())
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


def _files(inputs: Iterable[str]) -> Iterator[Path | Skipped | Text]:
    for name in inputs:
        path = Path(name)
        if name == STDIN:
            yield _decoded(STDIN, sys.stdin.buffer.read())
        elif path.is_dir():
            yield from walk(path)
        elif path.exists():
            yield path
        else:
            raise typer.BadParameter(f"{name!r} is not an existing file or folder")


def _read(path: Path, max_file_bytes: int) -> Text | Skipped:
    name = str(path)
    if not _is_text(name):
        return Skipped(name, "its name is not UTF-8")  # so JSON cannot contain it
    try:
        size_bytes = path.stat().st_size
        if size_bytes > max_file_bytes:
            return Skipped(name, f"larger than {max_file_bytes} bytes")
        return _decoded(name, path.read_bytes())
    except OSError as error:
        return Skipped(name, error.strerror or str(error))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decoded(name: str, content: bytes) -> Text | Skipped:
    if b"\0" in content:
        return Skipped(name, "binary")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Skipped(name, "not UTF-8")
    return Text(name, None, text) if text.strip() else Skipped(name, "empty")


def report_skipped(skipped: list[Skipped], console: Console) -> None:
    """Print a line for each of the first few, then the counts by reason."""
    for one in skipped[:_NAMED_SKIPS]:
        console.print(f"skipped {shown(one.path)}: {one.reason}", markup=False, highlight=False)
    if len(skipped) > _NAMED_SKIPS:
        counts = Counter(one.reason for one in skipped).most_common()
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
        console.print(f"skipped {len(skipped)} in all: {reasons}", markup=False, highlight=False)
