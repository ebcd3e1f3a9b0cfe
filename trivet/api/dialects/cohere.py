"""Cohere's v2 rerank, and what its v1 shares with it (v1 itself is `rerank_v1`).

`max_tokens_per_doc` limits the price of the hosted service and is ignored: every document is read whole.
"""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.api.answers import json_response, new_id, route_headers
from trivet.api.errors.bodies import documented_errors
from trivet.api.json_route import JsonRoute
from trivet.api.options import Options
from trivet.api.ranking import rank
from trivet.api.schemas import Count, Text, TextList
from trivet.api.service import Service

PATH = "/v2/rerank"


class CohereV2Body(BaseModel):
    """A query and plain texts."""

    model_config = ConfigDict(extra="ignore", strict=True)

    query: Text
    documents: TextList
    model: str | None = None
    top_n: Count | None = None


class CohereApiVersion(TypedDict):
    """Which API answered."""

    version: str


class CohereBilledUnits(TypedDict):
    """What the hosted service would bill: one unit per request."""

    search_units: int


class CohereMeta(TypedDict):
    """Beside the results."""

    api_version: CohereApiVersion
    billed_units: CohereBilledUnits


class CohereV2Item(TypedDict):
    """One document."""

    index: int
    relevance_score: float


class CohereV2Answer(TypedDict):
    """Best document first."""

    id: str
    results: list[CohereV2Item]
    meta: CohereMeta


def cohere_meta(version: str) -> CohereMeta:
    """Make the `meta` of one answer."""
    return {"api_version": {"version": version}, "billed_units": {"search_units": 1}}


def cohere_router(service: Service) -> APIRouter:
    """The one route."""
    router = APIRouter(route_class=JsonRoute, tags=["cohere"])
    responses: dict[int | str, dict[str, Any]] = {200: {"model": CohereV2Answer}, **documented_errors(PATH)}

    @router.post(PATH, summary="Rerank (Cohere v2)", responses=responses)
    async def rerank(body: CohereV2Body, options: Options) -> Response:
        ranked = await rank(service, body.query, body.documents, options, model=body.model, top_n=body.top_n)
        answer = {"id": new_id("rerank"), "results": ranked.scored("relevance_score"), "meta": cohere_meta("2")}
        return json_response(answer, headers=route_headers([ranked.routed]))

    return router
