"""What the folder tools do: search, related files and relations of the folder that the server was started for.

Only files that a walk of the folder finds are ever read: neither a path that leads out of it nor a link does. Answers
are short texts, since an agent pays for each token.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from trivet.client import AsyncClient, ClientError, GraphEdge, Span
from trivet.errors import TrivetError
from trivet.folders.documents import Document, collected, read_folder
from trivet.folders.graph import Graph, GraphSettings, PartialFile, collect_graph
from trivet.folders.indexing import index_path, prepare_index_folder, update_index
from trivet.folders.searching import SearchAnswer, check_question, copies_line, search
from trivet.index import FileMatch, IndexInUse, IndexReader, path_matcher, shown
from trivet.index.names import shown_lines
from trivet.passages import Passage

REFRESH_AFTER_S = 3.0
"""A search does not look for changed files if the last one did so more recently."""
WAIT_S = 20.0
"""How long a search waits for changed files to be embedded, before it answers from what there is."""
SNIPPET_LINES = 12
_SNIPPET_CHARACTERS = 800
_MOST_EDGES = 40
_MOST_DOCUMENTS = 500


class FolderError(TrivetError):
    """The tool's arguments cannot be used; the message says what to give."""


class Folder:
    """A folder and its index, which is brought up to date before each search. Close it at the end."""

    def __init__(self, client: AsyncClient, root: Path) -> None:
        self.root = root
        self._client = client
        self._index = index_path(root)
        self._update: asyncio.Task[object] | None = None
        self._updated_s: float | None = None
        self._progress = (0, 0)
        self._gate = asyncio.Lock()

    async def search(self, query: str, path: str | None, limit: int, instruction: str | None = None) -> str:
        """The passages that answer a question, with path and lines."""
        check_question(query)
        path = None if path is None else self._below(path)
        notes = await self._refreshed()
        with IndexReader(self._index) as reader:
            try:
                answer = await search(self._client, reader, query, limit, path=path, instruction=instruction)
            except ValueError as error:
                raise FolderError(f"path: {error}") from error
        return _joined([*notes, *_found(answer)], f"no file matches {path!r}" if path else "the folder has no text")

    async def related(self, path: str, limit: int) -> str:
        """The files nearest to a file, with the two passages that are alike."""
        notes = await self._refreshed()
        wanted = self._below(path).removeprefix("./")
        with IndexReader(self._index) as reader:
            try:
                matches = await asyncio.to_thread(reader.related, wanted, limit)
            except KeyError:
                raise FolderError(
                    f"path: {path!r} is not in the index; give a text file's path relative to {shown(self.root)}, "
                    "as `search` shows it"
                ) from None
        return _joined([*notes, *map(_match, matches)], "the folder has no other text")

    async def graph(self, paths: Sequence[str], on_progress: Callable[[str, int, int], None]) -> str:
        """The relations between the files that some patterns match."""
        try:
            matchers = [path_matcher(self._below(path)) for path in paths]
        except ValueError as error:
            raise FolderError(f"paths: {error}") from error
        documents = await collected(self._documents(matchers))
        if not 2 <= len(documents) <= _MOST_DOCUMENTS:
            raise FolderError(
                f"paths: {len(documents)} files of prose or code match; a graph takes 2 to {_MOST_DOCUMENTS}"
            )
        settings = GraphSettings()
        with TemporaryDirectory(prefix="trivet-graph-") as temporary:
            partial = PartialFile(Path(temporary) / "resume", documents, settings)
            graph = await collect_graph(self._client, documents, settings, partial, on_progress=on_progress)
        return _graph(graph)

    async def close(self) -> None:
        """Cancel an update that is under way; the next one continues it."""
        if self._update is not None:
            self._update.cancel()
            await asyncio.gather(self._update, return_exceptions=True)

    def _below(self, path: str) -> str:
        """The path relative to the folder, also if it is absolute, as agents like to give it."""
        root = f"{self.root}/".replace("//", "/")
        return path.removeprefix(root) if path.startswith(root) else "." if f"{path}/" == root else path

    def _documents(self, matchers: Sequence[Callable[[str], bool]]) -> Iterator[Document]:
        found = (one for one in read_folder(self.root, data=False) if isinstance(one, Document))
        return (one for one in found if any(matches(one.path) for matches in matchers))

    async def _refreshed(self) -> list[str]:
        """Bring the index up to date. Returns what the caller should know about the answer's state."""
        async with self._gate:
            recent = self._updated_s is not None and time.monotonic() - self._updated_s < REFRESH_AFTER_S
            if self._update is None and not recent:
                self._update = asyncio.create_task(self._updating())
            if self._update is None:
                return []
            await asyncio.wait({self._update}, timeout=WAIT_S)
            if not self._update.done():
                done, total = self._progress
                if not self._index.exists():
                    raise FolderError("the folder is being indexed for the first time; try again in a few seconds")
                return [f"(indexing: {done} of {total} changed files are in; others are missing or as they were)"]
            update, self._update = self._update, None
            try:
                update.result()
            except IndexInUse:
                return ["(another process is updating the index; changed files may be as they were)"]
            except (OSError, ClientError) as error:
                if not self._index.exists():
                    raise
                return [f"(the index could not be brought up to date: {error})"]
            self._updated_s = time.monotonic()
            return []

    async def _updating(self) -> None:
        def show(done: int, total: int) -> None:
            self._progress = (done, total)

        prepare_index_folder(self.root)
        await update_index(self._client, self.root, self._index, rebuild=True, on_progress=show)


