"""The native routes: embeddings in OpenAI's shape, classification and relations in our own."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from trivet.api.answer_types import (
    ClassifyAnswer,
    EdgeAnswer,
    EmbeddingsAnswer,
    Omitted,
    RelationsAnswer,
    RelationsTimes,
    StageTimes,
    embedding_items,
    label_scores,
    route_headers,
    token_usage,
)
from trivet.api.errors.bodies import documented_errors
from trivet.api.errors.route import DialectRoute
from trivet.api.options import CallOptions, Options
from trivet.api.responses import json_response
from trivet.api.schemas import ClassifyBody, EmbeddingsBody, PairsBody, RelationsBody
from trivet.api.service import Service
from trivet.api.streaming import Part, Plan, batches_of, documented_lines, lines_response, wants_lines
from trivet.dispatch.field_index import told_by_position
from trivet.dispatch.protocol import Routed
from trivet.messages import ClassifyRequest, EmbedRequest, EmbedResult, EngineResult, ModelCard, StageTimings
from trivet.relations.compose import Asking, Candidate, Selection, classify, select
from trivet.relations.edges import Edge


def native_router(service: Service) -> APIRouter:
    """Routes over a service."""
    router = APIRouter(route_class=DialectRoute)
    errors = documented_errors("/v1/embeddings")

    @router.post(
        "/v1/embeddings",
        summary="Embed texts (OpenAI shape)",
        tags=["models"],
        responses={200: {"model": EmbeddingsAnswer, **documented_lines("embeddings")}, **errors},
    )
    async def embeddings(body: EmbeddingsBody, request: Request, options: Options) -> Response:
        service.check_count(len(body.input), "input")
        card = await service.card("embedder", body.model)
        if wants_lines(request):
            plan = _embedding_plan(service, body, card, options)
            return await _lines(service, plan, service.timeout_s(options))
        routed = await service.in_time(embed_texts(service, body, body.input, options), options)
        return json_response(embeddings_answer(body, card, routed), headers=route_headers([routed]))

    @router.post(
        "/v1/classify",
        summary="Zero-shot classification of texts or pairs",
        tags=["models"],
        responses={200: {"model": ClassifyAnswer}, **errors},
    )
    async def classify_texts(body: ClassifyBody, options: Options) -> Response:
        service.check_count(len(body.input), "input")
        card = await service.card("classifier", body.model)
        hypotheses = body.hypotheses()
        routed = await service.in_time(
            service.dispatcher.classify(
                ClassifyRequest(
                    tuple(item.to_message() for item in body.input),
                    hypotheses,
                    multi_label=body.multi_label,
                    long_input=body.long_input or options.long_input,
                    priority=options.priority,
                )
            ),
            options,
        )
        usage = routed.result.usage
        answer: ClassifyAnswer = {
            "object": "list",
            "model": card.name,
            "data": [
                {
                    "index": index,
                    "labels": label_scores(hypotheses, scores),
                    "windows": usage.windows[index],
                    "truncated": usage.truncated[index],
                }
                for index, scores in enumerate(routed.result.scores)
            ],
            "usage": token_usage([usage]),
        }
        return json_response(answer, headers=route_headers([routed]))

    @router.post(
        "/v1/relations",
        summary="Relate a source to candidates, or pairs to each other",
        tags=["models"],
        responses={200: {"model": RelationsAnswer, **documented_lines("relations")}, **errors},
    )
    async def relations(body: RelationsBody, request: Request, options: Options) -> Response:
        started_s = time.monotonic()
        if isinstance(body, PairsBody):
            service.check_count(len(body.pairs), "pairs")
        else:
            service.check_count(len(body.candidates), "candidates")
        asking = Asking.of(body, options, service.settings)
        selection = await service.in_time(select(service.dispatcher, body, asking), options)
        left_s = max(0.001, service.timeout_s(options) - (time.monotonic() - started_s))
        if wants_lines(request):
            return await _lines(service, _relations_plan(service, selection, asking), left_s)
        calls: list[Routed[EngineResult]] = [selection.reranked] if selection.reranked else []
        times: RelationsTimes = {"total": 0.0}
        if selection.reranked:
            times["rerank"] = _stage_times(selection.reranked.result.timings)
        edges: list[Edge] = []
        if selection.candidates:
            work = classify(service.dispatcher, selection.candidates, asking)
            edges, classified = await service.in_time(work, CallOptions(timeout_s=left_s))
            calls.append(classified)
            times["classify"] = _stage_times(classified.result.timings)
        confident = [edge for edge in edges if edge.confidence >= asking.threshold]
        times["total"] = _ms(time.monotonic() - started_s)
        answer: RelationsAnswer = {
            "object": "list",
            "edges": [_edge_answer(edge) for edge in confident],
            "omitted": _omitted(selection, len(edges) - len(confident)),
            "usage": token_usage(call.result.usage for call in calls),
            "timings_ms": times,
        }
        return json_response(answer, headers=route_headers(calls))

    return router


def embeddings_answer(body: EmbeddingsBody, card: ModelCard, routed: Routed[EmbedResult]) -> EmbeddingsAnswer:
    """OpenAI's answer, with windows and cuts told per input."""
    usage = routed.result.usage
    return {
        "object": "list",
        "data": embedding_items(routed.result.vectors, usage, as_base64=body.encoding_format == "base64"),
        "model": card.name,
        "usage": token_usage([usage]),
    }


