"""What middleware and routes agree on: paths that are treated differently, and entries of the ASGI scope."""

HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/health"})
UI_PREFIX = "/ui"

DIALECT = "trivet.dialect"
"""Set by routes: the dialect of the request."""
ERROR = "trivet.error"
"""Set by a route that refuses: code or kind of the refusal, as the native dialect names it."""


def is_page(path: str) -> bool:
    """Return whether a path belongs to the page, which holds no data and needs no key."""
    return path == UI_PREFIX or path.startswith(f"{UI_PREFIX}/")
