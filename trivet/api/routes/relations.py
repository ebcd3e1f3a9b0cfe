"""`POST /v1/relations`: the relations of a source to candidates, or of given pairs."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from trivet.api.answers import (
    EdgeAnswer,
    EvidenceAnswer,
    Omitted,
    RelationsAnswer,
    RelationsTimes,
    SpanAnswer,
    StageTimes,
    json_response,
    route_headers,
    token_usage,
)
from trivet.api.cost import check_exhaustive
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options, wants_lines
from trivet.api.schemas import CandidatesBody, PairsBody, RelationsBody
from trivet.api.service import Service
from trivet.api.settings import ApiSettings
from trivet.api.streaming import Part, Plan, batches_of, documented_lines, lines_response
from trivet.dispatch.protocol import Routed
from trivet.errors import InvalidInput
from trivet.messages import EngineResult, PairText, StageTimings
from trivet.passages.estimate import passage_tokens
from trivet.relations.compose import Candidate, RelationQuery, Selection, classify, select_candidates, select_pairs
from trivet.relations.division import Excerpt
from trivet.relations.edges import Edge, Judgement

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
        query = await _query(service, body, options)
        selection = await _select(service, body, query, options)
        left_s = max(0.001, service.timeout_s(options) - (time.monotonic() - started_s))
        if wants_lines(request):
            plan = _plan(service, selection, query)
            return await lines_response(plan, parallel=service.settings.parallel_calls, timeout_s=left_s)
        calls = [call for stage in selection.calls.values() for call in stage]
        stages = dict(selection.calls)
        edges: list[Edge] = []
        if selection.candidates:
            edges, classified = await service.in_time(classify(service.dispatcher, selection.candidates, query), left_s)
            calls += classified
            stages |= {"classify": classified} if classified else {}
        sifted = _Sifted(query)
        kept = sifted.keep(edges)
        answer: RelationsAnswer = {
            "object": "list",
            "edges": [_edge_answer(edge) for edge in kept],
            "omitted": _omitted(selection, sifted),
            "usage": token_usage(call.result.usage for call in calls),
            "timings_ms": _times(time.monotonic() - started_s, stages),
        }
        return json_response(answer, headers=route_headers(calls))

    return router


class _Sifted:
    """Edges that are kept, and counts of the others."""

    def __init__(self, query: RelationQuery) -> None:
        self._query = query
        self.unrelated = 0
        self.below_threshold = 0

    def keep(self, edges: Sequence[Edge]) -> list[Edge]:
        """Return the edges that the caller wants to see, and count the others."""
        kept = []
        for edge in edges:
            if edge.relation == self._query.no_relation and not self._query.include_unrelated:
                self.unrelated += 1
            elif edge.confidence < self._query.threshold:
                self.below_threshold += 1
            else:
                kept.append(edge)
        return kept


async def _query(service: Service, body: CandidatesBody | PairsBody, options: CallOptions) -> RelationQuery:
    """Return the caller's relations, or the configured ones with the label that means none of them."""
    settings = service.settings
    long_input = body.long_input or options.long_input
    # A policy for long texts is about texts that are read whole.
    by_passages = body.evidence == "passages" or (body.evidence is None and long_input == "window")
    cards = await service.info.models()
    # Links are between passages, and stand for one of the configured relations.
    links_count = body.relations is None and by_passages and settings.link_relation in settings.relations
    everything = body.include_unrelated or isinstance(body, PairsBody)
    threshold = _threshold(body, settings)
    unrelated_first = body.relations is None and by_passages and not everything and threshold >= settings.threshold
    return RelationQuery(
        relations=body.relations or settings.relations,
        no_relation=settings.no_relation if body.relations is None else None,
        min_relevance=_min_relevance(body, settings),
        threshold=threshold,
        include_unrelated=everything,
        passage_tokens=passage_tokens(cards, settings.passage_tokens) if by_passages else None,
        passage_pairs=body.passage_pairs,
        link_relation=settings.link_relation if links_count else None,
        clear_unrelated=settings.clear_unrelated if unrelated_first else None,
        long_input=long_input,
        priority=options.priority,
        no_store=options.no_store,
    )


