"""Completes the OpenAPI document that FastAPI derives from the routes: examples, nulls, and how to send a key."""

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.api.examples import EXAMPLES

_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of this service, if it asks for one (`trivet key NAME` makes it).",
}


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with an example for each body, and a key that may be sent to every route.

    Every optional field of a body may be null there, as `trivet.api.json_route` reads it.
    """
    paths: Mapping[str, Mapping[str, Any]] = document["paths"]
    for path, titled in EXAMPLES.items():
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        content["examples"] = {title: {"summary": title, "value": body} for title, body in titled.items()}
    for form in _forms(document):
        required = form.get("required", ())
        for name, field in form["properties"].items():
            if name not in required and not _takes_null(field):
                form["properties"][name] = {"anyOf": [field, {"type": "null"}]}
    document["components"]["securitySchemes"] = {"key": _KEY}
    document["security"] = [{}, {"key": []}]
    return document


def _forms(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schema of each form of each body, once."""
    names = set()
    for methods in document["paths"].values():
        body = methods.get("post", {}).get("requestBody")
        if body is not None:
            schema = body["content"]["application/json"]["schema"]
            forms = schema.get("oneOf") or schema.get("anyOf") or [schema]
            names |= {form["$ref"].rpartition("/")[2] for form in forms}
    for name in sorted(names):
        yield document["components"]["schemas"][name]


def _takes_null(field: Mapping[str, Any]) -> bool:
    return {"type": "null"} in field.get("anyOf", ())
