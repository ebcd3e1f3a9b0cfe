"""vLLM's pooling routes: score, and its forms of rerank and classify.

`truncate_prompt_tokens` and similar fields are ignored: long texts are read in windows.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Discriminator, Tag
from starlette.responses import Response
from typing_extensions import TypedDict

import trivet
from trivet.api.answers import TokenUsage, json_response, new_id, route_headers, token_usage
from trivet.api.dialect import TAG_PREFIX, schema_condition, tag_chooser
from trivet.api.dialects.tei.routes import TokenIds, task_of, tokenize
from trivet.api.errors.bodies import documented_errors
from trivet.api.fields import Flag, MaybeEmptyDocuments, MaybeEmptyText, read_documents
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options
from trivet.api.ranking import rank
from trivet.api.schemas import CountOrZero, MaybeEmptyTexts
from trivet.api.service import Service, find_by_name, predict
from trivet.dispatch.protocol import Routed
from trivet.errors import InvalidInput, remap_field_index
from trivet.messages import DetokenizeRequest, PairText, RerankRequest, RerankResult


class VllmRerankBody(BaseModel):
    """`POST /rerank` with neither TEI's nor infinity's fields. A `top_n` of 0 keeps all."""

    model_config = ConfigDict(extra="ignore", strict=True, json_schema_extra=schema_condition("/rerank", "vllm_rerank"))

    query: MaybeEmptyText
    documents: MaybeEmptyDocuments
    model: str | None = None
    top_n: CountOrZero = 0


class VllmClassifyBody(BaseModel):
    """`POST /classify` without infinity's `raw_scores`."""

    model_config = ConfigDict(
        extra="ignore", strict=True, json_schema_extra=schema_condition("/classify", "vllm_classify")
    )

    input: MaybeEmptyTexts
    model: str | None = None


class _ScoreBody(BaseModel):
    """Texts on two sides: one against all of the other side, or the same number on both."""

    model_config = ConfigDict(extra="ignore", strict=True)

    FIELDS: ClassVar[tuple[str, str]]
    model: str | None = None

    def sides(self) -> tuple[list[str], list[str]]:
        """First and second texts, in equal number."""
        first_field, second_field = self.FIELDS
        first: list[str] = getattr(self, first_field)
        second: list[str] = getattr(self, second_field)
        if len(first) == 1:
            first = first * len(second)
        if len(first) != len(second):
            raise InvalidInput(
                f"{first_field} has {len(first)} entries and {second_field} {len(second)}: "
                f"send one {first_field}, or the same number of both",
                field=second_field,
            )
        return first, second


class VllmScoreTexts(_ScoreBody):
    """`text_1` and `text_2`, the documented fields."""

    model_config = ConfigDict(json_schema_extra=schema_condition("/score", "vllm_score_texts"))
    FIELDS = ("text_1", "text_2")

    text_1: MaybeEmptyTexts
    text_2: MaybeEmptyTexts


class VllmScoreQueries(_ScoreBody):
    """Named by role."""

    model_config = ConfigDict(json_schema_extra=schema_condition("/score", "vllm_score_queries"))
    FIELDS = ("queries", "documents")

    queries: MaybeEmptyTexts
    documents: MaybeEmptyTexts


class VllmScoreData(_ScoreBody):
    """Named by number."""

    model_config = ConfigDict(json_schema_extra=schema_condition("/score", "vllm_score_data"))
    FIELDS = ("data_1", "data_2")

    data_1: MaybeEmptyTexts
    data_2: MaybeEmptyTexts


ScoreBody = Annotated[
    Annotated[VllmScoreQueries, Tag(f"{TAG_PREFIX}vllm_score_queries")]
    | Annotated[VllmScoreData, Tag(f"{TAG_PREFIX}vllm_score_data")]
    | Annotated[VllmScoreTexts, Tag(f"{TAG_PREFIX}vllm_score_texts")],
    Discriminator(tag_chooser("/score")),
]


class VllmTokenizeBody(BaseModel):
    """`POST /tokenize` with `prompt`. Its tokens are the embedder's unless `model` names another model."""

    model_config = ConfigDict(
        extra="ignore", strict=True, json_schema_extra=schema_condition("/tokenize", "vllm_tokenize")
    )

    prompt: MaybeEmptyText
    model: str | None = None
    add_special_tokens: Flag = True
    return_token_strs: Flag = False


class VllmTokenizeAnswer(TypedDict):
    """The ids of a text, and the tokens themselves on request."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class VllmDetokenizeBody(BaseModel):
    """`POST /detokenize`."""

    model_config = ConfigDict(extra="ignore", strict=True)

    tokens: TokenIds
    model: str | None = None


class VllmDetokenizeAnswer(TypedDict):
    """The text of the ids, special tokens included."""

    prompt: str


class VllmVersion(TypedDict):
    """`GET /version`: Trivet's own, since vLLM's would claim routes that are not here."""

    version: str


class VllmScore(TypedDict):
    """One pair's score, 0..1."""

    index: int
    object: str
    score: float


class VllmScoreAnswer(TypedDict):
    """`POST /score`, in the order of the pairs."""

    id: str
    object: str
    created: int
    model: str
    data: list[VllmScore]
    usage: TokenUsage


class VllmDocument(TypedDict):
    """A document as it was sent."""

    text: str


class VllmRerankItem(TypedDict):
    """One document."""

    index: int
    document: VllmDocument
    relevance_score: float


class VllmRerankAnswer(TypedDict):
    """`POST /rerank`, best first."""

    id: str
    model: str
    usage: TokenUsage
    results: list[VllmRerankItem]


