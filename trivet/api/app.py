"""Builds the FastAPI application over a dispatcher."""

import time

from fastapi import FastAPI

import trivet
from trivet.api.body_limit import BodyLimitMiddleware
from trivet.api.call_meter import CallMeter
from trivet.api.dialects.routers import dialect_routers
from trivet.api.dispatcher import Dispatcher
from trivet.api.error_handlers import install_error_handlers
from trivet.api.health import health_router
from trivet.api.keys import KeyMiddleware
from trivet.api.native import native_router
from trivet.api.service import Service
from trivet.api.settings import ApiSettings
from trivet.api.status import status_router
from trivet.api.telemetry import Telemetry, TelemetryMiddleware
from trivet.api.ui_files import ui_router
from trivet.api.watched import WatchedDispatcher


def create_app(dispatcher: Dispatcher, settings: ApiSettings, telemetry: Telemetry | None = None) -> FastAPI:
    """The whole HTTP side. Needs nothing but a dispatcher: tests and other servers run it without Ray."""
    app = FastAPI(
        title="Trivet",
        version=trivet.__version__,
        summary="Embedding, reranking and zero-shot relation classification from one small GPU.",
    )
    app.add_middleware(BodyLimitMiddleware, max_body_bytes=settings.max_body_bytes)
    if settings.keys is not None:
        app.add_middleware(KeyMiddleware, keys=settings.keys)  # added last, so it runs first
    telemetry = telemetry or Telemetry()
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)  # last, so outermost: it sees what others refuse
    install_error_handlers(app)
    watched = WatchedDispatcher(dispatcher, telemetry.clock, time.time, CallMeter(telemetry))
    service = Service(watched, settings)
    for router in (native_router(service), health_router(service), *dialect_routers(service)):
        app.include_router(router)
    app.include_router(status_router(watched, settings))
    app.include_router(ui_router())
    return app
