"""Builds the FastAPI application over a model server."""

import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route

import trivet
from trivet.api.dialects.cohere import cohere_router
from trivet.api.dialects.infinity import infinity_router
from trivet.api.dialects.ollama import ollama_router
from trivet.api.dialects.rerank_v1 import rerank_v1_router
from trivet.api.dialects.shared import shared_router
from trivet.api.dialects.tei.routes import tei_router
from trivet.api.dialects.tei.tokens import tei_tokens_router
from trivet.api.dialects.vllm import vllm_router
from trivet.api.dialects.vllm_pooling import vllm_pooling_router
from trivet.api.errors.handlers import install_error_handlers
from trivet.api.json_route import JsonRoute
from trivet.api.middleware.body import BodyMiddleware
from trivet.api.middleware.disconnect import DisconnectMiddleware
from trivet.api.middleware.head import HeadMiddleware
from trivet.api.middleware.keys import KeyMiddleware
from trivet.api.middleware.reading import ReadingMiddleware
from trivet.api.middleware.telemetry import Telemetry, TelemetryMiddleware
from trivet.api.openapi import completed
from trivet.api.routes.docs import docs_router
from trivet.api.routes.graph import graph_router
from trivet.api.routes.health import health_router
from trivet.api.routes.native import native_router
from trivet.api.routes.relations import relations_router
from trivet.api.routes.status import status_router
from trivet.api.routes.ui import ui_router
from trivet.api.service import Service
from trivet.api.settings import ApiSettings
from trivet.cache.store import ResultStore, open_results
from trivet.dispatch.admission import AdmittingDispatcher
from trivet.dispatch.blending import BlendingDispatcher
from trivet.dispatch.caching import CachingDispatcher
from trivet.dispatch.protocol import Dispatcher, ModelServer
from trivet.dispatch.shared_blocks import SharedBlocks, open_blocks
from trivet.dispatch.traffic import BLOCK_BYTES, MeasuringDispatcher, Traffic
from trivet.metrics import MetricsSink


class _Application(FastAPI):
    """FastAPI's, with a more complete OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, built once."""
        if not self.openapi_schema:
            self.openapi_schema = completed(super().openapi())
        return self.openapi_schema


def create_app(
    models: ModelServer, settings: ApiSettings, telemetry: Telemetry | None = None, *, shared_folder: Path | None = None
) -> FastAPI:
    """Build the whole HTTP side. It needs only a model server, so tests and other servers run it without Ray.

    `shared_folder` is a private folder of this run. The applications of all processes that are given the same one serve
    as one: they share cached results, counts and the limits of keys. None: this application alone.
    """
    telemetry = telemetry or Telemetry()
    results = open_results(settings.cache, settings.cache_folder, telemetry.sink, shared_folder=shared_folder)
    blocks = open_blocks(shared_folder, BLOCK_BYTES)
    traffic = Traffic(telemetry.clock, time.time, blocks)
    service = Service(_dispatcher(models, results, traffic, settings, telemetry), models, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if results is not None:
            await results.close()
        blocks.close()

    app = _Application(
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from a CDN; `trivet.api.routes.docs` has others
        redoc_url=None,
        title="Trivet",
        version=trivet.__version__,
        summary="Embedding, reranking and zero-shot relation classification from one small GPU.",
        # Serve opens the spans of a request. FastAPI's would add to each request's cost and hold its query string.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=_middleware(settings, telemetry, blocks),
        # One flat list: routers that are included are searched twice per request, by FastAPI and again by Serve.
        routes=_routes(service, traffic, telemetry.sink),
    )
    install_error_handlers(app)
    return app


def _middleware(settings: ApiSettings, telemetry: Telemetry, blocks: SharedBlocks) -> list[Middleware]:
    """Outermost first."""
    keys = [] if settings.keys is None else [Middleware(KeyMiddleware, keys=settings.keys, blocks=blocks)]
    return [
        # A disconnect cancels everything below, and telemetry sees the cancellation.
        Middleware(DisconnectMiddleware),
        # Reports every request, also those that the next ones refuse.
        Middleware(TelemetryMiddleware, telemetry=telemetry),
        # A browser sends no key when it asks whether a page may call, and shows a page only answers that allow it:
        # refusals for want of a key included.
        *_cors(settings.allowed_origins),
        # Without a valid key nothing of a body is read.
        *keys,
        # Wraps `receive`, so it comes before the routes, which read the body.
        Middleware(
            BodyMiddleware,
            max_body_bytes=settings.max_body_bytes,
            max_open_bytes=settings.max_open_bodies_bytes,
        ),
        # Around the routes alone: what the others refuse is small.
        Middleware(
            ReadingMiddleware,
            most_idle_s=settings.unread_timeout_s,
            max_unread_bytes=settings.max_open_bodies_bytes,
            sink=telemetry.sink,
            clock=telemetry.clock,
        ),
        Middleware(HeadMiddleware),
    ]


_EXPOSED_HEADERS = (
    "retry-after",
    "x-request-id",
    "x-trivet-cache",
    "x-trivet-cache-hits",
    "x-trivet-device",
    "x-trivet-dimensions",
    "x-trivet-prompt",
    "x-trivet-similarities",
    "x-trivet-reroute-reason",
    "x-trivet-truncated",
    "x-trivet-windows",
)
"""Headers of answers that a page of another origin may read."""


def _cors(origins: Sequence[str]) -> list[Middleware]:
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],
            expose_headers=list(_EXPOSED_HEADERS),
        )
    ]


def _dispatcher(
    models: ModelServer, results: ResultStore | None, traffic: Traffic, settings: ApiSettings, telemetry: Telemetry
) -> Dispatcher:
    """Outermost last."""
    # Refuses what would fill this process's memory, next to the models: cached results need no room.
    dispatcher: Dispatcher = AdmittingDispatcher(models, settings.max_open_characters, telemetry.clock)
    # Counts the calls to the models, refused ones included.
    dispatcher = MeasuringDispatcher(dispatcher, traffic, telemetry.sink, telemetry.clock)
    # A cached result is no call to a model, so it is not counted as one.
    if results is not None:
        dispatcher = CachingDispatcher(dispatcher, models, results, settings.computed_with, telemetry.sink)
    # Both parts of a blended score come from the cache.
    return dispatcher if settings.blend is None else BlendingDispatcher(dispatcher, settings.blend)


def _routes(service: Service, traffic: Traffic, sink: MetricsSink) -> list[BaseRoute]:
    routes = [route for router in _routers(service, traffic, sink) for route in router.routes]
    for route in routes:
        if isinstance(route, Route):
            # In Starlette's pattern `$` also stands before a newline at the end, so `/v1/models/%0A` was `/v1/models/`.
            route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z")
        if isinstance(route, JsonRoute):
            route.max_elements = service.settings.max_elements
    return routes


def _routers(service: Service, traffic: Traffic, sink: MetricsSink) -> list[APIRouter]:
    return [
        native_router(service),
        relations_router(service),
        graph_router(service, sink),
        health_router(service),
        rerank_v1_router(service),
        cohere_router(service),
        tei_router(service),
        tei_tokens_router(service),
        vllm_router(service),
        vllm_pooling_router(service),
        infinity_router(service),
        ollama_router(service),
        shared_router(service),
        status_router(service.info, traffic, service.settings),
        ui_router(),
        docs_router(),
    ]
