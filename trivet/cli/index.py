"""`trivet index`: keeps a folder's passages and vectors in one file; a later run embeds what has changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.cli.calling import DEFAULT_TIMEOUT_S, Key, Timeout, Url, UserError, connect, describe_service, run
from trivet.cli.output import in_a_folder
from trivet.cli.progress import steps
from trivet.cli.texts import DEFAULT_MAX_FILE_BYTES, MaxFileBytes, report_skipped
from trivet.client import AsyncClient
from trivet.folders.indexing import IndexReport, index_path, prepare_index_folder, update_index
from trivet.index import OtherForm, OtherModel
from trivet.index.forms import StoredForm


def index_command(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The folder to index.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", callback=in_a_folder, help="The index file. Default: .trivet/index.sqlite in the folder."
        ),
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Keep this many dimensions of each vector. Default: all.")
    ] = None,
    vectors: Annotated[
        StoredForm | None,
        typer.Option(
            help="How the index keeps vectors: int8 takes half the room of float16, the default, and binary a 16th."
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Replace an index that was made with another embedder or --vectors.")
    ] = False,
    max_file_bytes: MaxFileBytes = DEFAULT_MAX_FILE_BYTES,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Index a folder for `trivet search`: its text files that git would not ignore, in passages, with their vectors.

    Run it again after changes: it embeds only what has changed. An interrupted run is continued by the next one.
    """
    console = Console(stderr=True)
    client = connect(url, key, timeout_s)
    report = run(_index(client, folder, out, dimensions, vectors, max_file_bytes, console, rebuild=rebuild), console)
    report_skipped(report.skipped, console)
    plan = report.plan
    changes = f"{len(plan.added) + len(plan.copied)} new, {len(plan.changed)} changed, {len(plan.removed)} removed"
    done = f"{report.passages} passages embedded, {report.tokens} tokens"
    where = f", {describe_service(report.service)}" if report.passages else ""
    console.print(f"{report.files} files indexed ({changes}); {done}{where}", markup=False, highlight=False)


async def _index(
    client: AsyncClient,
    folder: Path,
    out: Path | None,
    dimensions: int | None,
    form: StoredForm | None,
    max_file_bytes: int,
    console: Console,
    *,
    rebuild: bool,
) -> IndexReport:
    if out is None:
        prepare_index_folder(folder)
        out = index_path(folder)
    async with client:
        with steps(console, "embedding files") as show, _remedy_named():
            return await update_index(
                client,
                folder,
                out,
                dimensions=dimensions,
                form=form,
                max_file_bytes=max_file_bytes,
                rebuild=rebuild,
                on_progress=show,
            )


@contextmanager
def _remedy_named() -> Iterator[None]:
    try:
        yield
    except (OtherModel, OtherForm) as error:
        raise UserError(f"{error} With --rebuild this command does both.") from error
