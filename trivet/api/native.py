"""The native routes under `/v1`, and health."""

import asyncio
import base64
import time
import uuid
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from trivet.api.dispatcher import Dispatcher, Readiness, Routed
from trivet.api.json_response import json_response
from trivet.api.relate import relate
from trivet.api.schemas import ClassifyBody, EmbeddingsBody, RelationsBody, RerankBody
from trivet.api.settings import ApiSettings
from trivet.errors import DeadlineExceeded, InvalidInput
from trivet.messages import (
    ClassifyRequest,
    EmbedRequest,
    EngineResult,
    Floats,
    ModelCard,
    RerankRequest,
    StageTimings,
    Usage,
)

T = TypeVar("T")


def native_router(dispatcher: Dispatcher, settings: ApiSettings) -> APIRouter:
    """Routes over a dispatcher."""
    router = APIRouter()
    lifecycle = _Lifecycle()

    @router.post("/v1/embeddings", summary="Embed texts (OpenAI shape)", tags=["models"])
    async def embeddings(body: EmbeddingsBody, request: Request) -> Response:
        _check_count(len(body.input), settings, "input")
        routed = await _in_time(
            dispatcher.embed(
                EmbedRequest(
                    tuple(body.input),
                    input_type=body.input_type,
                    dimensions=body.dimensions,
                    long_input=body.long_input,
                )
            ),
            request,
            settings,
        )
        usage = routed.result.usage
        answer = {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _encode(vector) if body.encoding_format == "base64" else vector,
                    "windows": usage.windows[index],
                    "truncated": usage.truncated[index],
                }
                for index, vector in enumerate(routed.result.vectors)
            ],
            "model": body.model or await _name(dispatcher, "embedder"),
            "usage": _openai_usage([usage]),
        }
        return json_response(answer, headers=route_headers([routed]))

    @router.post("/v1/rerank", summary="Sort documents by relevance to a query", tags=["models"])
    async def rerank(body: RerankBody, request: Request) -> Response:
        _check_count(len(body.documents), settings, "documents")
        routed = await _in_time(
            dispatcher.rerank(RerankRequest(body.query, tuple(body.documents), long_input=body.long_input)),
            request,
            settings,
        )
        usage = routed.result.usage
        order = (-routed.result.scores).argsort(kind="stable")[: body.top_n]
        results: list[dict[str, Any]] = [
            {
                "index": int(index),
                "relevance_score": float(routed.result.scores[index]),
                "windows": usage.windows[index],
                "truncated": usage.truncated[index],
            }
            for index in order
        ]
        if body.return_documents:
            for result in results:
                result["document"] = {"text": body.documents[result["index"]]}
        answer = {
            "id": f"rerank-{uuid.uuid4().hex}",
            "model": body.model or await _name(dispatcher, "reranker"),
            "results": results,
            "usage": _openai_usage([usage]),
        }
        return json_response(answer, headers=route_headers([routed]))

    @router.post("/v1/classify", summary="Zero-shot classification of texts or pairs", tags=["models"])
    async def classify(body: ClassifyBody, request: Request) -> Response:
        _check_count(len(body.input), settings, "input")
        hypotheses = body.hypotheses()
        routed = await _in_time(
            dispatcher.classify(
                ClassifyRequest(
                    tuple(item.to_message() for item in body.input),
                    hypotheses,
                    multi_label=body.multi_label,
                    long_input=body.long_input,
                )
            ),
            request,
            settings,
        )
        usage = routed.result.usage
        labels = list(hypotheses)
        answer = {
            "object": "list",
            "model": body.model or await _name(dispatcher, "classifier"),
            "data": [
                {
                    "index": index,
                    "labels": [
                        {"label": labels[at], "score": float(scores[at])} for at in (-scores).argsort(kind="stable")
                    ],
                    "windows": usage.windows[index],
                    "truncated": usage.truncated[index],
                }
                for index, scores in enumerate(routed.result.scores)
            ],
            "usage": _openai_usage([usage]),
        }
        return json_response(answer, headers=route_headers([routed]))

    @router.post("/v1/relations", summary="Relate a source to candidates, or pairs to each other", tags=["models"])
    async def relations(body: RelationsBody, request: Request) -> Response:
        _check_count(len(body.candidates or body.pairs or ()), settings, "candidates" if body.candidates else "pairs")
        started_s = time.monotonic()
        chosen = body.relations or settings.relations
        absent = settings.absent_relation if body.relations is None else None
        related = await _in_time(relate(dispatcher, body, chosen, absent), request, settings)
        calls = [routed for routed in (related.reranked, related.classified) if routed is not None]
        timings: dict[str, Any] = {"total": _ms(time.monotonic() - started_s)}
        if related.reranked:
            timings["rerank"] = _stages_ms(related.reranked.result.timings)
        if related.classified:
            timings["classify"] = _stages_ms(related.classified.result.timings)
        answer = {
            "object": "list",
            "edges": [asdict(edge) for edge in related.edges],
            "left_out": {
                "below_min_relevance": related.below_min_relevance,
                "beyond_top_k": related.beyond_top_k,
                "below_threshold": related.below_threshold,
            },
            "usage": _openai_usage([routed.result.usage for routed in calls]),
            "timings_ms": timings,
        }
        return json_response(answer, headers=route_headers(calls))

    @router.get("/v1/models", summary="The models served", tags=["models"])
    async def models() -> Response:
        cards = await dispatcher.models()
        return json_response({"object": "list", "data": [_model_entry(card) for card in cards]})

    @router.get("/healthz", summary="Is the process up", tags=["health"])
    async def healthz() -> Response:
        return json_response({"status": "ok"})

    @router.get("/readyz", summary="Can every model answer, and on which device", tags=["health"])
    async def readyz() -> Response:
        readiness = await dispatcher.readiness()
        status = lifecycle.status(readiness)
        return json_response(
            {"status": status, "models": _readiness_entries(readiness)},
            status=200 if status in ("ready", "degraded") else 503,
            headers={} if status in ("ready", "degraded") else {"retry-after": "1"},
        )

    return router


