"""`POST /v1/relations`: the relations of a source to candidates, or of given pairs."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from trivet.api.answers import (
    EdgeAnswer,
    Omitted,
    RelationsAnswer,
    RelationsTimes,
    StageTimes,
    json_response,
    route_headers,
    token_usage,
)
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options, wants_lines
from trivet.api.schemas import CandidatesBody, PairsBody, RelationsBody
from trivet.api.service import Service
from trivet.api.settings import ApiSettings
from trivet.api.streaming import Part, Plan, batches_of, documented_lines, lines_response
from trivet.dispatch.protocol import Routed
from trivet.messages import EngineResult, PairText, StageTimings
from trivet.relations.compose import Candidate, RelationQuery, Selection, classify, select_candidates, select_pairs
from trivet.relations.edges import Edge

PATH = "/v1/relations"


def relations_router(service: Service) -> APIRouter:
    """Build the route."""
    router = APIRouter(route_class=JsonRoute, tags=["models"])

    @router.post(
        PATH,
        summary="Relate a source to candidates, or pairs to each other",
        responses={200: {"model": RelationsAnswer, **documented_lines("relations")}, **documented_errors(PATH)},
    )
    async def relations(body: RelationsBody, request: Request, options: Options) -> Response:
        started_s = time.monotonic()
        query = _query(body, options, service.settings)
        selection = await _select(service, body, query, options)
        left_s = max(0.001, service.timeout_s(options) - (time.monotonic() - started_s))
        if wants_lines(request):
            plan = _plan(service, selection, query)
            return await lines_response(plan, parallel=service.settings.parallel_calls, timeout_s=left_s)
        calls: list[Routed[EngineResult]] = [selection.reranked] if selection.reranked else []
        times: RelationsTimes = {"total": 0.0}
        if selection.reranked:
            times["rerank"] = _stage_times(selection.reranked.result.timings)
        edges: list[Edge] = []
        if selection.candidates:
            edges, classified = await service.in_time(classify(service.dispatcher, selection.candidates, query), left_s)
            calls.append(classified)
            times["classify"] = _stage_times(classified.result.timings)
        confident = [edge for edge in edges if edge.confidence >= query.threshold]
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


def _query(body: CandidatesBody | PairsBody, options: CallOptions, settings: ApiSettings) -> RelationQuery:
    """Return the caller's relations, or the configured ones with the label that means none of them."""
    return RelationQuery(
        relations=body.relations or settings.relations,
        no_relation=settings.no_relation if body.relations is None else None,
        min_relevance=_min_relevance(body, settings),
        threshold=_threshold(body, settings),
        long_input=body.long_input or options.long_input,
        priority=options.priority,
        no_store=options.no_store,
    )


def _threshold(body: CandidatesBody | PairsBody, settings: ApiSettings) -> float:
    if body.threshold is not None:
        return body.threshold
    # A confidence is a share among the relations of the request: a threshold measured for some says nothing of others.
    return settings.threshold if body.relations is None else 0.0


def _min_relevance(body: CandidatesBody | PairsBody, settings: ApiSettings) -> float:
    if isinstance(body, PairsBody) or body.min_relevance is None:
        return settings.min_relevance
    return body.min_relevance


async def _select(
    service: Service, body: CandidatesBody | PairsBody, query: RelationQuery, options: CallOptions
) -> Selection:
    if isinstance(body, PairsBody):
        service.check_count(len(body.pairs), "pairs")
        service.check_cost(body.cost(query.relations), "pairs")
        return select_pairs([PairText(pair.source, pair.target) for pair in body.pairs])
    service.check_count(len(body.candidates), "candidates")
    service.check_cost(body.cost(query.relations), "candidates")
    work = select_candidates(service.dispatcher, body.source, body.candidates, query, top_k=body.top_k)
    return await service.in_time(work, service.timeout_s(options))


def _plan(service: Service, selection: Selection, query: RelationQuery) -> Plan:
    below_threshold = 0

    async def part(candidates: Sequence[Candidate]) -> Part:
        nonlocal below_threshold
        edges, routed = await classify(service.dispatcher, candidates, query)
        confident = [edge for edge in edges if edge.confidence >= query.threshold]
        below_threshold += len(edges) - len(confident)
        return Part([{"object": "edge", **_edge_answer(edge)} for edge in confident], len(edges), routed)

    batches = batches_of(selection.candidates, service.settings.stream_chunk_inputs)
    return Plan(
        [partial(part, candidates) for _, candidates in batches],
        len(selection.candidates),
        calls_before=[selection.reranked] if selection.reranked else [],
        ending=lambda: {"omitted": _omitted(selection, below_threshold)},
    )


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
