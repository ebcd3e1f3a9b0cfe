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
from trivet.client import AsyncClient, Relations, calls
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
    if not sources or not texts:
        fail(console, "nothing to relate")
    call = calls.relate(
        "\n".join(text.text for text in sources),
        [text.text for text in texts],
        top_k=top_k,
        min_relevance=min_relevance,
        threshold=threshold,
        relations=relations,
        long_input=long_input,
    )
    run(_relate(connect(url, key, timeout_s), call, texts, out, console), console)


async def _relate(
    client: AsyncClient, call: Call[Relations], texts: list[Text], out: Path | None, console: Console
) -> None:
    async with client:
        with console.status("relating"):
            answer = await client.send(call)
    with opened(out) as file:
        for edge in answer.edges:
            about = asdict(edge)
            del about["source_index"], about["target_index"]
            file.write(json_line({**texts[edge.target_index].place(), **about}))
    omitted = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in asdict(answer.omitted).items())
    where = describe_service(answer.service)
    summary = f"{len(answer.edges)} edges (omitted: {omitted}), {answer.tokens} tokens, {where}"
    console.print(summary, markup=False, highlight=False)
