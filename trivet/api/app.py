"""Builds the FastAPI application over a dispatcher."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import trivet
from trivet.api.dialects.routers import dialect_routers
from trivet.api.errors.handlers import install_error_handlers
from trivet.api.middleware.body_limit import BodyLimitMiddleware
from trivet.api.middleware.cache_control import CacheControlMiddleware
from trivet.api.middleware.disconnect import DisconnectMiddleware
from trivet.api.middleware.keys import KeyMiddleware
from trivet.api.middleware.telemetry import Telemetry, TelemetryMiddleware
from trivet.api.routes.health import health_router
from trivet.api.routes.native import native_router
from trivet.api.routes.status import status_router
from trivet.api.routes.ui import ui_router
from trivet.api.service import Service
from trivet.api.settings import ApiSettings
from trivet.cache.store import Results, open_results
from trivet.dispatch.admission import AdmittedDispatcher
from trivet.dispatch.caching import CachedDispatcher
from trivet.dispatch.call_meter import CallMeter
from trivet.dispatch.protocol import Dispatcher
from trivet.dispatch.traffic import WatchedDispatcher


def create_app(dispatcher: Dispatcher, settings: ApiSettings, telemetry: Telemetry | None = None) -> FastAPI:
    """The whole HTTP side. Needs nothing but a dispatcher: tests and other servers run it without Ray."""
    telemetry = telemetry or Telemetry()
    results = open_results(settings.cache, settings.cache_folder, telemetry.sink)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if results is not None:
            await results.close()

    app = FastAPI(
        lifespan=lifespan,
        title="Trivet",
        version=trivet.__version__,
        summary="Embedding, reranking and zero-shot relation classification from one small GPU.",
    )
    app.add_middleware(CacheControlMiddleware)
    app.add_middleware(
        BodyLimitMiddleware,
        max_body_bytes=settings.max_body_bytes,
        max_open_bytes=settings.max_open_bodies_bytes,
    )
    if settings.keys is not None:
        app.add_middleware(KeyMiddleware, keys=settings.keys)  # added last, so it runs first
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)  # outside of what may refuse
    app.add_middleware(DisconnectMiddleware)  # last, so outermost
    install_error_handlers(app)
    admitted = AdmittedDispatcher(dispatcher, settings.max_open_characters, telemetry.clock)
    watched = WatchedDispatcher(admitted, telemetry.clock, time.time, CallMeter(telemetry))
    service = Service(_cached(watched, results, settings, telemetry), settings)
    for router in (native_router(service), health_router(service), *dialect_routers(service)):
        app.include_router(router)
    app.include_router(status_router(watched, settings))
    app.include_router(ui_router())
    return app


def _cached(dispatcher: Dispatcher, results: Results | None, settings: ApiSettings, telemetry: Telemetry) -> Dispatcher:
    """Outside of what counts calls: an answer that was kept is none."""
    if results is None:
        return dispatcher
    return CachedDispatcher(dispatcher, results, settings.computed_with, telemetry.sink)
