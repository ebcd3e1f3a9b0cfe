"""The relations between the texts of a folder: collected from the server's stream, continued after interruptions."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter, ValidationError

from trivet.client import (
    AsyncClient,
    Busy,
    DocumentDone,
    GraphDocument,
    GraphEdge,
    GraphProgress,
    GraphSummary,
    RefusedDocument,
    TimedOut,
    Unreachable,
)
from trivet.files import open_own, read_regular
from trivet.folders.documents import Document

OnProgress = Callable[[str, int, int], None]
"""Called with a stage of the work, and how many of how many steps of it are done."""

_FORMAT = "trivet-graph-1"
_MOST_BYTES = 1 << 30
"""Of a file that is continued; a larger one is not Trivet's, whose documents have at most 8 MB."""
_EDGE: TypeAdapter[GraphEdge] = TypeAdapter(GraphEdge)
_REFUSED: TypeAdapter[RefusedDocument] = TypeAdapter(RefusedDocument)


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """What to look for. None: the server's default."""

    relations: Mapping[str, str] | None = None
    passage_pairs: int | None = None
    neighbours: int | None = None
    per_document: int | None = None
    threshold: float | None = None
    min_relevance: float | None = None
    include_unrelated: bool = False


@dataclass(slots=True)
class Graph:
    """The documents of a folder and the relations between them."""

    documents: list[str]
    """Paths."""
    edges: list[GraphEdge] = field(default_factory=list)
    refused: list[RefusedDocument] = field(default_factory=list)
    summary: Mapping[str, Any] = field(default_factory=dict)
    """What the server counted; of the last request, if the work was continued."""


class PartialFile:
    """What a run has found so far, as JSON lines beside its output.

    The first line identifies the texts and the settings: after a change of either, everything is found again.
    """

    def __init__(self, path: Path, documents: Sequence[Document], settings: GraphSettings) -> None:
        self.path = path
        self._identity = _identity(documents, settings)
        self._file: BinaryIO | None = None

    def load(self) -> tuple[Graph | None, set[str]]:
        """Return what a former run has found and the documents that it has finished, or (None, nothing).

        Edges of documents that it has not finished are dropped, since they come again.
        """
        try:
            content = read_regular(self.path, _MOST_BYTES)
        except FileNotFoundError:
            return None, set()
        if len(content) > _MOST_BYTES:
            return None, set()
        lines = content.split(b"\n")
        records = [record for line in lines if (record := _parsed(line)) is not None]
        if not records or records[0].get("identity") != self._identity:
            return None, set()
        ids = (record.get("id") for record in records if record.get("event") == "document_done")
        done = {id_ for id_ in ids if isinstance(id_, str)}
        graph = Graph([])
        for record in records[1:]:
            event = {name: value for name, value in record.items() if name != "event"}
            try:
                if record.get("event") == "edge":
                    edge = _EDGE.validate_python(event)
                    graph.edges += [edge] if edge.source in done else []
                elif record.get("event") == "refused_document":
                    graph.refused.append(_REFUSED.validate_python(event))
            except ValidationError:
                return None, set()  # written by another version
        return graph, done

    def start(self, graph: Graph, done: Iterable[str]) -> None:
        """Write what is known so far, and keep the file open for more."""
        self._file = open_own(self.path)
        self._write({"identity": self._identity})
        for edge in graph.edges:
            self.add(edge)
        for refused in graph.refused:
            self.add(refused)
        for id_ in sorted(done):
            self.add(DocumentDone(id_))

    def add(self, event: GraphEdge | DocumentDone | RefusedDocument) -> None:
        """Append an event, which survives the end of the process."""
        names = {GraphEdge: "edge", DocumentDone: "document_done", RefusedDocument: "refused_document"}
        self._write({"event": names[type(event)], **asdict(event)})

    def close(self) -> None:
        """Close the file. It stays until `discard`, so that nothing is lost before the result is written."""
        if self._file is not None:
            self._file.close()

    def discard(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._file is None:
            raise ValueError("the file is not open; call start first")
        self._file.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        self._file.flush()


async def collect_graph(
    client: AsyncClient,
    documents: Sequence[Document],
    settings: GraphSettings,
    partial: PartialFile,
    *,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> Graph:
    """Find the relations between documents. A stream that breaks is continued as long as it gets further.

    Args:
        client: a client of the server.
        documents: at least two.
        settings: what to look for.
        partial: where to keep what has been found; the caller discards it when it has written the result.
        on_progress: called as the work goes on.

    Raises:
        ClientError: the server refused the request, or failed without having got further. `partial` keeps what is done.
        OSError: `partial` cannot be written.
    """
    graph, done = partial.load()
    graph = graph or Graph([])
    graph.documents = [one.path for one in documents]
    partial.start(graph, done)
    complete = False
    try:
        while not complete:
            before = len(done)
            try:
                await _continue(client, documents, settings, partial, graph, done, on_progress)
                complete = True
            except (Unreachable, TimedOut, Busy):
                if len(done) == before:
                    raise
            # What a broken stream sent of an unfinished document comes again.
            graph.edges = [edge for edge in graph.edges if complete or edge.source in done]
    finally:
        partial.close()
    graph.edges = _merged(graph.edges)
    return graph


async def _continue(
    client: AsyncClient,
    documents: Sequence[Document],
    settings: GraphSettings,
    partial: PartialFile,
    graph: Graph,
    done: set[str],
    on_progress: OnProgress,
) -> None:
    sent = [GraphDocument(one.path, one.text, one.path) for one in documents]
    events = client.graph(
        sent,
        done=sorted(done),
        relations=settings.relations,
        passage_pairs=settings.passage_pairs,
        neighbours=settings.neighbours,
        per_document=settings.per_document,
        threshold=settings.threshold,
        min_relevance=settings.min_relevance,
        include_unrelated=settings.include_unrelated,
    )
    refused = {one.id for one in graph.refused}
    async with aclosing(events):
        async for event in events:
            match event:
                case GraphEdge():
                    graph.edges.append(event)
                    partial.add(event)
                case DocumentDone():
                    done.add(event.id)
                    partial.add(event)
                case RefusedDocument():
                    if event.id not in refused:
                        refused.add(event.id)
                        graph.refused.append(event)
                        partial.add(event)
                case GraphProgress():
                    on_progress(event.stage, event.done, event.total)
                case GraphSummary():
                    graph.summary = event.fields


def _merged(edges: Iterable[GraphEdge]) -> list[GraphEdge]:
    """Each edge once: the more confident one where two runs found it. The most confident edges come first."""
    best: dict[tuple[str, str, str], GraphEdge] = {}
    for edge in edges:
        source, target = edge.source, edge.target
        if not edge.directed and target < source:
            source, target = target, source
        key = (source, target, edge.relation)
        if key not in best or edge.confidence > best[key].confidence:
            best[key] = edge
    return sorted(best.values(), key=lambda edge: (-edge.confidence, edge.source, edge.target))


def _identity(documents: Sequence[Document], settings: GraphSettings) -> str:
    about = [_FORMAT, [(one.path, one.digest) for one in documents], asdict(settings)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's record; None for a line that was cut off."""
    try:
        record = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
