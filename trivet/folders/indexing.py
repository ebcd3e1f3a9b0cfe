"""Brings an index up to date with its folder: embeds new and changed files, and removes those that are gone."""

import asyncio
import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trivet.client import AsyncClient, ServedModel, Service
from trivet.client.bulk import EmbedOptions, joined_service
from trivet.folders.documents import Document, collected, read_folder
from trivet.folders.passages import Divider, Located
from trivet.index import (
    FileState,
    IndexModel,
    IndexReader,
    IndexWriter,
    OtherForm,
    OtherModel,
    Plan,
    Skipped,
    read_text,
)
from trivet.index.forms import StoredForm
from trivet.index.texts import DEFAULT_MAX_BYTES

_GROUP_FILES = 32
_GROUP_BYTES = 256 * 1024
"""What is embedded before it is written: an interrupted run loses no more than this, twice."""
_INDEX_FOLDER = ".trivet"
_INDEX_NAME = "index.sqlite"

OnProgress = Callable[[int, int], None]
"""Called with the number of files done, and of all files to embed."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What `update_index` did."""

    plan: Plan
    passages: int
    """Embedded in this run."""
    tokens: int
    skipped: tuple[Skipped, ...]
    service: Service

    @property
    def files(self) -> int:
        """Files in the index."""
        plan = self.plan
        return len(plan.added) + len(plan.changed) + len(plan.unchanged) + len(plan.copied)


def index_path(folder: Path) -> Path:
    """The index file of a folder that was not given another one."""
    return folder / _INDEX_FOLDER / _INDEX_NAME


def indexed_folder(path: Path) -> Path | None:
    """The folder whose index `index_path` is; None if the file is in another place, which does not tell its folder."""
    below = path.absolute().parent
    return below.parent if (below.name, path.name) == (_INDEX_FOLDER, _INDEX_NAME) else None


def prepare_index_folder(folder: Path) -> None:
    """Make the folder of `index_path`, which ignores itself in git. Raises OSError, also where it is a link."""
    below = folder / _INDEX_FOLDER
    if below.is_symlink():  # the maker of the folder would choose where the index is written
        raise OSError(
            errno.ELOOP, "a link, in which no index is written; remove it, or give the index another place", str(below)
        )
    below.mkdir(exist_ok=True)
    if index_path(folder).is_symlink():
        raise OSError(
            errno.ELOOP, "a link, to which no index is written; remove it, or give --out", str(index_path(folder))
        )
    with suppress(FileExistsError), (below / ".gitignore").open("x") as file:
        file.write("*\n")


