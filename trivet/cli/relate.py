"""`trivet relate`: determines the relations of one text to others."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.cli.calling import (
    DEFAULT_TIMEOUT_S,
    Key,
    LongInputOption,
    Timeout,
    Url,
    connect,
    describe_service,
    fail,
    run,
)
from trivet.cli.hypotheses import hypotheses_of
from trivet.cli.output import Out, json_line, opened, written
from trivet.cli.texts import DEFAULT_MAX_FILE_BYTES, Inputs, Lines, MaxFileBytes, Text, read_texts
from trivet.client import AsyncClient, Relations, Span, calls
from trivet.client.calls import Call


def relate_command(
    source: Annotated[Path, typer.Option("--source", "-s", help="The file to relate to the candidates.")],
    files: Inputs,
    out: Out = None,
    lines: Lines = False,
    top_k: Annotated[int, typer.Option(min=1, help="Classify this many of the most relevant candidates.")] = 16,
    min_relevance: Annotated[
        float | None, typer.Option(min=0, max=1, help="Omit less relevant candidates. Default: the server's setting.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Omit edges with a lower confidence. Default: the server's setting."),
    ] = None,
    include_unrelated: Annotated[
        bool, typer.Option("--include-unrelated", help="Also write files that were compared and found unrelated.")
    ] = False,
    relation: Annotated[
        list[str] | None,
        typer.Option("--relation", "-r", help="NAME=HYPOTHESIS, at least two, instead of the server's relations."),
    ] = None,
    long_input: LongInputOption = "window",
    max_file_bytes: MaxFileBytes = DEFAULT_MAX_FILE_BYTES,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Relate the source to files. Output lines have `path`, `relation`, `confidence`, `relevance`, `evidence`, …

    The evidence is the passages of both texts that speak for the relation, with their lines.
    """
    relations = hypotheses_of(relation) if relation else None
    console = Console(stderr=True)
    sources = read_texts([str(source)], console, lines=False, max_file_bytes=max_file_bytes)
    excluded = {source.resolve(): "it is the source", **written(out)}
    texts = read_texts(files, console, lines=lines, max_file_bytes=max_file_bytes, excluded=excluded, data=lines)
    if len(sources) > 1:
        fail(console, f"--source is a folder of {len(sources)} texts; give one file")
    if not sources or not texts:
        fail(console, "nothing to relate")
    [whole] = sources
    # A line of a file is not in the file's format, and texts that are read whole have no passages to link.
    of_files = not lines and long_input in (None, "window")
    call = calls.relate(
        whole.text,
        [text.text for text in texts],
        source_path=whole.path if of_files else None,
        candidate_paths=[text.path for text in texts] if of_files else None,
        top_k=top_k,
        min_relevance=min_relevance,
        threshold=threshold,
        relations=relations,
        include_unrelated=include_unrelated or None,
        long_input=long_input,
    )
    run(_relate(connect(url, key, timeout_s), call, whole, texts, out, console), console)


async def _relate(
    client: AsyncClient, call: Call[Relations], source: Text, texts: list[Text], out: Path | None, console: Console
) -> None:
    async with client:
        with console.status("relating"):
            answer = await client.send(call)
    with opened(out) as file:
        for edge in answer.edges:
            target = texts[edge.target_index]
            about = asdict(edge)
            del about["source_index"], about["target_index"]
            about["evidence"] = [
                {**asdict(one), "source": _quoted(one.source, source.text), "target": _quoted(one.target, target.text)}
                for one in edge.evidence
            ]
            file.write(json_line({**target.place(), **about}))
    counts = asdict(answer.omitted).items()
    omitted = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in counts)
    where = describe_service(answer.service)
    summary = f"{len(answer.edges)} edges (omitted: {omitted}), {answer.tokens} tokens, {where}"
    console.print(summary, markup=False, highlight=False)


def _quoted(span: Span, text: str) -> dict[str, int | str]:
    """The lines of a passage and its text, which the server does not send back."""
    return {"start_line": span.start_line, "end_line": span.end_line, "text": text[span.start : span.end]}
