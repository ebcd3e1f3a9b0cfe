"""`trivet eval`: measures the quality and the latency of the models of one or several services on labelled texts.

Exit codes are those of the other commands; an invalid labelled file counts as an invalid command line (2).
"""

import importlib.util
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from trivet.cli.calling import DEFAULT_TIMEOUT_S, Key, Timeout, UserError, run
from trivet.cli.config_file import read_serve_file
from trivet.cli.hypotheses import hypotheses_of
from trivet.cli.output import in_a_folder, json_line, opened
from trivet.cli.progress import bar
from trivet.client import AsyncClient
from trivet.client.exchange import DEFAULT_URL, URL_VARIABLE
from trivet.config import AppConfig
from trivet.errors import TrivetError
from trivet.index.names import shown

if TYPE_CHECKING:
    from trivet.evaluation.measure import Measured
    from trivet.evaluation.sets import LabelledSet

_FRESH = {"cache-control": "no-store"}
"""Bypasses the server's cache, so that the models are measured."""


def eval_command(
    bundled: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="A bundled set: answers, relations or topics. Can be repeated."),
    ] = None,
    retrieval: Annotated[
        Path | None, typer.Option(help="File of queries: `query`, `relevant` (ids). Requires --corpus.")
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="File of the documents for --retrieval: `id`, `text`.")] = None,
    rerank: Annotated[
        Path | None,
        typer.Option(help="File of queries with candidates: `query`, `documents`, `relevant` (positions)."),
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="File of pairs: `source`, `target`, `relation`.")] = None,
    texts: Annotated[Path | None, typer.Option(help="File of texts: `text`, `label`.")] = None,
    relation: Annotated[
        list[str] | None,
        typer.Option("--relation", "-r", help="NAME=HYPOTHESIS for --pairs, instead of the server's relations."),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config", "-c", help="Measure the models of a Serve config, in this process on the CPU. Can be repeated."
        ),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Measure a server. Can be repeated. Default without --config: {URL_VARIABLE}, or {DEFAULT_URL}."
        ),
    ] = None,
    depth: Annotated[int, typer.Option(min=1, help="Number of documents per query of --retrieval to rerank.")] = 20,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use only this many queries, pairs or texts of each set.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(callback=in_a_folder, help="Plot quality against latency: .svg, .png or .pdf.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="Write JSON lines instead of a table.")] = False,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Measure models on labelled texts: ranking and classification quality, calibration and latency.

    Uses the bundled sets unless a file is given.
    """
    console = Console(stderr=True)
    _check_plot(plot)
    if (retrieval is None) != (corpus is None):
        raise typer.BadParameter("--retrieval and --corpus must be given together")
    if relation and pairs is None:
        raise typer.BadParameter("--relation requires --pairs")
    relations = hypotheses_of(relation) if relation else None
    sets = _read(bundled, retrieval, corpus, rerank, pairs, texts, relations, limit)
    services = list(_services(config or [], url or [], key, timeout_s))
    measured = run(_measure(services, sets, depth, console), console)
    _show(measured, json_lines=json_lines)
    if plot is not None:
        from trivet.evaluation.plot import draw

        draw(measured, plot)


def _check_plot(plot: Path | None) -> None:
    """Refuse a plot that cannot be written, before minutes of work rather than after."""
    if plot is None:
        return
    if plot.suffix not in (".svg", ".png", ".pdf"):
        raise typer.BadParameter(f"{str(plot)!r} does not end in .svg, .png or .pdf")
    if importlib.util.find_spec("matplotlib") is None:
        raise typer.BadParameter("--plot needs matplotlib: pip install 'trivet[eval]'")


def _read(
    bundled: list[str] | None,
    retrieval: Path | None,
    corpus: Path | None,
    rerank: Path | None,
    pairs: Path | None,
    texts: Path | None,
    relations: Mapping[str, str] | None,
    limit: int | None,
) -> "list[LabelledSet]":
    from trivet.evaluation.bundled import BUNDLED, read_bundled
    from trivet.evaluation.files import BadSet, read_pairs, read_rerank, read_retrieval, read_texts

    own = any((retrieval, rerank, pairs, texts))
    names = bundled or ([] if own else list(BUNDLED))
    if unknown := [name for name in names if name not in BUNDLED]:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(BUNDLED)}")
    sets: list[LabelledSet] = []
    try:
        sets += [read_bundled(name, limit=limit) for name in names]
        if retrieval is not None and corpus is not None:
            sets.append(read_retrieval(retrieval, corpus, name=shown(retrieval), limit=limit))
        if rerank is not None:
            sets.append(read_rerank(rerank, name=shown(rerank), limit=limit))
        if pairs is not None:
            sets.append(read_pairs(pairs, name=shown(pairs), relations=relations, limit=limit))
        if texts is not None:
            sets.append(read_texts(texts, name=shown(texts), limit=limit))
    except BadSet as error:
        raise typer.BadParameter(str(error)) from error
    return sets


def _services(
    configs: list[Path], urls: list[str], key: str | None, timeout_s: float
) -> "Iterator[tuple[str, AbstractAsyncContextManager[AsyncClient]]]":
    """Yield (name, context manager of a client) for each config and server; nothing is opened yet."""
    for path in configs:
        try:
            yield shown(path), _opened(read_serve_file(path).config, timeout_s)
        except TrivetError as error:
            raise typer.BadParameter(error.message) from error
    for url in urls if urls or configs else [None]:
        try:
            client = AsyncClient(url, key=key, timeout_s=timeout_s, headers=_FRESH)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        yield url or "server", client


@asynccontextmanager
async def _opened(config: AppConfig, timeout_s: float) -> AsyncIterator[AsyncClient]:
    from trivet.evaluation.models import local_models

    try:
        async with local_models(config, timeout_s=timeout_s) as client:
            yield client
    except TrivetError as error:
        raise UserError(error.message) from error


async def _measure(
    services: "list[tuple[str, AbstractAsyncContextManager[AsyncClient]]]",
    sets: "list[LabelledSet]",
    depth: int,
    console: Console,
) -> "list[tuple[str, Measured]]":
    from trivet.evaluation.files import BadSet
    from trivet.evaluation.measure import measure, requests_of

    measured: list[tuple[str, Measured]] = []
    for name, opening in services:
        async with opening as client:
            models = " · ".join(model.name for model in (await client.models()).models)
            console.print(f"{name}: {models}", markup=False, highlight=False)
            for labelled in sets:
                with bar(console, labelled.name, requests_of(labelled)) as advance:
                    try:
                        found = await measure(client, labelled, depth=depth, advance=advance)
                    except BadSet as error:
                        raise UserError(str(error)) from error
                measured += [(name, one) for one in found]
    return measured


def _show(measured: "list[tuple[str, Measured]]", *, json_lines: bool) -> None:
    from trivet.evaluation.report import records, show

    if json_lines:
        with opened(None) as out:
            for record in records(measured):
                out.write(json_line(record))
    else:
        show(measured, Console())