class _Lifecycle:
    """Tells a service that is starting from one that lost a lane."""

    def __init__(self) -> None:
        self._was_ready = False

    def status(self, readiness: Readiness) -> str:
        """`ready`, `degraded` (a lane is lost, every model still answers), `starting` or `unavailable`."""
        if readiness.all_ready:
            self._was_ready = True
            return "ready"
        if not self._was_ready:
            return "starting"
        return "degraded" if readiness.all_served else "unavailable"


def route_headers(calls: Iterable[Routed[EngineResult]]) -> dict[str, str]:
    """`x-trivet-device` and, if any call left its GPU lane, `x-trivet-reroute-reason`."""
    calls = list(calls)
    headers = {"x-trivet-device": ", ".join(dict.fromkeys(routed.result.device for routed in calls)) or "none"}
    reasons = dict.fromkeys(routed.reroute_reason for routed in calls if routed.reroute_reason)
    if reasons:
        # Header values are latin-1; a driver's message may hold anything.
        headers["x-trivet-reroute-reason"] = "; ".join(reasons).encode("ascii", "replace").decode().replace("\n", " ")
    return headers


async def _in_time(work: Awaitable[T], request: Request, settings: ApiSettings) -> T:
    """Await under the request's own deadline (`x-request-timeout-seconds`) or the configured one."""
    timeout_s = settings.request_timeout_s
    stated = request.headers.get("x-request-timeout-seconds")
    if stated is not None:
        timeout_s = _positive_seconds(stated)
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError:
        raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from None


def _positive_seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InvalidInput(
            f"x-request-timeout-seconds must be a positive number, not {text[:40]!r}", param="x-request-timeout-seconds"
        )
    return value


def _check_count(count: int, settings: ApiSettings, param: str) -> None:
    if count > settings.max_inputs:
        raise InvalidInput(
            f"{param} has {count} entries; the limit is {settings.max_inputs}", param=param, code="too_many_inputs"
        )


async def _name(dispatcher: Dispatcher, task: str) -> str:
    return next(card.name for card in await dispatcher.models() if card.task == task)


def _encode(vector: Floats) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


def _openai_usage(usages: Iterable[Usage]) -> Mapping[str, int]:
    tokens = sum(usage.tokens for usage in usages)
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _stages_ms(timings: StageTimings) -> dict[str, float]:
    return {
        "tokenize": _ms(timings.tokenize_s),
        "queue": _ms(timings.queue_s),
        "forward": _ms(timings.forward_s),
    }


def _model_entry(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "object": "model",
        "created": 0,
        "owned_by": "trivet",
        "task": card.task,
        "revision": card.revision,
        "max_tokens": card.max_tokens,
        "dimensions": card.dimensions,
        "labels": list(card.labels) or None,
        "precision": card.precision,
    }


def _readiness_entries(readiness: Readiness) -> dict[str, Any]:
    return {
        model: {
            "route": readiness.reasons[model],
            "lanes": {
                lane: {"ready": health.ready, "device": health.device, "detail": health.detail}
                for lane, health in lanes.items()
            },
        }
        for model, lanes in readiness.lanes.items()
    }
