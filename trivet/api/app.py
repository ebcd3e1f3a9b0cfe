"""Builds the FastAPI application over a dispatcher."""

from fastapi import FastAPI

import trivet
from trivet.api.body_limit import BodyLimitMiddleware
from trivet.api.dispatcher import Dispatcher
from trivet.api.errors import install_error_handlers
from trivet.api.native import native_router
from trivet.api.settings import ApiSettings


def create_app(dispatcher: Dispatcher, settings: ApiSettings) -> FastAPI:
    """The whole HTTP side. Needs nothing but a dispatcher: tests and other servers run it without Ray."""
    app = FastAPI(
        title="Trivet",
        version=trivet.__version__,
        summary="Embedding, reranking and zero-shot relation classification from one small GPU.",
    )
    app.add_middleware(BodyLimitMiddleware, max_body_bytes=settings.max_body_bytes)
    install_error_handlers(app)
    app.include_router(native_router(dispatcher, settings))
    return app
