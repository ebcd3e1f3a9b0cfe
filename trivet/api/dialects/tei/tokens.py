"""text-embeddings-inference's routes for sparse weights and for the vectors of tokens."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.api.answers import Vector, json_response
from trivet.api.dialects.tei.bodies import TruncatingBody
from trivet.api.dialects.tei.headers import tei_headers
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options
from trivet.api.schemas import Text, Texts
from trivet.api.service import Service, embed
from trivet.config import Output
from trivet.dispatch.protocol import Routed
from trivet.messages import EmbedRequest, EmbedResult, SparseVector


class TeiTokensBody(TruncatingBody):
    """`POST /embed_sparse` and `POST /embed_all`."""

    inputs: Texts
    prompt_name: Text | None = None


class TeiSparseValue(TypedDict):
    """The weight of one token id."""

    index: int
    value: float


def _weights(vector: SparseVector) -> list[TeiSparseValue]:
    pairs = zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
    return [{"index": index, "value": value} for index, value in pairs]


async def _embed(
    service: Service, body: TeiTokensBody, options: CallOptions, output: Output
) -> tuple[Routed[EmbedResult], dict[str, str]]:
    started_s = time.monotonic()
    request = EmbedRequest(
        tuple(body.inputs),
        prompt_name=body.prompt_name,
        output=output,
        long_input=body.long_input(service, options),
        priority=options.priority,
        no_store=options.no_store,
        inputs_field="inputs",
    )
    _, routed, headers = await embed(service, request, options)
    return routed, {**headers, **tei_headers([routed], started_s, body.inputs)}


def tei_tokens_router(service: Service) -> APIRouter:
    """Build the two routes."""
    router = APIRouter(route_class=JsonRoute, tags=["text-embeddings-inference"])

    def documented(path: str, answer: Any) -> dict[int | str, dict[str, Any]]:
        return {200: {"model": answer}, **documented_errors(path)}

    @router.post(
        "/embed_sparse",
        summary="Weights by token id (TEI)",
        responses=documented("/embed_sparse", list[list[TeiSparseValue]]),
    )
    async def embed_sparse(body: TeiTokensBody, options: Options) -> Response:
        routed, headers = await _embed(service, body, options, "sparse")
        return json_response([_weights(vector) for vector in routed.result.sparse], headers=headers)

    @router.post(
        "/embed_all", summary="A vector of each token (TEI)", responses=documented("/embed_all", list[list[Vector]])
    )
    async def embed_all(body: TeiTokensBody, options: Options) -> Response:
        routed, headers = await _embed(service, body, options, "tokens")
        return json_response(list(routed.result.tokens), headers=headers)

    return router
