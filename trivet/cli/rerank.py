"""`trivet rerank`: sorts texts by their relevance to a query."""

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.cli.calling import (
    DEFAULT_TIMEOUT_S,
    Key,
    LongInput,
    LongInputOption,
    Timeout,
    Url,
    connect,
    describe_service,
    fail,
    run,
)
from trivet.cli.output import Out, json_line, opened, written
from trivet.cli.progress import bar
from trivet.cli.texts import DEFAULT_MAX_FILE_BYTES, Inputs, Lines, MaxFileBytes, Text, read_texts
from trivet.client import AsyncClient, BatchLimits, Ranked, Ranking, calls
from trivet.client.bulk import batches_of, joined_service, utf8_bytes
from trivet.client.calls import Call


def rerank_command(
    query: Annotated[str, typer.Option("--query", "-q", help="The question or topic.")],
    files: Inputs,
    out: Out = None,
    lines: Lines = False,
    top: Annotated[int | None, typer.Option(min=1, help="Write only this many texts.")] = None,
    long_input: LongInputOption = "window",
    max_file_bytes: MaxFileBytes = DEFAULT_MAX_FILE_BYTES,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Sort texts, best first. Each output line has `path`, `line` with --lines, `score`, `windows`, `truncated`."""
    console = Console(stderr=True)
    texts = read_texts(files, console, lines=lines, max_file_bytes=max_file_bytes, excluded=written(out))
    if not texts:
        fail(console, "nothing to rerank")
    run(_rerank(connect(url, key, timeout_s), query, texts, long_input, top, out, console), console)


async def _rerank(
    client: AsyncClient,
    query: str,
    texts: list[Text],
    long_input: LongInput,
    top: int | None,
    out: Path | None,
    console: Console,
) -> None:
    many = _calls(query, [text.text for text in texts], long_input)
    ranked: list[Ranked] = []
    answers: list[Ranking] = []
    with bar(console, "reranking", len(texts)) as advance:
        async with client, aclosing(client.send_all(many)) as rankings:
            async for ranking in rankings:
                start = len(ranked)
                ranked.extend(replace(one, index=start + one.index) for one in ranking.results)
                answers.append(ranking)
                advance(len(ranking.results))
    # A document's score does not depend on the other documents, so partial rankings can be merged.
    ranked.sort(key=lambda one: (-one.score, one.index))
    with opened(out) as file:
        for one in ranked[:top]:
            about = {"score": one.score, "windows": one.windows, "truncated": one.truncated}
            file.write(json_line({**texts[one.index].place(), **about}))
    tokens = sum(answer.tokens for answer in answers)
    where = describe_service(joined_service([answer.service for answer in answers]))
    console.print(f"{len(texts)} texts, {tokens} tokens, {where}", markup=False, highlight=False)


def _calls(query: str, documents: list[str], long_input: LongInput) -> Iterator[Call[Ranking]]:
    for start, batch in batches_of(documents, utf8_bytes, BatchLimits()):
        yield replace(calls.rerank(query, batch, long_input=long_input), start=start)