def _threshold(body: CandidatesBody | PairsBody, settings: ApiSettings) -> float:
    if body.threshold is not None:
        return body.threshold
    if isinstance(body, PairsBody):
        return 0.0  # every pair that the caller names is answered
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
        if query.passage_tokens is None:
            texts = [(pair.source, pair.target) for pair in body.pairs]
            await _check_exhaustive(service, (), texts, query, "pairs")
        pairs = [PairText(pair.source, pair.target) for pair in body.pairs]
        return await service.in_time(select_pairs(service.dispatcher, pairs, query), service.timeout_s(options))
    service.check_count(len(body.candidates), "candidates")
    service.check_cost(body.cost(query.relations), "candidates")
    source, candidates = body.documents()
    if query.passage_tokens is None:
        if body.source_path is not None or body.candidate_paths is not None:
            raise InvalidInput(
                "paths are for texts that are read by passages, and this request has them read whole (`evidence` or "
                "`long_input`); leave out one or the other",
                field="source_path" if body.source_path is not None else "candidate_paths",
            )
        texts = [(body.source, candidate) for candidate in body.candidates]
        shortest = sorted(texts, key=lambda pair: len(pair[1]))[: body.top_k]
        await _check_exhaustive(service, texts, shortest, query, "candidates")
    work = select_candidates(service.dispatcher, source, candidates, query, top_k=body.top_k)
    return await service.in_time(work, service.timeout_s(options))


async def _check_exhaustive(
    service: Service,
    ranked: Iterable[tuple[str, str]],
    related: Iterable[tuple[str, str]],
    query: RelationQuery,
    field: str,
) -> None:
    cards, limit_tokens = await service.info.models(), service.settings.max_request_tokens
    check_exhaustive(ranked, related, query.relations, cards, limit_tokens, field)


def _plan(service: Service, selection: Selection, query: RelationQuery) -> Plan:
    sifted = _Sifted(query)

    async def part(candidates: Sequence[Candidate]) -> Part:
        edges, calls = await classify(service.dispatcher, candidates, query)
        return Part([{"object": "edge", **_edge_answer(edge)} for edge in sifted.keep(edges)], len(edges), calls)

    batches = batches_of(selection.candidates, service.settings.stream_chunk_inputs)
    return Plan(
        [partial(part, candidates) for _, candidates in batches],
        len(selection.candidates),
        calls_before=[call for stage in selection.calls.values() for call in stage],
        ending=lambda: {"omitted": _omitted(selection, sifted)},
    )


def _edge_answer(edge: Edge) -> EdgeAnswer:
    return {
        "source_index": edge.source_index,
        "target_index": edge.target_index,
        "relation": edge.relation,
        "confidence": edge.confidence,
        "scores": dict(edge.scores),
        "relevance": edge.relevance,
        "windows": edge.windows,
        "truncated": edge.truncated,
        "evidence": [_evidence(judgement) for judgement in edge.evidence],
    }


def _evidence(judgement: Judgement) -> EvidenceAnswer:
    return {
        "source": span_answer(judgement.source),
        "target": span_answer(judgement.target),
        "relation": judgement.relation,
        "confidence": judgement.confidence,
        "relevance": judgement.relevance,
    }


def span_answer(excerpt: Excerpt) -> SpanAnswer:
    """Tell where a passage is."""
    return {
        "start": excerpt.start,
        "end": excerpt.end,
        "start_line": excerpt.start_line,
        "end_line": excerpt.end_line,
    }


def _omitted(selection: Selection, sifted: _Sifted) -> Omitted:
    return {
        "below_min_relevance": selection.below_min_relevance,
        "beyond_top_k": selection.beyond_top_k,
        "below_threshold": sifted.below_threshold,
        "unrelated": sifted.unrelated,
        "unlinked_code": selection.unlinked_code,
    }


def _times(total_s: float, stages: Mapping[str, Sequence[Routed[EngineResult]]]) -> RelationsTimes:
    """Return the times of each stage, the sum of its calls."""
    of_stage = {name: _stage_times([call.result.timings for call in calls]) for name, calls in stages.items()}
    return cast("RelationsTimes", {"total": _ms(total_s), **of_stage})


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _stage_times(timings: Sequence[StageTimings]) -> StageTimes:
    return {
        "tokenize": _ms(sum(timing.tokenize_s for timing in timings)),
        "queue": _ms(sum(timing.queue_s for timing in timings)),
        "forward": _ms(sum(timing.forward_s for timing in timings)),
    }
