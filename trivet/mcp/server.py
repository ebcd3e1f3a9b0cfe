"""An MCP server with a tool for each kind of call to a Trivet server, and with tools that read a folder.

It loads no model. The arguments and answers of the tools that make one call have the names of the HTTP API, so that an
error that names a field names the tool's argument.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent
from pydantic import Field
from typing_extensions import TypedDict

import trivet
from trivet.client import AsyncClient, ClientError, Edge
from trivet.client.calls import Pair, RelationPair
from trivet.mcp.arguments import Instruction, PlainlySpokenServer
from trivet.mcp.folder import Folder
from trivet.mcp.folder_tools import INSTRUCTIONS as FOLDER_INSTRUCTIONS
from trivet.mcp.folder_tools import READ_ONLY, add_folder_tools

T = TypeVar("T")

LongInput = Annotated[
    Literal["window", "error", "truncate"],
    Field(
        description=(
            "How to treat texts longer than the model's limit: `window` reads all of it in overlapping windows, "
            "`error` refuses it, `truncate` reads only its beginning."
        )
    ),
]
Texts = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


INSTRUCTIONS = (
    "Small local models for retrieval over code and prose. Use `rerank` to sort candidate snippets for a question, "
    "`relate` to find how one snippet depends on, extends or contradicts others, `classify` to label texts with labels "
    "of your choice, and `embed` only if you store or compare vectors yourself. Long texts are read completely, in "
    "windows. Send many texts in one call rather than one text in many calls."
)


class EmbeddedText(TypedDict):
    """The vector of one text."""

    index: int
    embedding: list[float]
    windows: int
    truncated: bool


class EmbedAnswer(TypedDict):
    """Vectors in the order of `input`."""

    model: str
    data: list[EmbeddedText]


class RankedText(TypedDict):
    """One document; `index` is its position in `documents`."""

    index: int
    relevance_score: float
    windows: int
    truncated: bool


class RerankAnswer(TypedDict):
    """Documents, the most relevant first."""

    model: str
    results: list[RankedText]


class LabelledText(TypedDict):
    """One text; `label` is the most likely one, `scores` are by label in descending order."""

    index: int
    label: str
    scores: dict[str, float]
    windows: int
    truncated: bool


class ClassifyAnswer(TypedDict):
    """Labels in the order of `input`."""

    model: str
    data: list[LabelledText]


class EvidenceFound(TypedDict):
    """The lines of two passages that speak for an edge, such as `3-9`, counted from 1."""

    source_lines: str
    target_lines: str
    relation: str
    confidence: float


class EdgeFound(TypedDict):
    """One relation; indices are positions in `candidates` or `pairs`."""

    source_index: int
    target_index: int
    relation: str
    confidence: float
    scores: dict[str, float]
    relevance: float | None
    windows: int
    truncated: bool
    evidence: list[EvidenceFound]


class CandidatesOmitted(TypedDict):
    """Number of candidates without an edge, by reason."""

    below_min_relevance: int
    beyond_top_k: int
    below_threshold: int
    unrelated: int
    unlinked_code: int


class RelateAnswer(TypedDict):
    """Edges, in descending order of the candidates' relevance."""

    edges: list[EdgeFound]
    omitted: CandidatesOmitted


class TextPair(TypedDict):
    """Two texts whose relation is requested."""

    source: Annotated[str, Field(min_length=1)]
    target: Annotated[str, Field(min_length=1)]


class PremisePair(TypedDict):
    """A text to classify against a second one."""

    text: Annotated[str, Field(min_length=1)]
    text_pair: Annotated[str, Field(min_length=1)]


