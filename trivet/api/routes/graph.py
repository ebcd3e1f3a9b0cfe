"""`POST /v1/graph`: the relations among many documents, line by line while they are found."""

import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import Response

from trivet.api.errors.bodies import documented_errors, error_body
from trivet.api.errors.problem import describe_any
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options
from trivet.api.routes.graph_body import (
    EdgeEvent,
    GraphBody,
    GraphDocument,
    GraphEvidence,
    RefusedDocumentEvent,
    SpanOfDocument,
    SummaryEvent,
)
from trivet.api.routes.relations import span_answer
from trivet.api.service import Service
from trivet.api.streaming import LinesResponse, documented_lines
from trivet.config import TASKS
from trivet.dispatch.concurrency import within
from trivet.errors import DeadlineExceeded, InvalidInput, Overloaded, TrivetError
from trivet.json_lines import one_line
from trivet.metrics import GRAPH_DOCUMENTS, GRAPH_EDGES, GRAPH_PAIRS, MetricsSink
from trivet.passages.estimate import passage_tokens
from trivet.relations.claims import Claim
from trivet.relations.division import Document, Excerpt
from trivet.relations.graph import DocumentDone, GraphEdge, GraphRun, Progress, most_tokens
from trivet.relations.query import GraphQuery
from trivet.wording import field_and_sentence

logger = logging.getLogger(__name__)

PATH = "/v1/graph"

_RETRY_AFTER_S = 30.0
_BINARY_LOOK_CHARACTERS = 8192


def graph_router(service: Service, sink: MetricsSink) -> APIRouter:
    """Build the route."""
    router = APIRouter(route_class=JsonRoute, tags=["models"])
    running = _Running(service.settings.max_graphs)

    @router.post(
        PATH,
        summary="Find the relations among documents",
        responses={200: documented_lines("edges"), **documented_errors(PATH)},
    )
    async def graph(body: GraphBody, options: Options) -> Response:
        service.check_count(len(body.documents), "documents")
        for task in TASKS:
            await service.card(task, getattr(body, task))
        documents, refused = _checked(body.documents)
        query = await _query(service, body, documents, options)
        _check_cost(documents, query, service.settings.max_graph_tokens)
        lines = _lines(service, sink, documents, refused, query, service.timeout_s(options))
        running.begin()
        return LinesResponse(lines, on_end=running.end)

    return router


