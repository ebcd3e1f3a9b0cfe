"""The route class of every router: whatever goes wrong inside is told in the dialect of the request."""

import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from trivet.api.dialect import dialect_of
from trivet.api.errors.bodies import error_response
from trivet.api.errors.problem import describe_any
from trivet.api.request_context import note_dialect, note_error

logger = logging.getLogger(__name__)

_CLIENT_CLOSED_REQUEST = 499


class DialectRoute(APIRoute):
    """Answers errors itself, where the body's fields, and so the dialect, can still be known."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI; wraps its handler."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            body = b""
            try:
                body = await request.body()  # kept by the request: the handler reads the same bytes
                return await handler(request)
            except ClientDisconnect:
                return Response(status_code=_CLIENT_CLOSED_REQUEST)  # nobody reads it
            except Exception as error:  # the last resort of every route: told and logged
                problem = describe_any(error)
                if problem.status >= 500:
                    logger.error("%s %s failed", request.method, self.path, exc_info=error)
                fields = _top_level_fields(body)
                note_dialect(dialect_of(self.path, fields))
                note_error(problem.code or problem.kind)
                return error_response(problem, self.path, fields)

        return answer


def _top_level_fields(body: bytes) -> tuple[str, ...]:
    try:
        content = json.loads(body)  # as lenient as the handler's reading: NaN and lone surrogates get this far
    except (ValueError, RecursionError):
        return ()  # the path alone decides
    return tuple(content) if isinstance(content, dict) else ()
