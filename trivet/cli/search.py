"""`trivet search`: shows the passages of an index that answer a question."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from trivet.cli.calling import DEFAULT_TIMEOUT_S, Instruction, Key, Timeout, Url, connect, describe_service, fail, run
from trivet.cli.output import json_line, opened
from trivet.client import AsyncClient
from trivet.folders.indexing import index_path, indexed_folder
from trivet.folders.searching import Found, SearchAnswer, changed_since, copies_line, search
from trivet.index import IndexReader
from trivet.index.names import shown, shown_lines

SHOWN_LINES = 8


def search_command(
    index: Annotated[Path, typer.Argument(help="An index file, or a folder that `trivet index` has indexed.")],
    question: Annotated[str, typer.Argument(help="The question or topic.")],
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="How many passages to show.")] = 10,
    path: Annotated[
        str | None, typer.Option(help="Search only files that this pattern matches, as in .gitignore: docs/ or *.py.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON lines, with the whole passages.")] = False,
    full: Annotated[bool, typer.Option("--full", help=f"Show passages whole, not only {SHOWN_LINES} lines.")] = False,
    rerank: Annotated[bool, typer.Option(help="Let the reranker order what the embedder finds.")] = True,
    instruction: Instruction = None,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Find the passages that answer a question: path, lines and text, the best first."""
    console = Console(stderr=True)
    if not question.strip():
        raise typer.BadParameter("the question is empty")
    file, folder = (index_path(index), index) if index.is_dir() else (index, Path())
    if not file.exists():
        of = index if index.is_dir() else "FOLDER"
        fail(console, f"{shown(file)} does not exist; `trivet index {shown(of)}` makes an index")
    client = connect(url, key, timeout_s, priority="interactive")
    work = _search(client, file, question, k, path, rerank=rerank, instruction=instruction)
    answer, changed = run(work, console)
    if as_json:
        with opened(None) as out:
            for one in answer.found:
                out.write(json_line(record(one, folder)))
    else:
        show(answer.found, folder, Console(highlight=False, soft_wrap=True), None if full else SHOWN_LINES)
    for changed_path in changed:
        console.print(
            f"changed since it was indexed: {shown(folder / changed_path)}; `trivet index` brings the index up to date",
            markup=False,
            highlight=False,
        )
    console.print(
        f"{len(answer.found)} passages of {answer.candidates or len(answer.found)} candidates, {answer.tokens} tokens, "
        f"{describe_service(answer.service)}",
        markup=False,
        highlight=False,
    )


async def _search(
    client: AsyncClient,
    file: Path,
    question: str,
    k: int,
    path: str | None,
    *,
    rerank: bool,
    instruction: str | None,
) -> tuple[SearchAnswer, list[str]]:
    """The answer, and which of its files have changed since they were indexed."""
    async with client:
        with IndexReader(file) as reader:
            try:
                answer = await search(client, reader, question, k, path=path, rerank=rerank, instruction=instruction)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from error
            indexed = indexed_folder(file)
            return answer, [] if indexed is None else changed_since(reader, indexed, answer.found)


def record(found: Found, folder: Path) -> dict[str, object]:
    """The fields of a passage's output line."""
    at = found.passage
    return {
        "path": (folder / found.path).as_posix(),
        "start_line": at.first_line,
        "end_line": at.last_line,
        "title": at.title,
        "kind": at.kind,
        "score": found.score,
        "similarity": found.similarity,
        "text": found.text,
        "copies": [
            {
                "path": (folder / one.path).as_posix(),
                "start_line": one.passage.first_line,
                "end_line": one.passage.last_line,
            }
            for one in found.copies
        ],
    }


def show(found: Sequence[Found], folder: Path, console: Console, most_lines: int | None) -> None:
    """Print passages with their places, each at most so many lines long."""
    for one in found:
        at = one.passage
        place = f"{shown(folder / one.path)}:{at.first_line}-{at.last_line}"
        title = f"  {shown(at.title)}" if at.title else ""
        console.print(Text.assemble((place, "bold"), f"  {one.score:.2f}", (title, "dim")))
        lines = shown_lines(one.text)
        for number, line in enumerate(lines[:most_lines], start=at.first_line):
            console.print(Text.assemble((f"{number:>6}  ", "dim"), line))
        if most_lines is not None and len(lines) > most_lines:
            console.print(Text(f"        … {len(lines) - most_lines} more lines", "dim"))
        if one.copies:
            console.print(Text(f"        {copies_line(one, folder)}", "dim"))
        console.print()
