"""`Cache-Control: no-store` in a request: its results are neither looked up nor kept."""

from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

_no_store: ContextVar[bool] = ContextVar("trivet_no_store", default=False)


def storing_is_refused() -> bool:
    """Whether the request that is being answered here asked for no-store."""
    return _no_store.get()


class CacheControlMiddleware:
    """ASGI middleware: notes the wish for whoever answers the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the header."""
        if scope["type"] == "http":
            values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cache-control"]
            _no_store.set(_refuses(values))
        await self._app(scope, receive, send)


def _refuses(values: list[str]) -> bool:
    directives = (directive.strip().lower() for value in values for directive in value.split(","))
    return "no-store" in directives
