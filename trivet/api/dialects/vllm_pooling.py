"""vLLM's `/pooling`: one vector of each text, or a vector of each of its tokens.

`task` chooses, as in vLLM. Without it a model that gives vectors of tokens alone gives these, every other model one
vector.
"""

import time
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.api.answers import TokenUsage, Vector, json_response, new_id, token_usage
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options
from trivet.api.schemas import Count, MaybeEmptyTexts
from trivet.api.service import Service, embed
from trivet.config import Output
from trivet.messages import EmbedRequest


class VllmPoolingBody(BaseModel):
    """`POST /pooling`."""

    model_config = ConfigDict(extra="ignore", strict=True)

    input: MaybeEmptyTexts
    model: str | None = None
    task: Literal["embed", "token_embed"] | None = None
    dimensions: Count | None = None
    encoding_format: Literal["float"] = "float"


class VllmPooled(TypedDict):
    """One text's vector, or the vectors of its tokens."""

    index: int
    object: str
    data: Vector | list[Vector]


class VllmPoolingAnswer(TypedDict):
    """`POST /pooling`."""

    id: str
    object: str
    created: int
    model: str
    data: list[VllmPooled]
    usage: TokenUsage


async def _pooling(service: Service, body: VllmPoolingBody, options: CallOptions) -> Response:
    card = await service.card("embedder", body.model)
    output: Output = "tokens" if body.task == "token_embed" else "dense"
    if body.task is None and card.outputs[:1] == ("tokens",):
        output = "tokens"
    request = EmbedRequest(
        tuple(body.input),
        output=output,
        dimensions=body.dimensions,
        long_input=options.long_input,
        priority=options.priority,
        no_store=options.no_store,
    )
    card, routed, headers = await embed(service, request, options, model=body.model)
    found = routed.result.tokens if output == "tokens" else routed.result.vectors
    answer: VllmPoolingAnswer = {
        "id": new_id("pool"),
        "object": "list",
        "created": int(time.time()),
        "model": card.name,
        "data": [{"index": index, "object": "pooling", "data": one} for index, one in enumerate(found)],
        "usage": token_usage([routed.result.usage]),
    }
    return json_response(answer, headers=headers)


def vllm_pooling_router(service: Service) -> APIRouter:
    """Build the route."""
    router = APIRouter(route_class=JsonRoute, tags=["vLLM"])
    responses: dict[int | str, dict[str, Any]] = {200: {"model": VllmPoolingAnswer}, **documented_errors("/pooling")}

    @router.post("/pooling", summary="A vector of each text or token (vLLM)", responses=responses)
    async def pooling(body: VllmPoolingBody, options: Options) -> Response:
        return await _pooling(service, body, options)

    return router
