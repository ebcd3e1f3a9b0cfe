"""Serves the page at `/ui/` from files of this package, under a policy that forbids every other origin."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from trivet.api.scope import UI_PREFIX

_INDEX = "index.html"

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # browsers revalidate by the etag, so a new version shows at once
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def ui_router() -> APIRouter:
    """Build the routes of `/ui/` and its files; no path leads out of the package's folder."""
    router = APIRouter(include_in_schema=False)
    pages = _read(files("trivet.api").joinpath("ui"), "")

    @router.get(UI_PREFIX)
    async def page() -> Response:
        return RedirectResponse("ui/", headers=_HEADERS)  # relative, so it works under any route prefix

    @router.get(UI_PREFIX + "/{name:path}")
    async def file(name: str, request: Request) -> Response:
        found = pages.get(name or _INDEX)
        if found is None:
            raise HTTPException(404, "the page has no such file")
        headers = {**_HEADERS, "etag": found.etag}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)

    return router


def _read(folder: Traversable, prefix: str) -> dict[str, _File]:
    """Read every file of a known type below a folder, by its relative path."""
    found: dict[str, _File] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= _read(entry, f"{prefix}{entry.name}/")
            continue
        media_type = _MEDIA_TYPES.get(f".{entry.name.rpartition('.')[2]}")
        if media_type is not None:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            found[prefix + entry.name] = _File(content, media_type, etag)
    return found
