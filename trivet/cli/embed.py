"""`trivet embed`: computes a vector for every text."""

from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from trivet.cli.calling import (
    DEFAULT_TIMEOUT_S,
    Instruction,
    Key,
    LongInputOption,
    Timeout,
    Url,
    connect,
    describe_service,
    fail,
    run,
)
from trivet.cli.output import Out, json_line, json_vector, opened, written
from trivet.cli.progress import bar
from trivet.cli.texts import DEFAULT_MAX_FILE_BYTES, Inputs, Lines, MaxFileBytes, Text, read_texts
from trivet.client import AsyncClient
from trivet.client.bulk import EmbedOptions, joined_service


def embed_command(
    files: Inputs,
    out: Out = None,
    lines: Lines = False,
    input_type: Annotated[
        Literal["query", "document"] | None, typer.Option(help="The model's prompt to use, if it has prompts.")
    ] = None,
    instruction: Instruction = None,
    dimensions: Annotated[int | None, typer.Option(min=1, help="Keep this many dimensions of each vector.")] = None,
    long_input: LongInputOption = "window",
    max_file_bytes: MaxFileBytes = DEFAULT_MAX_FILE_BYTES,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Embed texts. Each output line has `path`, `line` with --lines, `model`, `embedding`, `windows`, `truncated`."""
    console = Console(stderr=True)
    texts = read_texts(files, console, lines=lines, max_file_bytes=max_file_bytes, excluded=written(out))
    if not texts:
        fail(console, "nothing to embed")
    options: EmbedOptions = {
        "input_type": input_type,
        "instruction": instruction,
        "dimensions": dimensions,
        "long_input": long_input,
    }
    run(_embed(connect(url, key, timeout_s), texts, options, out, console), console)


async def _embed(
    client: AsyncClient, texts: list[Text], options: EmbedOptions, out: Path | None, console: Console
) -> None:
    tokens = 0
    services = []
    async with client, aclosing(client.embed_batches([text.text for text in texts], **options)) as batches:
        with opened(out) as file, bar(console, "embedding", len(texts)) as advance:
            async for batch in batches:
                answer = batch.embeddings
                for item in answer.items:
                    place = texts[batch.start + item.index].place()
                    about = {"windows": item.windows, "truncated": item.truncated}
                    file.write(
                        json_line({**place, "model": answer.model, "embedding": json_vector(item.vector), **about})
                    )
                tokens += answer.tokens
                services.append(answer.service)
                advance(len(answer.items))
    where = describe_service(joined_service(services))
    console.print(f"{len(texts)} texts, {tokens} tokens, {where}", markup=False, highlight=False)
