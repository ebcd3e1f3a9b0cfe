"""`trivet rerank`: sorts files, or lines, by their relevance to a query."""

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Any

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
from trivet.client import AsyncClient, BatchLimits, Ranking, Service, calls
from trivet.client.bulk import batches_of, joined_service, utf8_bytes
from trivet.client.calls import Call
from trivet.folders.ranking import rank_documents


@dataclass(frozen=True, slots=True)
class _Scored:
    """A text's output line; `index` is its position among the texts."""

    score: float
    index: int
    record: Mapping[str, Any]


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
    """Sort files by their best passage: `path`, `start_line`, `end_line`, `score`, `text`; the best file comes first.

    With --lines each line is a text, and output lines have `path`, `line`, `score`, `windows`, `truncated`; only there
    --long-input has a meaning, since a passage is never longer than the model's limit.
    """
    console = Console(stderr=True)
    texts = read_texts(files, console, lines=lines, max_file_bytes=max_file_bytes, excluded=written(out), data=lines)
    if not texts:
        fail(console, "nothing to rerank")
    client = connect(url, key, timeout_s)
    work = _lines(client, query, texts, long_input, console) if lines else _files(client, query, texts, console)
    scored, tokens, service = run(work, console)
    with opened(out) as file:
        for one in sorted(scored, key=lambda one: (-one.score, one.index))[:top]:
            file.write(json_line(one.record))
    where = describe_service(service)
    console.print(f"{len(texts)} texts, {tokens} tokens, {where}", markup=False, highlight=False)


async def _files(
    client: AsyncClient, query: str, texts: list[Text], console: Console
) -> tuple[list[_Scored], int, Service]:
    scored: list[_Scored] = []
    tokens = 0
    services = []
    with bar(console, "reranking", len(texts)) as advance:
        async with client, aclosing(rank_documents(client, query, [(text.path, text.text) for text in texts])) as parts:
            async for part in parts:
                for one in part.ranked:
                    at = one.passage
                    lines = {"start_line": at.first_line, "end_line": at.last_line}
                    record = {**texts[one.index].place(), **lines, "score": one.score, "text": one.text}
                    scored.append(_Scored(one.score, one.index, record))
                tokens += part.tokens
                services.append(part.service)
                advance(part.documents)
    return scored, tokens, joined_service(services)


async def _lines(
    client: AsyncClient, query: str, texts: list[Text], long_input: LongInput, console: Console
) -> tuple[list[_Scored], int, Service]:
    scored: list[_Scored] = []
    answers: list[Ranking] = []
    with bar(console, "reranking", len(texts)) as advance:
        many = _calls(query, [text.text for text in texts], long_input)
        async with client, aclosing(client.send_all(many)) as rankings:
            async for ranking in rankings:
                start = len(scored)
                for one in ranking.results:
                    index = start + one.index
                    about = {"score": one.score, "windows": one.windows, "truncated": one.truncated}
                    scored.append(_Scored(one.score, index, {**texts[index].place(), **about}))
                answers.append(ranking)
                advance(len(ranking.results))
    service = joined_service([answer.service for answer in answers])
    return scored, sum(answer.tokens for answer in answers), service


def _calls(query: str, documents: list[str], long_input: LongInput) -> Iterator[Call[Ranking]]:
    for start, batch in batches_of(documents, utf8_bytes, BatchLimits()):
        yield replace(calls.rerank(query, batch, long_input=long_input), start=start)
