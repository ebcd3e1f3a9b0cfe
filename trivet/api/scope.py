"""What middleware and routes agree on: paths that are treated differently, and entries of the ASGI scope."""

HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/health", "/ping"})
UI_PREFIX = "/ui"

DOCS_PATHS = frozenset({"/docs", "/redoc", "/openapi.json"})
DOCS_ASSETS = "/docs/assets"

TASK_PREFIXES = ("/embedder", "/reranker", "/classifier")
"""Base URLs of one model for clients of servers that serve one model each."""

DIALECT = "trivet.dialect"
"""Set by routes: the dialect of the request."""
CLIENT_CLOSED_REQUEST = 499
"""Status, in the log, of a request whose caller has left."""

KEY_HEADERS = ("authorization", "api-key", "x-api-key")
"""Headers in which a caller may send a key: a bearer's, and those of other APIs' clients."""

ERROR = "trivet.error"
"""Set by a route that refuses: code or kind of the refusal, as the native dialect names it."""


def is_health(method: str, path: str) -> bool:
    """Return whether a request asks for health, which needs no key. `POST /` embeds, `GET /` is a health check."""
    if path in HEALTH_PATHS:
        return True
    if method not in ("GET", "HEAD"):
        return False
    return path == "/" or path in _TASK_HEALTH


_TASK_HEALTH = frozenset(f"{prefix}{path}" for prefix in TASK_PREFIXES for path in ("", "/", "/health"))


def is_page(path: str) -> bool:
    """Return whether a path belongs to a page: `/ui`, `/docs` or `/redoc`. They hold no data and need no key."""
    return path == UI_PREFIX or path in DOCS_PATHS or path.startswith((f"{UI_PREFIX}/", f"{DOCS_ASSETS}/"))
