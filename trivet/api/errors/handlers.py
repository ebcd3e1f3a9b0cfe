"""Errors outside every route: unknown paths, wrong methods, failures of middleware."""

import logging

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from trivet.api.errors.bodies import error_response
from trivet.api.errors.problem import describe_any

logger = logging.getLogger(__name__)


def install_error_handlers(app: FastAPI) -> None:
    """Answer them in the shape of their path; `trivet.api.json_route` handles the errors of routes."""

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = error_response(describe_any(error), request.url.path)
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            answer.headers["allow"] = ", ".join(_allowed(request))
        return answer

    async def on_unexpected(request: Request, error: Exception) -> Response:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return error_response(describe_any(error), request.url.path)

    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_unexpected)


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes that have the path: the router names only those of the first."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
