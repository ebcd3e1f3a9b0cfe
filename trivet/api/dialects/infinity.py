"""infinity's routes, under its default empty prefix."""

import time
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.api.answers import (
    EmbeddingsAnswer,
    LabelScore,
    TokenUsage,
    embedding_items,
    json_response,
    label_scores,
    new_id,
    route_headers,
    token_usage,
)
from trivet.api.dialect import schema_condition
from trivet.api.errors.bodies import documented_errors
from trivet.api.fields import Flag, MaybeEmptyDocuments, MaybeEmptyText, TextKind, read_documents
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options
from trivet.api.ranking import rank
from trivet.api.schemas import CountOrZero, EncodingFormat, MaybeEmptyTexts
from trivet.api.service import Service, embed, predict
from trivet.config import Task
from trivet.messages import EmbedRequest, PairText


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class InfinityEmbeddingsBody(_Body):
    """`POST /embeddings`: OpenAI's body for texts, where `dimensions` of 0 means all."""

    input: MaybeEmptyTexts
    model: str | None = None
    input_type: TextKind = None
    encoding_format: EncodingFormat = "float"
    dimensions: CountOrZero = 0
    modality: Literal["text"] = "text"


class InfinityRerankBody(_Body):
    """`POST /rerank` with `raw_scores` or `return_documents`, which infinity's client always sends."""

    model_config = ConfigDict(json_schema_extra=schema_condition("/rerank", "infinity_rerank"))

    query: MaybeEmptyText
    documents: MaybeEmptyDocuments
    model: str | None = None
    return_documents: Flag = False
    raw_scores: Flag = False
    top_n: CountOrZero | None = None


class InfinityClassifyBody(_Body):
    """`POST /classify` with `raw_scores`, which infinity's client always sends."""

    model_config = ConfigDict(json_schema_extra=schema_condition("/classify", "infinity_classify"))

    input: MaybeEmptyTexts
    model: str | None = None
    raw_scores: Flag = False


class InfinityEmbeddingsAnswer(EmbeddingsAnswer):
    """OpenAI's, with an id and a time."""

    id: str
    created: int


class InfinityRerankItem(TypedDict):
    """One document, with its text on request."""

    relevance_score: float
    index: int
    document: str | None


class InfinityRerankAnswer(TypedDict):
    """`POST /rerank`, best first."""

    object: Literal["rerank"]
    results: list[InfinityRerankItem]
    model: str
    usage: TokenUsage
    id: str
    created: int


class InfinityClassifyAnswer(TypedDict):
    """`POST /classify`: per text all classes, the likeliest first."""

    object: Literal["classify"]
    data: list[list[LabelScore]]
    model: str
    usage: TokenUsage
    id: str
    created: int


class InfinityStats(TypedDict):
    """Statistics of a model's queue: always empty, since the metrics have them."""


class InfinityModel(TypedDict):
    """An entry of `GET /models`."""

    id: str
    stats: InfinityStats
    object: Literal["model"]
    owned_by: Literal["infinity"]
    created: int
    backend: str
    capabilities: list[str]


class InfinityModels(TypedDict):
    """`GET /models`."""

    data: list[InfinityModel]
    object: Literal["list"]


_CAPABILITIES: dict[Task, str] = {"embedder": "embed", "reranker": "rerank", "classifier": "classify"}


async def rerank(service: Service, body: InfinityRerankBody, options: CallOptions) -> Response:
    """Answer infinity's form of `/rerank`."""
    texts = read_documents(body.documents)
    ranked = await rank(service, body.query, texts, options, model=body.model, top_n=body.top_n)
    scores = ranked.scores(raw=body.raw_scores)
    answer: InfinityRerankAnswer = {
        "object": "rerank",
        "results": [
            {
                "relevance_score": float(scores[index]),
                "index": index,
                "document": texts[index] if body.return_documents else None,
            }
            for index in ranked.order
        ],
        "model": ranked.card.name,
        "usage": token_usage([ranked.routed.result.usage]),
        "id": new_id("infinity"),
        "created": int(time.time()),
    }
    return json_response(answer, headers=route_headers([ranked.routed]))


async def classify(service: Service, body: InfinityClassifyBody, options: CallOptions) -> Response:
    """Answer infinity's form of `/classify`."""
    inputs = [PairText(text) for text in body.input]
    card, routed = await predict(service, inputs, options, model=body.model, field="input")
    result = routed.result
    scores = result.logits if body.raw_scores else result.scores
    answer: InfinityClassifyAnswer = {
        "object": "classify",
        "data": [label_scores(result.labels, of_text) for of_text in scores],
        "model": card.name,
        "usage": token_usage([result.usage]),
        "id": new_id("infinity"),
        "created": int(time.time()),
    }
    return json_response(answer, headers=route_headers([routed]))


async def _embeddings(service: Service, body: InfinityEmbeddingsBody, options: CallOptions) -> Response:
    request = EmbedRequest(
        tuple(body.input),
        input_type=body.input_type,
        dimensions=body.dimensions or None,
        long_input=options.long_input,
        priority=options.priority,
        no_store=options.no_store,
    )
    card, routed, headers = await embed(service, request, options, model=body.model)
    usage = routed.result.usage
    answer: InfinityEmbeddingsAnswer = {
        "object": "list",
        "data": embedding_items(routed.result, as_base64=body.encoding_format == "base64"),
        "model": card.name,
        "usage": token_usage([usage]),
        "id": new_id("infinity"),
        "created": int(time.time()),
    }
    return json_response(answer, headers=headers)


def infinity_router(service: Service) -> APIRouter:
    """Embeddings and models; `/rerank` and `/classify` are shared."""
    router = APIRouter(route_class=JsonRoute, tags=["infinity"])
    errors = documented_errors("/embeddings")
    embeddings_responses: dict[int | str, dict[str, Any]] = {200: {"model": InfinityEmbeddingsAnswer}, **errors}
    models_responses: dict[int | str, dict[str, Any]] = {200: {"model": InfinityModels}, **errors}

    @router.post("/embeddings", summary="Embed (infinity)", responses=embeddings_responses)
    async def embeddings(body: InfinityEmbeddingsBody, options: Options) -> Response:
        return await _embeddings(service, body, options)

    @router.get("/models", summary="The models served (infinity)", responses=models_responses)
    async def models() -> Response:
        answer: InfinityModels = {
            "data": [
                {
                    "id": card.name,
                    "stats": {},
                    "object": "model",
                    "owned_by": "infinity",
                    "created": 0,
                    "backend": card.precision,
                    "capabilities": [_CAPABILITIES[card.task]],
                }
                for card in await service.info.models()
            ],
            "object": "list",
        }
        return json_response(answer)

    return router