def _found(answer: SearchAnswer) -> list[str]:
    return [
        f"{_place(one.path, one.passage)} {one.score:.2f}{_title(one.passage)}\n{_snippet(one.text)}"
        + (f"\n({copies_line(one, Path())})" if one.copies else "")
        for one in answer.found
    ]


def _match(match: FileMatch) -> str:
    own, other = match.own.passage, match.other.passage
    head = f"{_place(match.path, other)} {match.score:.2f}, like lines {own.first_line}-{own.last_line}{_title(other)}"
    return f"{head}\n{_snippet(match.other.text)}"


def _graph(graph: Graph) -> str:
    lines = [_edge(edge) for edge in graph.edges[:_MOST_EDGES]]
    rest = len(graph.edges) - len(lines)
    if rest:
        lines.append(f"({rest} less confident relations are not shown; give fewer paths to see them)")
    lines += [f"(refused {shown(one.id or '?')}: {shown(one.error)})" for one in graph.refused]
    return "\n".join(lines) or f"no relations between {len(graph.documents)} files"


def _edge(edge: GraphEdge) -> str:
    ends = (edge.evidence[0].source, edge.evidence[0].target) if edge.evidence else (None, None)
    arrow = "->" if edge.directed else "--"
    source, target = (_span(path, span) for path, span in zip((edge.source, edge.target), ends, strict=True))
    return f"{source} {arrow} {target} {shown(edge.relation)} {edge.confidence:.2f}"


def _span(path: str, span: Span | None) -> str:
    return shown(path) if span is None else f"{shown(path)}:{span.start_line}-{span.end_line}"


def _place(path: str, passage: Passage) -> str:
    return f"{shown(path)}:{passage.first_line}-{passage.last_line}"


def _title(passage: Passage) -> str:
    return f" ({shown(passage.title)})" if passage.title else ""


def _snippet(text: str) -> str:
    """The beginning of a passage; what is cut off is said."""
    lines = shown_lines(text)
    kept: list[str] = []
    for line in lines[:SNIPPET_LINES]:
        if sum(map(len, kept)) + len(line) > _SNIPPET_CHARACTERS:
            break
        kept.append(line)
    kept = kept or [lines[0][:_SNIPPET_CHARACTERS]]
    rest = len(lines) - len(kept)
    return "\n".join([*kept, f"… {rest} more lines"] if rest else kept)


def _joined(parts: Sequence[str], nothing: str) -> str:
    return "\n\n".join(parts) or nothing
