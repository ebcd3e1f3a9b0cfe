"""`trivet index`: splits files into chunks and embeds each; a later run embeds only new chunks."""

import hashlib
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.cli.calling import DEFAULT_TIMEOUT_S, Key, Timeout, Url, connect, describe_service, run
from trivet.cli.index_file import IndexFile, Record
from trivet.cli.output import in_a_folder, written
from trivet.cli.progress import bar
from trivet.cli.texts import DEFAULT_MAX_FILE_BYTES, Inputs, MaxFileBytes, Text, read_texts
from trivet.client import AsyncClient, Embeddings, ServedModel, Service
from trivet.client.bulk import EmbedOptions, joined_service
from trivet.relations.chunking import chunks_of

DEFAULT_CHUNK_CHARACTERS = 1500


@dataclass(frozen=True, slots=True)
class Located:
    """A chunk and its place in a file."""

    path: str
    start_line: int
    end_line: int
    text: str
    sha256: str
    """Digest of the text, which identifies the chunk across runs."""

    def place(self, *, with_text: bool) -> Record:
        """Return the fields of the chunk's record that do not depend on the model."""
        place: dict[str, str | int] = {"path": self.path, "start_line": self.start_line, "end_line": self.end_line}
        return {**place, "text": self.text} if with_text else place


def index_command(
    files: Inputs,
    out: Annotated[
        Path, typer.Option("--out", "-o", callback=in_a_folder, help="The index file; its current vectors are reused.")
    ],
    chunk_characters: Annotated[
        int, typer.Option(min=1, help="Maximum length of a chunk, except for longer lines.")
    ] = DEFAULT_CHUNK_CHARACTERS,
    with_text: Annotated[bool, typer.Option("--text", help="Also write the text of each chunk.")] = False,
    dimensions: Annotated[int | None, typer.Option(min=1, help="Keep this many dimensions of each vector.")] = None,
    max_file_bytes: MaxFileBytes = DEFAULT_MAX_FILE_BYTES,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Embed files in chunks as JSON lines: `path`, `start_line`, `end_line`, `sha256`, `model`, `embedding`, …"""
    console = Console(stderr=True)
    texts = read_texts(files, console, lines=False, max_file_bytes=max_file_bytes, excluded=written(out))
    chunks = [chunk for text in texts for chunk in _located(text, chunk_characters)]
    run(_index(connect(url, key, timeout_s), chunks, out, with_text, dimensions, console), console)


def _located(text: Text, chunk_characters: int) -> Iterator[Located]:
    for chunk in chunks_of(text.text, chunk_characters):
        if chunk.text.strip():
            sha256 = hashlib.sha256(chunk.text.encode()).hexdigest()
            yield Located(text.path, chunk.start_line, chunk.end_line, chunk.text, sha256)


async def _index(
    client: AsyncClient, chunks: list[Located], out: Path, with_text: bool, dimensions: int | None, console: Console
) -> None:
    async with client:
        model = (await client.models()).of_task("embedder")
        with IndexFile(out) as index:
            index.load(lambda record: _is_current(record, model, dimensions or model.dimensions))
            new = list({chunk.sha256: chunk for chunk in chunks if chunk.sha256 not in index}.values())
            console.print(f"{len(chunks)} chunks, {len(new)} of them to embed")
            service = await _embed_into(index, client, new, model, dimensions, console)
            index.rewrite((chunk.sha256, chunk.place(with_text=with_text)) for chunk in chunks)
    if new:
        console.print(describe_service(service), markup=False, highlight=False)


async def _embed_into(
    index: IndexFile,
    client: AsyncClient,
    chunks: list[Located],
    model: ServedModel,
    dimensions: int | None,
    console: Console,
) -> Service:
    options: EmbedOptions = {"input_type": "document", "dimensions": dimensions, "model": model.name}
    services = []
    async with aclosing(client.embed_batches((chunk.text for chunk in chunks), **options)) as batches:
        with bar(console, "embedding", len(chunks)) as advance:
            async for batch in batches:
                count = len(batch.embeddings.items)
                _append(index, chunks[batch.start : batch.start + count], batch.embeddings, model)
                services.append(batch.embeddings.service)
                advance(count)
    return joined_service(services)


def _append(index: IndexFile, chunks: list[Located], embeddings: Embeddings, model: ServedModel) -> None:
    for item, vector in zip(embeddings.items, embeddings.to_numpy(), strict=True):
        chunk = chunks[item.index]
        index.append(
            {
                **chunk.place(with_text=False),
                "sha256": chunk.sha256,
                "model": model.name,
                "revision": model.revision,
                "windows": item.windows,
                "truncated": item.truncated,
                "embedding": vector,
            }
        )
    index.flush()


def _is_current(record: Record, model: ServedModel, dimensions: int | None) -> bool:
    """Return whether this server would compute the same vector."""
    same_length = dimensions is None or len(record["embedding"]) == dimensions
    return same_length and (record.get("model"), record.get("revision")) == (model.name, model.revision)