class _Running:
    """The graphs that are being computed, and the most that may be."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0

    def begin(self) -> None:
        """Count one more, or refuse it. Requests that arrive together find each other counted."""
        if self._count >= self._limit:
            raise Overloaded(
                f"{self._count} graphs are being computed; the limit is {self._limit} (limits.max_graphs)",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._count += 1

    def end(self) -> None:
        """Count one less."""
        self._count -= 1


def _checked(given: Sequence[Any]) -> tuple[list[GraphDocument], list[RefusedDocumentEvent]]:
    """Return the documents that can be read, and a line for each of the others."""
    documents: list[GraphDocument] = []
    refused: list[RefusedDocumentEvent] = []
    seen: set[str] = set()
    for index, item in enumerate(given):
        try:
            document = GraphDocument.model_validate(item)
            _check_document(document, seen)
        except ValidationError as error:
            first = error.errors()[0]
            kind = str(first["type"])
            _, message = field_and_sentence(kind, first["loc"], first.get("ctx", {}), first["msg"], whole="document")
            wrong = InvalidInput(message, field="documents", index=index, code=kind)
            refused.append(_refusal(index, item, wrong))
        except InvalidInput as error:
            error.index = index
            refused.append(_refusal(index, item, error))
        else:
            seen.add(document.id)
            documents.append(document)
    return documents, refused


def _check_document(document: GraphDocument, seen: set[str]) -> None:
    if document.id in seen:
        raise InvalidInput("another document has the same id", field="documents", code="duplicate_id")
    if not document.text.strip():
        raise InvalidInput("the text is blank; leave the document out", field="documents", code="blank_text")
    if "\0" in document.text[:_BINARY_LOOK_CHARACTERS]:
        raise InvalidInput(
            "the text holds zero bytes, so it is no text; leave the document out", field="documents", code="binary_text"
        )


def _refusal(index: int, item: Any, error: InvalidInput) -> RefusedDocumentEvent:
    named = item.get("id") if isinstance(item, dict) else None
    detail = error_body(describe_any(error))["error"]
    return {
        "event": "refused_document",
        "id": named if isinstance(named, str) and _is_unicode(named) else None,
        "index": index,
        "error": detail,
    }


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a surrogate pair, with which no line could be written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _query(
    service: Service, body: GraphBody, documents: Sequence[GraphDocument], options: CallOptions
) -> GraphQuery:
    settings = service.settings
    own = body.relations is None
    relations = body.relations or settings.relations
    no_relation = settings.no_relation if own and body.no_relation is None else body.no_relation
    if no_relation is not None and no_relation not in relations:
        raise InvalidInput(
            f"no_relation is {no_relation[:80]!r}, which is none of the relations: name one of them, or leave it out",
            field="no_relation",
        )
    threshold = (settings.threshold if own else 0.0) if body.threshold is None else body.threshold
    measured = own and no_relation == settings.no_relation and threshold >= settings.threshold
    unrelated_first = measured and not body.include_unrelated
    done = set(body.done)
    symmetric = settings.symmetric_relations if body.symmetric is None else body.symmetric
    return GraphQuery(
        relations=relations,
        no_relation=no_relation,
        symmetric=frozenset(symmetric) | ({no_relation} if no_relation is not None else set()),
        threshold=threshold,
        min_relevance=settings.min_relevance if body.min_relevance is None else body.min_relevance,
        passage_tokens=passage_tokens(await service.info.models(), settings.passage_tokens),
        link_relation=settings.link_relation if own and settings.link_relation in relations else None,
        clear_unrelated=settings.clear_unrelated if unrelated_first else None,
        passage_pairs=body.passage_pairs,
        neighbours=body.neighbours,
        per_document=body.per_document,
        include_unrelated=body.include_unrelated,
        done=frozenset(index for index, document in enumerate(documents) if document.id in done),
        # Hundreds of documents must not hold up a question, unless the caller says so.
        priority=options.priority if "priority" in options.model_fields_set else "bulk",
        no_store=options.no_store,
    )


def _check_cost(documents: Sequence[GraphDocument], query: GraphQuery, limit_tokens: int) -> None:
    tokens = most_tokens(sum(len(document.text) for document in documents), len(documents), query)
    if tokens > limit_tokens:
        raise InvalidInput(
            f"this graph may take {tokens} tokens; the limit is {limit_tokens} (limits.max_graph_tokens). "
            "Send fewer documents, or a smaller per_document or passage_pairs.",
            field="documents",
            code="too_many_tokens",
        )


async def _lines(
    service: Service,
    sink: MetricsSink,
    documents: Sequence[GraphDocument],
    refused: Sequence[RefusedDocumentEvent],
    query: GraphQuery,
    timeout_s: float,
) -> AsyncGenerator[bytes, None]:
    started_s = time.monotonic()
    texts = [Document(document.text, document.path or document.id, document.kind) for document in documents]
    run = GraphRun(service.dispatcher, texts, query)
    sink.count(GRAPH_DOCUMENTS, {"result": "refused"}, len(refused))
    for line in refused:
        yield _line(line)
    try:
        async with aclosing(run.events()) as events:
            async for event in within(events, timeout_s):
                match event:
                    case Progress():
                        shown = {"stage": event.stage, "done": event.done, "total": event.total}
                        yield _line({"event": "progress", **shown})
                    case GraphEdge():
                        sink.count(GRAPH_EDGES, {})
                        yield _line(_edge(event, documents))
                    case DocumentDone():
                        sink.count(GRAPH_DOCUMENTS, {"result": "done"})
                        yield _line({"event": "document_done", "id": documents[event.index].id})
    except TimeoutError:
        late = f"the graph is not complete after {service.time_taken(timeout_s)}"
        error = DeadlineExceeded(f"{late}; send the finished documents' ids as `done`")
        yield _line({"event": "error", **error_body(describe_any(error))})
    except Exception as failure:
        if not isinstance(failure, TrivetError):  # the status has been sent: no handler can answer for this one
            logger.exception("%s failed", PATH)
        yield _line({"event": "error", **error_body(describe_any(failure))})
    else:
        yield _line(_summary(run, documents, refused, time.monotonic() - started_s))
    finally:
        sink.count(GRAPH_PAIRS, {"model": "reranker"}, run.counts.pairs_reranked)
        sink.count(GRAPH_PAIRS, {"model": "classifier"}, run.counts.pairs_classified)


def _edge(edge: GraphEdge, documents: Sequence[GraphDocument]) -> EdgeEvent:
    return {
        "event": "edge",
        "source": documents[edge.source].id,
        "target": documents[edge.target].id,
        "relation": edge.relation,
        "directed": edge.directed,
        "confidence": round(edge.confidence, 4),
        "relevance": None if edge.relevance is None else round(edge.relevance, 4),
        "evidence": [_evidence(claim) for claim in edge.evidence],
    }


def _evidence(claim: Claim) -> GraphEvidence:
    return {
        "source": _span(claim.source),
        "target": _span(claim.target),
        "relation": claim.relation,
        "confidence": round(claim.confidence, 4),
        "relevance": None if claim.relevance is None else round(claim.relevance, 4),
    }


def _span(excerpt: Excerpt) -> SpanOfDocument:
    return {**span_answer(excerpt), "text": excerpt.text}


def _summary(
    run: GraphRun, documents: Sequence[GraphDocument], refused: Sequence[RefusedDocumentEvent], seconds: float
) -> SummaryEvent:
    counts = run.counts
    return {
        "event": "summary",
        "documents": len(documents),
        "refused_documents": len(refused),
        "passages": counts.passages,
        "pairs_imported": counts.pairs_imported,
        "pairs_classified": counts.pairs_classified,
        "pairs_reranked": counts.pairs_reranked,
        "edges": counts.edges,
        "unrelated_omitted": counts.unrelated_omitted,
        "below_threshold": counts.below_threshold,
        "below_min_relevance": counts.below_min_relevance,
        "beyond_per_document": counts.beyond_per_document,
        "truncated": counts.truncated,
        "tokens": counts.tokens,
        "seconds": round(seconds, 3),
        "devices": list(counts.devices),
    }


def _line(event: Mapping[str, Any]) -> bytes:
    return one_line(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))