class VllmClass(TypedDict):
    """One text's class and the probabilities of all of them, by class index."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class VllmClassifyAnswer(TypedDict):
    """`POST /classify`."""

    id: str
    object: str
    created: int
    model: str
    data: list[VllmClass]
    usage: TokenUsage


async def rerank(service: Service, body: VllmRerankBody, options: CallOptions) -> Response:
    """Answer vLLM's form of `/rerank`."""
    texts = read_documents(body.documents)
    ranked = await rank(service, body.query, texts, options, model=body.model, top_n=body.top_n)
    scores = ranked.scores()
    answer: VllmRerankAnswer = {
        "id": new_id("score"),
        "model": ranked.card.name,
        "usage": token_usage([ranked.routed.result.usage]),
        "results": [
            {"index": index, "document": {"text": texts[index]}, "relevance_score": float(scores[index])}
            for index in ranked.order
        ],
    }
    return json_response(answer, headers=route_headers([ranked.routed]))


async def classify(service: Service, body: VllmClassifyBody, options: CallOptions) -> Response:
    """Answer vLLM's form of `/classify`."""
    inputs = [PairText(text) for text in body.input]
    card, routed = await predict(service, inputs, options, model=body.model, field="input")
    result = routed.result
    answer: VllmClassifyAnswer = {
        "id": new_id("classify"),
        "object": "list",
        "created": int(time.time()),
        "model": card.name,
        "data": [
            {
                "index": index,
                "label": result.labels[int(probabilities.argmax())],
                "probs": probabilities.tolist(),
                "num_classes": len(probabilities),
            }
            for index, probabilities in enumerate(result.scores)
        ],
        "usage": token_usage([result.usage]),
    }
    return json_response(answer, headers=route_headers([routed]))


async def _score(service: Service, body: _ScoreBody, options: CallOptions) -> Response:
    first, second = body.sides()
    service.check_count(len(second), body.FIELDS[1])
    card = await service.card("reranker", body.model)
    # Pairs with the same first text are one rerank call, which tokenises it once.
    pairs_of: dict[str, list[int]] = {}
    for index, text in enumerate(first):
        pairs_of.setdefault(text, []).append(index)

    async def call(query: str, indices: Sequence[int]) -> Routed[RerankResult]:
        documents = tuple(second[index] for index in indices)
        with remap_field_index(indices):
            return await service.dispatcher.call(
                RerankRequest(
                    query,
                    documents,
                    long_input=options.long_input,
                    priority=options.priority,
                    no_store=options.no_store,
                    query_field=body.FIELDS[0],
                    inputs_field=body.FIELDS[1],
                )
            )

    calls: list[Callable[[], Awaitable[Routed[RerankResult]]]] = [
        partial(call, query, indices) for query, indices in pairs_of.items()
    ]
    routed = await service.in_time(service.all(calls), service.timeout_s(options))
    scores = np.empty(len(second), dtype=np.float32)
    for indices, answered in zip(pairs_of.values(), routed, strict=True):
        scores[indices] = answered.result.scores
    answer: VllmScoreAnswer = {
        "id": new_id("score"),
        "object": "list",
        "created": int(time.time()),
        "model": card.name,
        "data": [{"index": index, "object": "score", "score": float(score)} for index, score in enumerate(scores)],
        "usage": token_usage(answered.result.usage for answered in routed),
    }
    return json_response(answer, headers=route_headers(routed))


async def tokenize_prompt(service: Service, body: VllmTokenizeBody) -> Response:
    """Answer vLLM's form of `/tokenize`."""
    card = find_by_name(await service.info.models(), body.model or "embedder", service.settings.model_aliases)
    [tokens] = (
        await tokenize(service, [body.prompt], card.task, add_special_tokens=body.add_special_tokens, field="prompt")
    ).tokens
    answer: VllmTokenizeAnswer = {
        "count": len(tokens),
        "max_model_len": card.max_tokens,
        "tokens": [token.id for token in tokens],
        "token_strs": [token.text for token in tokens] if body.return_token_strs else None,
    }
    return json_response(answer)


def vllm_router(service: Service) -> APIRouter:
    """Build the score routes, `/detokenize` and `/version`; `/rerank`, `/classify` and `/tokenize` are shared."""
    router = APIRouter(route_class=JsonRoute, tags=["vLLM"])
    responses: dict[int | str, dict[str, Any]] = {200: {"model": VllmScoreAnswer}, **documented_errors("/score")}

    @router.post("/score", summary="Score pairs (vLLM)", responses=responses)
    @router.post("/v1/score", summary="Score pairs (vLLM)", responses=responses)
    async def score(body: ScoreBody, options: Options) -> Response:
        return await _score(service, body, options)

    @router.post(
        "/detokenize",
        summary="Token ids as a text (vLLM)",
        responses={200: {"model": VllmDetokenizeAnswer}, **documented_errors("/detokenize")},
    )
    async def detokenize(body: VllmDetokenizeBody) -> Response:
        task = await task_of(service, body.model)
        request = DetokenizeRequest((tuple(body.tokens),), task, skip_special_tokens=False, ids_field="tokens")
        answer: VllmDetokenizeAnswer = {"prompt": (await service.info.detokenize(request)).texts[0]}
        return json_response(answer)

    @router.get(
        "/version",
        summary="Trivet's version (vLLM)",
        responses={200: {"model": VllmVersion}, **documented_errors("/version")},
    )
    async def version() -> Response:
        return json_response(VllmVersion(version=trivet.__version__))

    return router