def build_server(client: AsyncClient, folder: Folder | None = None) -> MCPServer[Any]:
    """Build the MCP server over a client, which the caller must close, and a folder, if tools are to read one."""
    instructions = INSTRUCTIONS if folder is None else f"{FOLDER_INSTRUCTIONS} {INSTRUCTIONS}"
    server: MCPServer[Any] = PlainlySpokenServer(
        "trivet", title="Trivet", version=trivet.__version__, instructions=instructions, log_level="WARNING"
    )
    if folder is not None:
        add_folder_tools(server, folder)

    @server.tool(title="Embed texts", annotations=READ_ONLY)
    async def embed(
        input: Annotated[Texts, Field(description="Texts to embed, code or prose.")],
        input_type: Annotated[
            Literal["query", "document"] | None,
            Field(description="Whether the texts are queries or documents; some models treat them differently."),
        ] = None,
        instruction: Instruction = None,
        dimensions: Annotated[
            int | None,
            Field(ge=1, description="Keep only this many dimensions of each vector, if the model supports it."),
        ] = None,
        long_input: LongInput = "window",
    ) -> Annotated[CallToolResult, EmbedAnswer]:
        """Turn texts into vectors whose dot product is their similarity.

        Vectors are long: to compare or sort texts, use `rerank`, which answers with scores instead.
        """
        answer = await _answer(
            client.embed(
                input,
                input_type=input_type,
                instruction=instruction,
                dimensions=dimensions,
                long_input=long_input,
            )
        )
        return _result(
            EmbedAnswer(
                model=answer.model,
                data=[
                    EmbeddedText(
                        index=item.index, embedding=item.vector, windows=item.windows, truncated=item.truncated
                    )
                    for item in answer.items
                ],
            )
        )

    @server.tool(title="Sort texts by relevance", annotations=READ_ONLY)
    async def rerank(
        query: Annotated[str, Field(min_length=1, description="The question or topic.")],
        documents: Annotated[Texts, Field(description="Snippets to sort: code, paragraphs, whole files.")],
        top_n: Annotated[int | None, Field(ge=1, description="Return only this many documents.")] = None,
        long_input: LongInput = "window",
    ) -> Annotated[CallToolResult, RerankAnswer]:
        """Sort documents by how well they answer a query, best first, each with a score from 0 to 1."""
        answer = await _answer(client.rerank(query, documents, top_n=top_n, long_input=long_input))
        return _result(
            RerankAnswer(
                model=answer.model,
                results=[
                    RankedText(
                        index=item.index, relevance_score=item.score, windows=item.windows, truncated=item.truncated
                    )
                    for item in answer.results
                ],
            )
        )

    @server.tool(title="Label texts", annotations=READ_ONLY)
    async def classify(
        input: Annotated[
            list[Annotated[str, Field(min_length=1)] | PremisePair],
            Field(min_length=1, description="Texts, or objects of text and text_pair that are classified together."),
        ],
        labels: Annotated[
            list[str] | dict[str, str],
            Field(min_length=1, description="Labels, or an object that maps each label to a sentence for it."),
        ],
        hypothesis_template: Annotated[
            str, Field(description="Sentence for labels that have none; {} stands for the label.")
        ] = "This example is {}.",
        multi_label: Annotated[
            bool,
            Field(description="True: score labels independently. False: score them against each other, summing to 1."),
        ] = False,
        long_input: LongInput = "window",
    ) -> Annotated[CallToolResult, ClassifyAnswer]:
        """Score texts against labels of your choice, without any training."""
        texts = [item if isinstance(item, str) else Pair(item["text"], item["text_pair"]) for item in input]
        call = client.classify(
            texts, labels, hypothesis_template=hypothesis_template, multi_label=multi_label, long_input=long_input
        )
        answer = await _answer(call)
        return _result(
            ClassifyAnswer(
                model=answer.model,
                data=[
                    LabelledText(
                        index=item.index,
                        label=item.label,
                        scores={score.label: score.score for score in item.labels},
                        windows=item.windows,
                        truncated=item.truncated,
                    )
                    for item in answer.items
                ],
            )
        )

    @server.tool(title="Relate texts", annotations=READ_ONLY)
    async def relate(
        source: Annotated[str | None, Field(description="The text to relate to the candidates.")] = None,
        candidates: Annotated[list[str] | None, Field(description="Texts that the source may be related to.")] = None,
        pairs: Annotated[
            list[TextPair] | None, Field(description="Pairs to classify, instead of source and candidates.")
        ] = None,
        source_path: Annotated[
            str | None,
            Field(min_length=1, description="The source's path, if it is a file: imports are resolved by paths."),
        ] = None,
        candidate_paths: Annotated[
            list[str | None] | None, Field(description="The candidates' paths, one each; null where there is none.")
        ] = None,
        top_k: Annotated[
            int | None, Field(ge=1, description="Classify this many of the most relevant candidates; by default 16.")
        ] = None,
        min_relevance: Annotated[
            Share | None,
            Field(description="Omit less relevant candidates; by default as the server is configured."),
        ] = None,
        relations: Annotated[
            dict[str, str] | None,
            Field(
                description=(
                    "Maps at least two relations to a sentence each, about the source and the candidate. "
                    "Default: dependency, expansion, contradiction, unrelated, as the server is configured."
                )
            ),
        ] = None,
        threshold: Annotated[
            Share | None,
            Field(description="Omit edges with a lower confidence; by default as the server is configured."),
        ] = None,
        long_input: LongInput = "window",
    ) -> Annotated[CallToolResult, RelateAnswer]:
        """Determine how a source relates to the most relevant of some candidates.

        Give either `source` and `candidates`, or only `pairs`, without `top_k`, `min_relevance` and paths. Give the
        paths of files: what the source imports is then a certain dependency, and code that it does not use is left out.
        """
        answer = await _answer(
            client.relate(
                source,
                candidates,
                pairs=None if pairs is None else [RelationPair(pair["source"], pair["target"]) for pair in pairs],
                source_path=source_path,
                candidate_paths=candidate_paths,
                top_k=top_k,
                min_relevance=min_relevance,
                relations=relations,
                threshold=threshold,
                long_input=long_input,
            )
        )
        return _result({"edges": [_edge(edge) for edge in answer.edges], "omitted": asdict(answer.omitted)})

    return server