async def embed_texts(
    service: Service, body: EmbeddingsBody, texts: Sequence[str], options: CallOptions
) -> Routed[EmbedResult]:
    """Embed some of a body's texts as the body says."""
    return await service.dispatcher.embed(
        EmbedRequest(
            tuple(texts),
            input_type=body.input_type,
            dimensions=body.dimensions,
            long_input=body.long_input or options.long_input,
            priority=options.priority,
        )
    )


def _embedding_plan(service: Service, body: EmbeddingsBody, card: ModelCard, options: CallOptions) -> Plan:
    async def part(start: int, texts: Sequence[str]) -> Part:
        with told_by_position(range(start, start + len(texts))):
            routed = await embed_texts(service, body, texts, options)
        as_base64 = body.encoding_format == "base64"
        lines = embedding_items(routed.result.vectors, routed.result.usage, as_base64=as_base64, first_index=start)
        return Part(lines, len(texts), routed)

    batches = [partial(part, start, texts) for start, texts in batches_of(body.input, _batch_size(service))]
    return Plan(batches, len(body.input), ending=lambda: {"model": card.name})


def _relations_plan(service: Service, selection: Selection, asking: Asking) -> Plan:
    below_threshold = 0

    async def part(candidates: Sequence[Candidate]) -> Part:
        nonlocal below_threshold
        edges, routed = await classify(service.dispatcher, candidates, asking)
        confident = [edge for edge in edges if edge.confidence >= asking.threshold]
        below_threshold += len(edges) - len(confident)
        return Part([{"object": "edge", **_edge_answer(edge)} for edge in confident], len(edges), routed)

    return Plan(
        [partial(part, candidates) for _, candidates in batches_of(selection.candidates, _batch_size(service))],
        len(selection.candidates),
        calls_before=[selection.reranked] if selection.reranked else [],
        ending=lambda: {"omitted": _omitted(selection, below_threshold)},
    )


async def _lines(service: Service, plan: Plan, timeout_s: float) -> Response:
    return await lines_response(plan, parallel=service.settings.parallel_calls, timeout_s=timeout_s)


def _batch_size(service: Service) -> int:
    return service.settings.stream_chunk_inputs


def _edge_answer(edge: Edge) -> EdgeAnswer:
    return cast("EdgeAnswer", asdict(edge))


def _omitted(selection: Selection, below_threshold: int) -> Omitted:
    return {
        "below_min_relevance": selection.below_min_relevance,
        "beyond_top_k": selection.beyond_top_k,
        "below_threshold": below_threshold,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _stage_times(timings: StageTimings) -> StageTimes:
    return {
        "tokenize": _ms(timings.tokenize_s),
        "queue": _ms(timings.queue_s),
        "forward": _ms(timings.forward_s),
    }
