"""Ollama's routes for embeddings, and those by which its clients look around: models and version.

Only the embedder is listed, since Ollama has no route that another of the models could answer.
"""

import hashlib
import time
from typing import Annotated, Any, NotRequired

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from trivet.api.answers import Vector, json_response
from trivet.api.errors.bodies import documented_errors
from trivet.api.fields import Flag, TextKind
from trivet.api.json_route import JsonRoute
from trivet.api.options import CallOptions, Options
from trivet.api.schemas import Count, Text
from trivet.api.service import Service, embed
from trivet.messages import EmbedRequest, LongInput, ModelCard

VERSION = "0.13.0"
"""The version of Ollama whose routes these are; clients compare it."""

_UNKNOWN_TIME = "1970-01-01T00:00:00Z"


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) and value else [] if value in ("", None) else value


class OllamaEmbedBody(_Body):
    """`POST /api/embed`. Without input nothing is embedded: clients load a model that way."""

    model: str
    input: Annotated[list[Text], BeforeValidator(_as_list, json_schema_input_type=str | list[Text] | None)] = Field(
        default_factory=list
    )
    input_type: TextKind = None
    truncate: Flag | None = None
    """False refuses a text that is too long. Otherwise it is read in windows unless a header asks for truncation."""
    dimensions: Count | None = None

    def long_input(self, options: CallOptions) -> LongInput:
        """Return what becomes of long texts."""
        return "error" if self.truncate is False else options.long_input


class OllamaEmbeddingsBody(_Body):
    """`POST /api/embeddings`, the older form for one text."""

    model: str
    prompt: Text


class OllamaShowBody(_Body):
    """`POST /api/show`; older clients send `name`."""

    model: str | None = None
    name: str | None = None


class OllamaEmbedAnswer(TypedDict):
    """Vectors of length 1; durations in nanoseconds. As from Ollama, an empty input is answered without the counts."""

    model: str
    embeddings: list[Vector]
    total_duration: NotRequired[int]
    load_duration: NotRequired[int]
    prompt_eval_count: NotRequired[int]


class OllamaEmbeddingsAnswer(TypedDict):
    """One vector."""

    embedding: Vector


class OllamaDetails(TypedDict):
    """What Ollama says of a model's file."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaModel(TypedDict):
    """A model in the list. `digest` changes with its files; time and size are not known."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: OllamaDetails


class OllamaTags(TypedDict):
    """`GET /api/tags`."""

    models: list[OllamaModel]


class OllamaShow(TypedDict):
    """`POST /api/show`."""

    modelfile: str
    parameters: str
    template: str
    details: OllamaDetails
    model_info: dict[str, str | int]
    capabilities: list[str]
    modified_at: str


class OllamaVersion(TypedDict):
    """`GET /api/version`."""

    version: str


def _details(card: ModelCard) -> OllamaDetails:
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": "",
        "families": [],
        "parameter_size": "",
        "quantization_level": card.precision.upper(),
    }


def _listed(card: ModelCard) -> OllamaModel:
    return {
        "name": card.name,
        "model": card.name,
        "modified_at": _UNKNOWN_TIME,
        "size": 0,
        "digest": hashlib.sha256(card.revision.encode()).hexdigest(),
        "details": _details(card),
    }


def _name(model: str | None) -> str | None:
    """A model's name without Ollama's tag for the newest version."""
    return None if model is None else model.removesuffix(":latest")


def ollama_router(service: Service) -> APIRouter:
    """All routes."""
    router = APIRouter(route_class=JsonRoute, tags=["Ollama"])

    def documented(path: str, answer: Any) -> dict[int | str, dict[str, Any]]:
        return {200: {"model": answer}, **documented_errors(path)}

    @router.post("/api/embed", summary="Embed (Ollama)", responses=documented("/api/embed", OllamaEmbedAnswer))
    async def embed_texts(body: OllamaEmbedBody, options: Options) -> Response:
        started_ns = time.monotonic_ns()
        if not body.input:
            await service.card("embedder", _name(body.model))
            return json_response({"model": body.model, "embeddings": []})
        request = EmbedRequest(
            tuple(body.input),
            input_type=body.input_type,
            dimensions=body.dimensions,
            normalize=True,
            long_input=body.long_input(options),
            priority=options.priority,
            no_store=options.no_store,
        )
        _, routed, headers = await embed(service, request, options, model=_name(body.model))
        answer: OllamaEmbedAnswer = {
            "model": body.model,
            "embeddings": list(np.ascontiguousarray(routed.result.vectors)),
            "total_duration": time.monotonic_ns() - started_ns,
            "load_duration": 0,
            "prompt_eval_count": routed.result.usage.tokens,
        }
        return json_response(answer, headers=headers)

    @router.post(
        "/api/embeddings",
        summary="Embed one text (Ollama)",
        responses=documented("/api/embeddings", OllamaEmbeddingsAnswer),
    )
    async def embed_one(body: OllamaEmbeddingsBody, options: Options) -> Response:
        request = EmbedRequest(
            (body.prompt,),
            long_input=options.long_input,
            priority=options.priority,
            no_store=options.no_store,
            inputs_field="prompt",
        )
        _, routed, headers = await embed(service, request, options, model=_name(body.model))
        answer: OllamaEmbeddingsAnswer = {"embedding": routed.result.vectors[0]}
        return json_response(answer, headers=headers)

    @router.get("/api/tags", summary="The models (Ollama)", responses=documented("/api/tags", OllamaTags))
    async def tags() -> Response:
        return json_response({"models": [_listed(await service.card("embedder"))]})

    @router.post("/api/show", summary="One model (Ollama)", responses=documented("/api/show", OllamaShow))
    async def show(body: OllamaShowBody) -> Response:
        card = await service.card("embedder", _name(body.model or body.name))
        answer: OllamaShow = {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": _details(card),
            "model_info": {
                "general.basename": card.name,
                "general.architecture": "trivet",
                "trivet.context_length": card.max_tokens,
                "trivet.embedding_length": card.dimensions or 0,
            },
            "capabilities": ["embedding"],
            "modified_at": _UNKNOWN_TIME,
        }
        return json_response(answer)

    @router.get("/api/version", summary="The version (Ollama)", responses=documented("/api/version", OllamaVersion))
    async def version() -> Response:
        return json_response({"version": VERSION})

    return router
