"""Cohere's v2 rerank and embed, and what its v1 shares with them (v1 itself is `rerank_v1`).

`max_tokens_per_doc` and `max_tokens` limit the price of the hosted service and are ignored: every text is read whole.
"""

from typing import Annotated, Any, Literal, NotRequired, Self

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.api.answers import json_response, new_id, route_headers
from trivet.api.errors.bodies import documented_errors
from trivet.api.fields import Documents, TextKind, read_documents
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options
from trivet.api.ranking import rank
from trivet.api.schemas import Count, Text
from trivet.api.service import Service, embed
from trivet.messages import EmbedRequest
from trivet.quantize import DEFAULT_TYPE, EmbeddingType, quantize

PATH = "/v2/rerank"
EMBED_PATH = "/v2/embed"


class CohereV2Body(BaseModel):
    """A query and texts, or objects with a text."""

    model_config = ConfigDict(extra="ignore", strict=True)

    query: Text
    documents: Documents
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


class CohereTextPart(BaseModel):
    """A text among the parts of an input."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: Literal["text"]
    text: Text


class CohereInput(BaseModel):
    """An input in parts, which are read one after another."""

    model_config = ConfigDict(extra="ignore", strict=True)

    content: Annotated[list[CohereTextPart], Field(min_length=1)]


class CohereEmbedBody(BaseModel):
    """Texts to embed, as `texts` or as `inputs` in parts."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str | None = None
    input_type: TextKind = None
    texts: Annotated[list[Text], Field(min_length=1)] | None = None
    inputs: Annotated[list[CohereInput], Field(min_length=1)] | None = None
    embedding_types: Annotated[list[EmbeddingType], Field(min_length=1)] | None = None
    output_dimension: Count | None = None
    truncate: Literal["NONE", "END"] | None = None
    """`END` is Cohere's default. Here long texts are read in windows unless the caller asks otherwise by header."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.texts is None) == (self.inputs is None):
            raise PydanticCustomError("texts_or_inputs", "give either texts or inputs")
        return self

    def read(self) -> tuple[str, ...]:
        """Return the text of each input."""
        if self.texts is not None:
            return tuple(self.texts)
        return tuple("\n".join(part.text for part in one.content) for one in self.inputs or ())

    def to_request(self, options: CallOptions) -> EmbedRequest:
        """Convert it to a message."""
        return EmbedRequest(
            self.read(),
            input_type=self.input_type,
            dimensions=self.output_dimension,
            normalize=True,
            long_input="error" if self.truncate == "NONE" else options.long_input,
            priority=options.priority,
            no_store=options.no_store,
            inputs_field="inputs" if self.texts is None else "texts",
        )


class CohereInputTokens(TypedDict):
    """Tokens that the model has read."""

    input_tokens: int


class CohereEmbedMeta(TypedDict):
    """Beside the vectors."""

    api_version: CohereApiVersion
    billed_units: CohereInputTokens


class CohereEmbedAnswer(TypedDict):
    """Vectors by type, in the order of the inputs."""

    id: str
    response_type: Literal["embeddings_by_type"]
    embeddings: dict[EmbeddingType, list[list[float]]]
    texts: NotRequired[list[str]]
    meta: CohereEmbedMeta


def cohere_meta(version: str) -> CohereMeta:
    """Make the `meta` of one answer."""
    return {"api_version": {"version": version}, "billed_units": {"search_units": 1}}


def cohere_router(service: Service) -> APIRouter:
    """Build both routes."""
    router = APIRouter(route_class=JsonRoute, tags=["cohere"])
    embed_responses: dict[int | str, dict[str, Any]] = {
        200: {"model": CohereEmbedAnswer},
        **documented_errors(EMBED_PATH),
    }
    responses: dict[int | str, dict[str, Any]] = {200: {"model": CohereV2Answer}, **documented_errors(PATH)}

    @router.post(PATH, summary="Rerank (Cohere v2)", responses=responses)
    async def rerank(body: CohereV2Body, options: Options) -> Response:
        ranked = await rank(
            service, body.query, read_documents(body.documents), options, model=body.model, top_n=body.top_n
        )
        answer = {"id": new_id("rerank"), "results": ranked.scored("relevance_score"), "meta": cohere_meta("2")}
        return json_response(answer, headers=route_headers([ranked.routed]))

    @router.post(EMBED_PATH, summary="Embed (Cohere v2)", responses=embed_responses)
    async def embed_texts(body: CohereEmbedBody, options: Options) -> Response:
        _, routed, headers = await embed(service, body.to_request(options), options, model=body.model)
        vectors = routed.result.vectors
        kinds = body.embedding_types or [DEFAULT_TYPE]
        answer = {
            "id": new_id("embed"),
            "response_type": "embeddings_by_type",
            "embeddings": {kind: quantize(vectors, kind) for kind in dict.fromkeys(kinds)},
            "texts": body.texts or [],
            "meta": {
                "api_version": {"version": "2"},
                "billed_units": {"input_tokens": routed.result.usage.tokens},
            },
        }
        return json_response(answer, headers=headers)

    return router
