"""Completes the OpenAPI document that FastAPI derives from the routes: examples, and how to send a key."""

from collections.abc import Mapping
from typing import Any

from trivet.api.examples import EXAMPLES

_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of this service, if it asks for one (`trivet key NAME` makes it).",
}


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with an example for each body, and a key that may be sent to every route."""
    paths: Mapping[str, Mapping[str, Any]] = document["paths"]
    for path, titled in EXAMPLES.items():
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        content["examples"] = {title: {"summary": title, "value": body} for title, body in titled.items()}
    document["components"]["securitySchemes"] = {"key": _KEY}
    document["security"] = [{}, {"key": []}]
    return document
