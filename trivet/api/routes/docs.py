"""`/docs` (Swagger UI) and `/redoc`: the API's description as pages, served without any other server.

The scripts come from the package `fastapi-offline`, which contains releases of Swagger UI and Redoc. FastAPI's own
pages load them from a CDN.
"""

from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from trivet.api.scope import DOCS_ASSETS

_MEDIA_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
_ASSETS = {
    "swagger-ui-bundle.js": "fastapi_offline",
    "swagger-ui.css": "fastapi_offline",
    "redoc.standalone.js": "fastapi_offline",
    "start.js": "trivet.api",
}
"""Names and the package that contains each."""

_HEADERS = {
    # Both scripts set styles on elements, draw pictures from data URLs, and Redoc searches in a worker of its own text.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def docs_router() -> APIRouter:
    """Build the routes of both pages and their files."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> Response:
        return Response(_own("docs.html"), media_type="text/html; charset=utf-8", headers=_HEADERS)

    @router.get("/redoc")
    async def redoc() -> Response:
        return Response(_own("redoc.html"), media_type="text/html; charset=utf-8", headers=_HEADERS)

    @router.get(DOCS_ASSETS + "/{name}")
    async def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(404, "the page has no such file")
        media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
        return Response(_asset(name), media_type=media_type, headers={**_HEADERS, "cache-control": "max-age=3600"})

    return router


@cache
def _own(name: str) -> bytes:
    return files("trivet.api").joinpath("docs_page", name).read_bytes()


@cache
def _asset(name: str) -> bytes:
    """Read a file when it is first asked for: most services never show these pages, and the files have 3 MB."""
    package = _ASSETS[name]
    return _own(name) if package == "trivet.api" else files(package).joinpath("static", name).read_bytes()
