"""`trivet graph`: writes the relations between the texts of a folder as HTML, JSON, GraphML or Cypher."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.cli.calling import DEFAULT_TIMEOUT_S, Key, Timeout, Url, connect, fail, run
from trivet.cli.hypotheses import hypotheses_of
from trivet.cli.output import in_a_folder, opened, written
from trivet.cli.progress import stages
from trivet.cli.texts import DEFAULT_MAX_FILE_BYTES, MaxFileBytes, report_skipped
from trivet.client import AsyncClient
from trivet.folders.documents import Document, read_folder
from trivet.folders.exports import FORMATS
from trivet.folders.graph import Graph, GraphSettings, PartialFile, collect_graph
from trivet.index import Skipped, shown


def graph_command(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The folder whose texts to relate.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", callback=in_a_folder, help=f"The file to write: {', '.join(FORMATS)}.")
    ],
    relation: Annotated[
        list[str] | None,
        typer.Option("--relation", "-r", help="NAME=HYPOTHESIS, at least two, instead of the server's relations."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Omit edges with a lower confidence. Default: the server's setting."),
    ] = None,
    min_relevance: Annotated[
        float | None, typer.Option(min=0, max=1, help="Omit less relevant pairs. Default: the server's setting.")
    ] = None,
    neighbours: Annotated[
        int | None, typer.Option(min=1, help="Look at this many nearest passages of each passage.")
    ] = None,
    passage_pairs: Annotated[
        int | None, typer.Option(min=1, help="Classify this many pairs of passages per pair of files.")
    ] = None,
    per_document: Annotated[int | None, typer.Option(min=1, help="Keep at most this many edges of each file.")] = None,
    include_unrelated: Annotated[
        bool, typer.Option("--include-unrelated", help="Also write pairs that were compared and found unrelated.")
    ] = False,
    max_file_bytes: MaxFileBytes = DEFAULT_MAX_FILE_BYTES,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Find the relations between a folder's prose and code files, with the passages that speak for them.

    An interrupted run keeps what it has found as NAME.resume; the same command continues it.
    """
    console = Console(stderr=True)
    export = FORMATS.get(out.suffix.lower())
    if export is None:
        raise typer.BadParameter(f"{out.name!r} has none of the suffixes {', '.join(FORMATS)}", param_hint="--out")
    settings = GraphSettings(
        relations=hypotheses_of(relation) if relation else None,
        passage_pairs=passage_pairs,
        neighbours=neighbours,
        per_document=per_document,
        threshold=threshold,
        min_relevance=min_relevance,
        include_unrelated=include_unrelated,
    )
    resume = out.with_name(f"{out.name}.resume")
    excluded = {**written(out), resume.resolve(): "it is written to"}
    found = list(read_folder(folder, max_bytes=max_file_bytes, excluded=excluded, data=False))
    report_skipped([one for one in found if isinstance(one, Skipped)], console)
    documents = [one for one in found if isinstance(one, Document)]
    if len(documents) < 2:
        fail(console, f"{shown(folder)} has {len(documents)} files of prose or code; a graph needs at least two")
    partial = PartialFile(resume, documents, settings)
    graph = run(_collect(connect(url, key, timeout_s), documents, settings, partial, console), console)
    with opened(out) as file:
        file.write(export(graph))
    partial.discard()
    for refused in graph.refused:
        console.print(f"refused {shown(refused.id or '?')}: {shown(refused.error)}", markup=False, highlight=False)
    console.print(_summary(graph, out), markup=False, highlight=False)


async def _collect(
    client: AsyncClient, documents: list[Document], settings: GraphSettings, partial: PartialFile, console: Console
) -> Graph:
    async with client:
        with stages(console) as show:
            return await collect_graph(client, documents, settings, partial, on_progress=show)


def _summary(graph: Graph, out: Path) -> str:
    counts = {name: sum(edge.relation == name for edge in graph.edges) for name in {e.relation for e in graph.edges}}
    by_relation = ", ".join(f"{count} {shown(name)}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))
    refused = f", {len(graph.refused)} refused" if graph.refused else ""
    relations = f"{len(graph.edges)} relations" + (f" ({by_relation})" if by_relation else "")
    return f"{shown(out)}: {len(graph.documents)} files{refused}, {relations}"
