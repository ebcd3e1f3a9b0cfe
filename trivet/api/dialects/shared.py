"""`/rerank`, `/classify` and `/tokenize`, which several dialects share.

The fields of the body decide (`trivet.api.dialect`).
"""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Discriminator, Tag
from starlette.responses import Response

from trivet.api.dialect import TAG_PREFIX, schema_condition, tag_chooser
from trivet.api.dialects import infinity, vllm
from trivet.api.dialects.tei import routes as tei
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.options import Options
from trivet.api.service import Service


class TeiSharedRerankBody(tei.TeiRerankBody):
    """`POST /rerank` with `texts`."""

    model_config = ConfigDict(json_schema_extra=schema_condition("/rerank", "tei_rerank"))


RerankBody = Annotated[
    Annotated[TeiSharedRerankBody, Tag(f"{TAG_PREFIX}tei_rerank")]
    | Annotated[infinity.InfinityRerankBody, Tag(f"{TAG_PREFIX}infinity_rerank")]
    | Annotated[vllm.VllmRerankBody, Tag(f"{TAG_PREFIX}vllm_rerank")],
    Discriminator(tag_chooser("/rerank")),
]

ClassifyBody = Annotated[
    Annotated[infinity.InfinityClassifyBody, Tag(f"{TAG_PREFIX}infinity_classify")]
    | Annotated[vllm.VllmClassifyBody, Tag(f"{TAG_PREFIX}vllm_classify")],
    Discriminator(tag_chooser("/classify")),
]


class TeiSharedTokenizeBody(tei.TeiTokenizeBody):
    """`POST /tokenize` with `inputs`."""

    model_config = ConfigDict(json_schema_extra=schema_condition("/tokenize", "tei_tokenize"))


TokenizeBody = Annotated[
    Annotated[vllm.VllmTokenizeBody, Tag(f"{TAG_PREFIX}vllm_tokenize")]
    | Annotated[TeiSharedTokenizeBody, Tag(f"{TAG_PREFIX}tei_tokenize")],
    Discriminator(tag_chooser("/tokenize")),
]


def shared_router(service: Service) -> APIRouter:
    """Build the three routes."""
    router = APIRouter(route_class=JsonRoute, tags=["text-embeddings-inference", "infinity", "vLLM"])
    rerank_responses: dict[int | str, dict[str, Any]] = {
        200: {"model": list[tei.TeiScore] | infinity.InfinityRerankAnswer | vllm.VllmRerankAnswer},
        **documented_errors("/rerank"),
    }
    classify_responses: dict[int | str, dict[str, Any]] = {
        200: {"model": infinity.InfinityClassifyAnswer | vllm.VllmClassifyAnswer},
        **documented_errors("/classify"),
    }

    @router.post("/rerank", summary="Rerank, by the fields (TEI, infinity, vLLM)", responses=rerank_responses)
    async def rerank(body: RerankBody, options: Options) -> Response:
        match body:
            case tei.TeiRerankBody():
                return await tei.rerank(service, body, options)
            case infinity.InfinityRerankBody():
                return await infinity.rerank(service, body, options)
            case vllm.VllmRerankBody():
                return await vllm.rerank(service, body, options)

    @router.post(
        "/classify",
        summary="The classifier's own classes, by the fields (infinity, vLLM)",
        responses=classify_responses,
    )
    async def classify(body: ClassifyBody, options: Options) -> Response:
        match body:
            case infinity.InfinityClassifyBody():
                return await infinity.classify(service, body, options)
            case vllm.VllmClassifyBody():
                return await vllm.classify(service, body, options)

    @router.post(
        "/tokenize",
        summary="Texts as tokens, by the fields (TEI, vLLM)",
        responses={
            200: {"model": list[list[tei.TeiToken]] | vllm.VllmTokenizeAnswer},
            **documented_errors("/tokenize"),
        },
    )
    async def tokenize(body: TokenizeBody) -> Response:
        if isinstance(body, vllm.VllmTokenizeBody):
            return await vllm.tokenize_prompt(service, body)
        return await tei.answer_tokenize(service, body)

    return router