async def serve_stdio(client: AsyncClient, root: Path | None) -> None:
    """Serve the parent process over stdin and stdout, until it closes stdin."""
    async with _opened(client, root) as server:
        await server.run_stdio_async()


async def serve_http(client: AsyncClient, root: Path | None, host: str, port: int) -> None:
    """Serve `http://host:port/mcp` until interrupted. It checks no keys, so use only a loopback host."""
    async with _opened(client, root) as server:
        await server.run_streamable_http_async(host=host, port=port)


@asynccontextmanager
async def _opened(client: AsyncClient, root: Path | None) -> AsyncIterator[MCPServer[Any]]:
    folder = None if root is None else Folder(client, root)
    async with client:
        try:
            yield build_server(client, folder)
        finally:
            if folder is not None:
                await folder.close()


async def _answer(call: Awaitable[T]) -> T:
    """Await a call; turn its error into a ToolError that names the argument."""
    try:
        return await call
    except ClientError as error:
        about = {"argument": error.param, "code": error.code, "status": error.status}
        known = ", ".join(f"{name} {value}" for name, value in about.items() if value is not None)
        raise ToolError(f"{error.message} ({known})" if known else error.message) from error


def _edge(edge: Edge) -> EdgeFound:
    """An edge whose evidence has lines instead of texts, which the agent has."""
    evidence = [
        EvidenceFound(
            source_lines=f"{one.source.start_line}-{one.source.end_line}",
            target_lines=f"{one.target.start_line}-{one.target.end_line}",
            relation=one.relation,
            confidence=one.confidence,
        )
        for one in edge.evidence
    ]
    return EdgeFound(
        source_index=edge.source_index,
        target_index=edge.target_index,
        relation=edge.relation,
        confidence=edge.confidence,
        scores=dict(edge.scores),
        relevance=edge.relevance,
        windows=edge.windows,
        truncated=edge.truncated,
        evidence=evidence,
    )


def _result(answer: Any) -> CallToolResult:
    """Return the answer as a structure, and as compact JSON for clients that only read text."""
    content = [TextContent(type="text", text=orjson.dumps(answer).decode())]
    return CallToolResult(content=content, structured_content=dict(answer))
