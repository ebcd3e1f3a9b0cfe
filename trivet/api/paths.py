"""Paths that middleware treats differently: health checks and the page, which need no key."""

HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/health"})
UI_PREFIX = "/ui"


def is_page(path: str) -> bool:
    """Whether a request path belongs to the page, which holds no data."""
    return path == UI_PREFIX or path.startswith(f"{UI_PREFIX}/")