async def update_index(
    client: AsyncClient,
    folder: Path,
    path: Path,
    *,
    dimensions: int | None = None,
    form: StoredForm | None = None,
    max_file_bytes: int = DEFAULT_MAX_BYTES,
    rebuild: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> IndexReport:
    """Embed what has changed in a folder since the index was written. What is done stays if the run is interrupted.

    Args:
        client: a client of the server that embeds.
        folder: the folder.
        path: the index file; it is made if it is not there, in a folder that exists.
        dimensions: keep this many dimensions of each vector; None: as many as the index has, and all if it is new.
        form: how the index keeps vectors; None: as it does already, and as 16-bit floats if it is new.
        max_file_bytes: larger files are omitted.
        rebuild: replace an index whose vectors are of another model or form, instead of refusing it.
        on_progress: called after each group of files.

    Raises:
        IndexFileError: the file cannot be used: see `IndexWriter`.
        InvalidInput: the form is binary, and the dimensions are not a multiple of 8.
        ClientError: the server refused a request or failed.
        OSError: the index cannot be written.
    """
    models = await client.models()
    model = models.of_task("embedder")
    divider = Divider(models.models)
    wanted, form = _continued(path, model, dimensions, form)
    kept = None if wanted.dimensions == model.dimensions else wanted.dimensions
    with _opened(path, wanted, form, rebuild=rebuild) as writer:
        return await _Run(client, folder, writer, divider, model, kept, max_file_bytes).run(on_progress)


def _continued(
    path: Path, model: ServedModel, dimensions: int | None, form: StoredForm | None
) -> tuple[IndexModel, StoredForm | None]:
    """What the index is to hold: what the caller leaves open is as in the file, if there is one."""
    try:
        with IndexReader(path) as index:
            before, form = index.model, form or index.form
    except FileNotFoundError:
        return IndexModel(model.name, model.revision, dimensions or model.dimensions or 0), form
    if dimensions is None and (before.name, before.revision) == (model.name, model.revision):
        dimensions = before.dimensions
    return IndexModel(model.name, model.revision, dimensions or model.dimensions or 0), form


def _opened(path: Path, model: IndexModel, form: StoredForm | None, *, rebuild: bool) -> IndexWriter:
    try:
        return IndexWriter(path, model, form)
    except (OtherModel, OtherForm):
        if not rebuild:
            raise
    path.unlink()
    return IndexWriter(path, model, form)


@dataclass(slots=True)
class _Run:
    """One update of an index."""

    client: AsyncClient
    folder: Path
    writer: IndexWriter
    divider: Divider
    model: ServedModel
    dimensions: int | None
    """To be asked for; None: all that the model has."""
    max_file_bytes: int

    async def run(self, on_progress: OnProgress) -> IndexReport:
        found = await collected(self._read_states())
        skipped = tuple(one for one in found if isinstance(one, Skipped))
        states = [one for one in found if not isinstance(one, Skipped)]
        sizes = {path: size for path, _, size in states}
        plan = self.writer.plan((path, state) for path, state, _ in states)
        for path, source in plan.copied:
            self.writer.copy(path, source)
        self.writer.remove(plan.removed)
        todo = [*plan.added, *plan.changed]
        on_progress(0, len(todo))
        passages = tokens = done = 0
        services = []
        groups = _groups(todo, sizes)
        # The next group is read and divided while one is embedded.
        upcoming = self._prepare(next(groups, ()))
        try:
            while True:
                group = await upcoming
                if not group:
                    break
                upcoming = self._prepare(next(groups, ()))
                embedded, used, service = await self._embed(group)
                passages, tokens, done = passages + embedded, tokens + used, done + len(group)
                services.append(service)
                on_progress(done, len(todo))
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
        return IndexReport(plan, passages, tokens, skipped, joined_service(services))

    def _read_states(self) -> Iterator[tuple[str, FileState, int] | Skipped]:
        """Yield each file's path, state and size in characters, and what is omitted. No text is kept."""
        for one in read_folder(self.folder, max_bytes=self.max_file_bytes, excluded=self._own_files()):
            if isinstance(one, Skipped):
                yield one
            else:
                yield one.path, self.divider.state(one.path, one.text, one.digest), len(one.text)

    def _own_files(self) -> frozenset[Path]:
        path = self.writer.path.resolve()
        return frozenset(path.with_name(path.name + end) for end in ("", ".lock", "-wal", "-shm", "-journal"))

    def _prepare(self, paths: Sequence[str]) -> asyncio.Task[list[tuple[Document, list[Located]]]]:
        return asyncio.create_task(self._divided(paths))

    async def _divided(self, paths: Sequence[str]) -> list[tuple[Document, list[Located]]]:
        documents = await asyncio.to_thread(lambda: [self._read(path) for path in paths])
        divided = await self.divider.divide([(one.path, one.text) for one in documents])
        return list(zip(documents, divided, strict=True))

    def _read(self, path: str) -> Document:
        """The file as it is now. One that has gone since it was found is empty, and removed by the next run."""
        read = read_text(self.folder / path, max_bytes=self.max_file_bytes)
        return Document(path, "", "") if isinstance(read, Skipped) else Document(path, read.text, read.digest)

    async def _embed(self, group: Sequence[tuple[Document, list[Located]]]) -> tuple[int, int, Service]:
        """Embed and write a group of files. Returns (passages, tokens, how it was served)."""
        texts = [located.titled for _, passages in group for located in passages]
        options: EmbedOptions = {
            "input_type": "document",
            "dimensions": self.dimensions,
            "model": self.model.name,
        }
        answer = await self.client.embed_many(texts, **options)
        vectors = answer.to_numpy() if texts else np.empty((0, self.writer.model.dimensions), np.float32)
        start = 0
        for document, passages in group:
            state = self.divider.state(document.path, document.text, document.digest)
            rows = vectors[start : start + len(passages)]
            self.writer.put(document.path, state, document.text, [one.passage for one in passages], rows)
            start += len(passages)
        return len(texts), answer.tokens, answer.service


def _groups(paths: Sequence[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for path in paths:
        if group and (len(group) >= _GROUP_FILES or size + sizes[path] > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(path)
        size += sizes[path]
    if group:
        yield group
